// Chapter 5 on a GPU: features of many pictures by the judge, and distances between all pairs of
// two sets, of which only the nearest neighbour of each is kept. The judge is the network of
// classifier.hpp for numbers on the GPU; distances are a matrix product (5.12), in chapter 2's
// tiles.
#include <limits>

#include "02_gradients/compare.hpp"
#include "02_gradients/gradients.hpp"
#include "04_unet/conv.hpp"
#include "05_measuring/classifier.hpp"
#include "05_measuring/neighbours.hpp"
#include "cuda/reduce.hpp"

namespace diffusion {

using cuda::Float;
using cuda::raw;

namespace cuda {
namespace {

/// (5.1): y[n, c] is the mean over the pixels; and back.
struct MeanPixels {
    const float* x;
    int pixels;
    Divisor channels;
    float* y;
    __device__ void operator()(int i) const {
        const float* from = x + i / channels * pixels * channels + i % channels;
        float sum = 0;
        for (int p = 0; p < pixels; ++p) sum += from[static_cast<std::ptrdiff_t>(p) * channels];
        y[i] = sum / static_cast<float>(pixels);
    }
};
struct MeanPixelsVjp {
    const float* dy;
    Divisor pixels, channels;
    float* dx;
    __device__ void operator()(int i) const {
        dx[i] += dy[i / channels / pixels * channels + i % channels] / static_cast<float>(pixels);
    }
};

}  // namespace
}  // namespace cuda

template <>
Var<Float> mean_pixels(Var<Float> x) {
    require(x.shape().rank == 4, "mean_pixels: x is ", x.shape(), ", expected [N,H,W,C]");
    const int images = x.size(0), pixels = pixels_of(x.shape()), channels = x.size(3);
    const Var<Float> y = x.tape().result({images, channels}, x);
    cuda::for_each_number(y.value().numel(),
                          cuda::MeanPixels{raw(x.value()), pixels, channels, raw(y.value())});
    x.tape().record(y, [=] {
        cuda::for_each_number(x.value().numel(),
                              cuda::MeanPixelsVjp{raw(y.grad()), pixels, channels, raw(x.grad())});
    });
    return y;
}

namespace cuda {
namespace {

// ---- Version 1, the obvious one: a thread for each row of x goes through all rows of y.
__global__ void nearest_obvious(const float* x, const float* y, int n, int m, int d, int* index,
                                float* distance) {
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= n) return;
    float best = INFINITY;
    for (int j = 0; j < m; ++j) {
        float sum = 0;
        for (int k = 0; k < d; ++k) {
            const float e = x[static_cast<std::ptrdiff_t>(i) * d + k] -
                            y[static_cast<std::ptrdiff_t>(j) * d + k];
            sum += e * e;
        }
        if (sum < best) {
            best = sum;
            index[i] = j;
        }
    }
    distance[i] = sqrtf(best);
}

// ---- Version 2: all scalar products by tiles (chapter 2), each turned into a distance while it is
// in a register, and only the smallest of each row kept: a distance and the number of its column
// are one 64-bit number, whose order is that of the distances. Nothing of the table is written.
struct Nearest {
    const float *xx, *yy;  ///< squared lengths
    unsigned long long* best;

