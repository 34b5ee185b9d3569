// Chapter 2's step on a GPU: the gradient's norm, clipping (2.19), AdamW (2.16) to (2.18), and the
// average of the weights (2.20). Of each parameter there are five numbers, and little is computed
// from them: it is all a matter of how often they are moved.
#include "02_gradients/compare.hpp"
#include "02_gradients/gradients.hpp"
#include "02_gradients/optimizer.hpp"
#include "cuda/reduce.hpp"

namespace diffusion::cuda {
namespace {

constexpr int kThreads = kBlockThreads;

// ---- The sum of squares: blocks add up pieces, and one block the pieces' sums. (Adding them by
// atomics would need one launch less, but in a different order each time.)
constexpr int kPieces = 1024;

__global__ void squares_kernel(const float* x, std::ptrdiff_t n, float* piece) {
    __shared__ float shared[33];
    uninitialised(shared);
    float own = 0;
    const std::ptrdiff_t step = static_cast<std::ptrdiff_t>(gridDim.x) * blockDim.x;
    for (std::ptrdiff_t i = static_cast<std::ptrdiff_t>(blockIdx.x) * blockDim.x + threadIdx.x;
         i < n; i += step)
        own += x[i] * x[i];
    const float total = block_sum(own, shared);
    if (threadIdx.x == 0) piece[blockIdx.x] = total;
}
__global__ void sum_kernel(const float* x, int n, float* total) {
    __shared__ float shared[33];
    uninitialised(shared);
    float own = 0;
    for (int i = static_cast<int>(threadIdx.x); i < n; i += static_cast<int>(blockDim.x))
        own += x[i];
    const float all = block_sum(own, shared);
    if (threadIdx.x == 0) *total = all;
}

// ---- Version 1, the obvious one: a kernel for each line of the algorithm. Clipping moves 8 bytes
// for each parameter, each of the averages (2.16) 12, the step 16, the average of the weights 12:
// 60.
__device__ __forceinline__ float clipping(const FusedStep& s) {
    const float norm = sqrtf(*s.sum_of_squares);
    return norm > s.max_norm ? s.max_norm / norm : 1.0f;
}
struct Clip {
    const FusedStep* s;
    const float* gradient;
    float* clipped;
    __device__ void operator()(int i) const { clipped[i] = clipping(*s) * gradient[i]; }  // (2.19)
};
struct Average {
    float take;
    bool of_squares;
    const float* x;
    float* average;
    __device__ void operator()(int i) const {
        const float v = of_squares ? x[i] * x[i] : x[i];
        average[i] += take * (v - average[i]);  // (2.16), (2.20)
    }
};
struct Move {
    const FusedStep* s;
    const float *mean, *square;
    float* x;
    __device__ void operator()(int i) const {
        const AdamWStep<float>& a = s->adamw;
        const float root = sqrtf(square[i] * a.correction2) + a.eps;
        x[i] = a.keep * x[i] - a.rate * mean[i] * a.correction1 / root;  // (2.17), (2.18)
    }
};
void step_by_step(const FusedStep* step, const FusedStep& same, std::ptrdiff_t n,
                  const float* gradient, float* clipped, float* x, float* mean, float* square,
                  float* average) {
    for_each_number(n, Clip{step, gradient, clipped});
    for_each_number(n, Average{same.adamw.take1, false, clipped, mean});
    for_each_number(n, Average{same.adamw.take2, true, clipped, square});
    for_each_number(n, Move{step, mean, square, x});
    for_each_number(n, Average{same.average_take, false, x, average});
}

// ---- Version 2: one kernel. Every number is read once and written once, 36 bytes for each
// parameter. The formula is the CPU's.
__global__ void adamw_kernel(const FusedStep* step_now, std::ptrdiff_t n, const float* gradient,
                             float* x, float* mean, float* square, float* average) {
    const FusedStep s = *step_now;
    const float factor = clipping(s);  // (2.19)
    const std::ptrdiff_t step = static_cast<std::ptrdiff_t>(gridDim.x) * blockDim.x;
    for (std::ptrdiff_t i = static_cast<std::ptrdiff_t>(blockIdx.x) * blockDim.x + threadIdx.x;
         i < n; i += step) {
        float to = x[i], m = mean[i], v = square[i];
        adamw_update(s.adamw, factor * gradient[i], to, m, v);  // (2.16) to (2.18)
        x[i] = to;
        mean[i] = m;
        square[i] = v;
        average[i] += s.average_take * (to - average[i]);  // (2.20)
    }
}

}  // namespace

void sum_of_squares(const float* x, std::ptrdiff_t n, float* total) {
    static const Buffer<float> pieces(kPieces);
    const unsigned blocks = std::min<unsigned>(kPieces, blocks_for(n, kThreads));
    launch(squares_kernel, blocks, kThreads, x, n, pieces.data());
    launch(sum_kernel, 1, kThreads, pieces.data(), static_cast<int>(blocks), total);
}
void fused_step(const FusedStep* step, std::ptrdiff_t n, const float* gradient, float* x,
                float* mean, float* square, float* average) {
    launch_apart(adamw_kernel, std::min(blocks_for(n, kThreads), 1u << 16), kThreads, step, n,
                 gradient, x, mean, square, average);
}

namespace {

// ---- The check against the CPU's code, and the times.

void check_adamw(Stage& s) {
    constexpr int kNumbers = 3001;
    constexpr double kRate = 1e-2, kMaxNorm = 1.0;
    const AdamW<float>::Options options{.learning_rate = kRate, .beta2 = 0.99, .weight_decay = 0.1};
    const std::vector<float> zeros(kNumbers);
    const Buffer<float> norm(1), clipped(kNumbers);
    for (const int version : {1, 2}) {
        const std::string name = "AdamW " + std::to_string(version) + ": ";
        std::vector<float> x = random_numbers(kNumbers, 8), average = x;
        AdamW<float> cpu(kNumbers, options);
        const auto gx = Buffer<float>::of(x), gaverage = Buffer<float>::of(x);
        const auto mean = Buffer<float>::of(zeros), square = Buffer<float>::of(zeros);
        double off_norm = 0;
        for (int k = 1; k <= 3; ++k) {
            const auto g = random_numbers(kNumbers, 10 + static_cast<std::uint32_t>(k));
            const double length = std::sqrt(diffusion::sum_of_squares<float>(g));
            cpu.step(x, g, kRate, {std::min(1.0, kMaxNorm / length), average, 0.9});
            const auto gg = Buffer<float>::of(g);
            sum_of_squares(gg.data(), kNumbers, norm.data());
            off_norm =
                std::max(off_norm,
                         std::abs(std::sqrt(static_cast<double>(norm.download()[0])) / length - 1));
            const FusedStep same{AdamW<float>::numbers(options, k, kRate),
                                 static_cast<float>(kMaxNorm), 0.1f, norm.data()};
            const auto step = Buffer<FusedStep>::of(std::vector<FusedStep>{same});
            if (version == 1) {
                step_by_step(step.data(), same, kNumbers, gg.data(), clipped.data(), gx.data(),
                             mean.data(), square.data(), gaverage.data());
            } else {
                fused_step(step.data(), kNumbers, gg.data(), gx.data(), mean.data(), square.data(),
                           gaverage.data());
            }
        }
        s.check(name + "the gradient's norm, relative", off_norm, 1e-6);
        s.check(name + "three steps", largest_difference(gx.download(), x), 1e-6);
        s.check(name + "and their average", largest_difference(gaverage.download(), average), 1e-6);
    }
}

void time_all(Stage& s) {
    constexpr std::size_t kSize = std::size_t{1} << 26;
    const double bytes = 4.0 * kSize;
    const Buffer<float> gradient(kSize), clipped(kSize), x(kSize), mean(kSize), square(kSize),
        average(kSize), norm(1);
    for (const auto* b : {&gradient, &x, &mean, &average})
        for_each_number(static_cast<std::ptrdiff_t>(kSize), Mixed{b->data()});
    fill({as_device(square.data()), {static_cast<int>(kSize)}}, Float(1));
    s.time("sum of squares", bytes, 0, [&] {
        sum_of_squares(gradient.data(), static_cast<std::ptrdiff_t>(kSize), norm.data());
    });
    const FusedStep same{AdamW<float>::numbers({}, 1, 1e-3), 1, 0.1f, norm.data()};
    const auto step = Buffer<FusedStep>::of(std::vector<FusedStep>{same});
    s.time("AdamW 1: a kernel for each line", 15 * bytes, 0, [&] {
        step_by_step(step.data(), same, static_cast<std::ptrdiff_t>(kSize), gradient.data(),
                     clipped.data(), x.data(), mean.data(), square.data(), average.data());
    });
    s.time("AdamW 2: one kernel", 9 * bytes, 0, [&] {
        fused_step(step.data(), static_cast<std::ptrdiff_t>(kSize), gradient.data(), x.data(),
                   mean.data(), square.data(), average.data());
    });
}

}  // namespace

void adamw_stage(Stage& s) {
    check_adamw(s);
    if (s.times()) time_all(s);
}

}  // namespace diffusion::cuda