    __device__ void one(int, int i, int j, float product) const {
        const float square = fmaxf(xx[i] + yy[j] - 2 * product, 0.0f);  // (5.12)
        unsigned bits = 0;
        memcpy(&bits, &square, sizeof bits);
        const unsigned long long key =
            static_cast<unsigned long long>(bits) << 32 | static_cast<unsigned>(j);
        if (key < __ldcg(best + i)) atomicMin(best + i, key);  // most are not smaller
    }
};

constexpr int kWarps = kBlockThreads / 32;
__global__ void squared_lengths(const float* x, int n, int d, float* lengths) {
    const int i = static_cast<int>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / 32,
              lane = static_cast<int>(threadIdx.x) % 32;
    if (i >= n) return;  // the whole warp
    float sum = 0;
    for (int k = lane; k < d; k += 32) {
        const float v = x[static_cast<std::ptrdiff_t>(i) * d + k];
        sum += v * v;
    }
    sum = warp_sum(sum);
    if (lane == 0) lengths[i] = sum;
}

struct Unpack {
    const unsigned long long* best;
    int* index;
    float* distance;
    __device__ void operator()(int i) const {
        const unsigned bits = static_cast<unsigned>(best[i] >> 32);
        float square = 0;
        memcpy(&square, &bits, sizeof square);
        index[i] = static_cast<int>(best[i] & 0xffffffffu);
        distance[i] = sqrtf(square);
    }
};
struct Farthest {
    unsigned long long* best;
    __device__ void operator()(int i) const { best[i] = ~0ull; }
};

/// Memory for nearest neighbours of n points among m.
struct NearestMemory {
    Buffer<float> xx, yy, distance;
    Buffer<unsigned long long> best;
    Buffer<int> index;
    NearestMemory(int n, int m)
        : xx(static_cast<std::size_t>(n)),
          yy(static_cast<std::size_t>(m)),
          distance(static_cast<std::size_t>(n)),
          best(static_cast<std::size_t>(n)),
          index(static_cast<std::size_t>(n)) {}
};

void nearest(const float* x, const float* y, int n, int m, int d, const NearestMemory& memory) {
    launch(squared_lengths, blocks_for(n, kWarps), kBlockThreads, x, n, d, memory.xx.data());
    launch(squared_lengths, blocks_for(m, kWarps), kBlockThreads, y, m, d, memory.yy.data());
    for_each_number(n, Farthest{memory.best.data()});
    // In float: what is to be told apart are small differences of large numbers.
    product_in<Precision::fp32>(ByRows(x, d, n, d), ByRows(y, d, m, d),
                                Nearest{memory.xx.data(), memory.yy.data(), memory.best.data()}, n,
                                m, d);
    for_each_number(n, Unpack{memory.best.data(), memory.index.data(), memory.distance.data()});
}

/// Features and probabilities of the judge.
struct Judged {
    Tensor<Float> features, probabilities;
};
Judged judge_on_gpu(const Classifier& network, Tape<Float>& tape, Tensor<Float> pictures) {
    const Classifier::Answer<Float> answer = network(tape.constant(pictures));
    const Tensor<Float> p = tape.numbers().make<Float>(answer.logits.shape());
    softmax_rows(raw(answer.logits.value()), p.size(0), p.size(1), raw(p));
    return {answer.features.value(), p};
}

void check_judge(Stage& s) {
    const Classifier network(1, 10);
    std::vector<float> values(static_cast<std::size_t>(network.parameters().block()));
    network.parameters().initialise<float>(values, 4);
    const Shape shape{3, 6, 5, 1};
    const std::vector<float> x = random_numbers(shape.numel(), 1);
    Arena arena;
    Tape<float> cpu(arena);
    cpu.bind(values.data());
    const Classifier::Answer<float> expected = network(cpu.constant(put(x, shape, cpu)));
    const std::vector<float> probabilities = take(softmax(expected.logits).value());
    DeviceTape gpu;
    const auto on_values = Buffer<float>::of(values);
    gpu.tape.bind(as_device(on_values.data()));
    const Judged found = judge_on_gpu(network, gpu.tape, put(x, shape, gpu.tape));
    s.check("features of the judge",
            largest_difference(take(found.features), take(expected.features.value())), 1e-5);
    s.check("  its probabilities", largest_difference(take(found.probabilities), probabilities),
            1e-5);
    compare_on_tapes(s, "mean over pixels", {{2, 3, 4, 5}}, 1e-6,
                     [](const auto& v) { return mean_pixels(v[0]); });
}

void check_neighbours(Stage& s) {
    constexpr int kN = 45, kM = 70, kD = 20;
    const std::vector<float> x = random_numbers(kN * kD, 2), y = random_numbers(kM * kD, 3);
    const Neighbours expected = nearest_neighbours({x.data(), {kN, kD}}, {y.data(), {kM, kD}}, 1);
    const auto gx = Buffer<float>::of(x), gy = Buffer<float>::of(y);
    const NearestMemory memory(kN, kM);
    for (const bool obvious : {true, false}) {
        if (obvious) {
            launch_apart(nearest_obvious, blocks_for(kN, kBlockThreads), kBlockThreads, gx.data(),
                         gy.data(), kN, kM, kD, memory.index.data(), memory.distance.data());
        } else {
            nearest(gx.data(), gy.data(), kN, kM, kD, memory);
        }
        const std::string what =
            obvious ? "nearest neighbours, version 1" : "nearest neighbours, version 2";
        s.check(what + ": which", largest_difference(memory.index.download(), expected.index), 0);
        s.check(what + ": how far",
                largest_difference(memory.distance.download(), expected.distance), 1e-5);
    }
}

void time_all(Stage& s) {
    constexpr int kN = 10'000, kM = 60'000, kD = 784;
    const Buffer<float> x(static_cast<std::size_t>(kN) * kD), y(static_cast<std::size_t>(kM) * kD);
    const std::vector<float> some = random_numbers(static_cast<std::ptrdiff_t>(kN) * kD, 1);
    copy_bytes(x.data(), some.data(), some.size() * sizeof(float));
    for (int part = 0; part < kM / kN;
         ++part) {  // the same again, so that a nearest one is at distance 0
        copy_bytes(y.data() + static_cast<std::ptrdiff_t>(part) * kN * kD, some.data(),
                   some.size() * sizeof(float));
    }
    synchronize();
    const NearestMemory memory(kN, kM);
    const double operations = 2.0 * kN * kM * kD;
    // Version 1 is so slow that a fiftieth of the work must do. It has few threads: blocks of one
    // warp spread them over as many multiprocessors as there are.
    constexpr int kFew = kM / 50;
    s.time("neighbours 1: 10,000 among 1,200", 0, operations / 50, [&] {
        launch_apart(nearest_obvious, blocks_for(kN, 32), 32, x.data(), y.data(), kN, kFew, kD,
                     memory.index.data(), memory.distance.data());
    });
    s.time("neighbours 2: 10,000 among 60,000", 0, operations,
           [&] { nearest(x.data(), y.data(), kN, kM, kD, memory); });
    const Classifier network(1, 10);
    std::vector<float> values(static_cast<std::size_t>(network.parameters().block()));
    network.parameters().initialise<float>(values, 4);
    const auto on_values = Buffer<float>::of(values);
    DeviceTape gpu;
    s.time("features of 2,000 digits", 0, 0, [&] {
        gpu.tape.reset();
        gpu.tape.bind(as_device(on_values.data()));
        judge_on_gpu(network, gpu.tape, {as_device(x.data()), {2000, 28, 28, 1}});
    });
}

}  // namespace

void measuring_stage(Stage& s) {
    check_judge(s);
    check_neighbours(s);
    if (s.times()) time_all(s);
}

}  // namespace cuda
}  // namespace diffusion
