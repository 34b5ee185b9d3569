// Chapter 6 on a GPU: the whole way from noise to pictures. A picture of 28 x 28 is little work for
// a GPU, and a step is 163 launches; so what costs is to start them. Three versions:
//   1  a kernel for each operation of a step, as the CPU's samplers are written;
//   2  the step in one kernel: guess, clipping, new noise and update, each number read once;
//   3  a step recorded once (a CUDA graph), network and all, and started by one call for each step.
#include <memory>

#include "01_forward_noising/noising.hpp"
#include "02_gradients/compare.hpp"
#include "03_reverse_process/prediction.hpp"
#include "04_unet/conv.hpp"
#include "04_unet/gpu_batch.hpp"
#include "06_ddim/gpu_sampling.hpp"
#include "06_ddim/grids.hpp"
#include "cuda/reduce.hpp"

namespace diffusion::cuda {
namespace {

/// A step's numbers as the kernels take them.
struct StepF {
    LevelOf<float> level;  ///< of x_t
    float of_x, of_x0, of_before, sigma, clip;
    std::uint32_t number;  ///< of its noise
    float t;
    Prediction prediction;
};

/// (3.18); what is not a number stays so.
__device__ __forceinline__ float clipped(float x0, float most) {
    return x0 < -most ? -most : x0 > most ? most : x0;
}

/// x_0 from the network's output (prediction.hpp), clipped.
__device__ __forceinline__ float guess_x0(const StepF& step, float x, float y) {
    const float x0 = x0_from(step.prediction, step.level, x, y);
    return step.clip > 0 ? clipped(x0, step.clip) : x0;
}

// ---- Version 1.
struct Guess {
    StepF step;
    const float* x;
    float* y;
    __device__ void operator()(int i) const {
        y[i] = x0_from(step.prediction, step.level, x[i], y[i]);
    }
};
struct Clip {
    float clip;
    float* y;
    __device__ void operator()(int i) const { y[i] = clipped(y[i], clip); }
};
struct Update {
    StepF step;
    const float *x0, *before, *noise;
    float* x;
    __device__ void operator()(int i) const {
        x[i] = step.of_x * x[i] + step.of_x0 * x0[i] + step.of_before * before[i] +
               step.sigma * noise[i];
    }
};

// ---- For version 3. A recording keeps its arguments, so what changes from step to step is looked
// up in memory: `begin_step`, a block of its own, lays down the numbers of the next step, and its
// time for the network. (The other versions take it, too.)
struct Now {
    StepF step;
    int next;  ///< the number of the step after it
};
__global__ void begin_step(const StepF* steps, int count, Now* now, float* t) {
    const StepF step = steps[now->next];
    __syncthreads();  // everybody has read it
    if (threadIdx.x == 0) *now = {step, now->next + 1};
    for (int n = static_cast<int>(threadIdx.x); n < count; n += static_cast<int>(blockDim.x))
        t[n] = step.t;
}

// ---- Version 2: a thread makes two neighbours, which share one call of Philox.
struct Step {
    const Now* now;
    int size;       ///< numbers of a picture
    Divisor pairs;  ///< of a picture, the last one perhaps a half
    std::uint64_t seed;
    const std::uint32_t* first_sample;
    const float* y;
    float *x, *before;

    __device__ void operator()(int pair) const {
        const StepF step = now->step;
        const int n = pair / pairs, k = pair % pairs * 2, at = n * size + k;
        float2 z = make_float2(0, 0);
        if (step.sigma > 0) {
            z = two_normals({seed, Purpose::ancestral_noise, step.number},
                            *first_sample + static_cast<std::uint32_t>(n),
                            static_cast<std::uint32_t>(k / 2));
        }
        for (int e = 0; e < 2 && k + e < size; ++e) {
            const float xt = x[at + e], x0 = guess_x0(step, xt, y[at + e]);
            x[at + e] = step.of_x * xt + step.of_x0 * x0 + step.of_before * before[at + e] +
                        step.sigma * (e == 0 ? z.x : z.y);
            before[at + e] = x0;
        }
    }
};

/// Memory and steps for paths of `count` pictures at a time.
class Way {
public:
    Way(const NetworkOf<Float>& network, Prediction prediction, std::span<const float> values,
        const Sampler& sampler, std::span<const Moment> path, const Shape& shape)
        : network_(network),
          seed_(sampler.seed),
          shape_(shape),
          values_(Buffer<float>::of(values)),
          x_(size()),
          before_(Buffer<float>::of(std::vector<float>(size()))),
          noise_(size()),
          first_(1),
          now_(1),
          t_(static_cast<std::size_t>(shape[0])) {
        require(static_cast<bool>(network), "drawing: this network is not on a GPU");
        std::uint32_t number = 0;
        for (const LinearStep& s : linear_steps(sampler, path)) {
            check_level(prediction, s.at.level);
            steps_.push_back({s.at.level.as<float>(), static_cast<float>(s.of_x),
                              static_cast<float>(s.of_x0), static_cast<float>(s.of_before),
                              static_cast<float>(s.sigma), static_cast<float>(sampler.clip),
                              number++, static_cast<float>(s.at.t), prediction});
        }
        steps_on_gpu_ = Buffer<StepF>::of(steps_);
    }

    float* x() const { return x_.data(); }
    /// The pictures' first number, which their noise depends on, and what goes with them.
    void start_at(std::uint32_t first_sample, const Batch& condition) {
        condition_.upload(condition);
        first_on_host_ = first_sample;
        first_.upload(&first_on_host_);
    }

    void walk_by_operations() {
        const Now start{steps_.front(), 0};
        now_.upload(&start);
        for (const StepF& s : steps_) {
            const Tensor<Float> y = network();
            for_each_number(shape_.numel(), Guess{s, x(), raw(y)});
            if (s.clip > 0) for_each_number(shape_.numel(), Clip{s.clip, raw(y)});
            if (s.sigma > 0) {
                fill_normal({seed_, Purpose::ancestral_noise, s.number}, first_on_host_, shape_[0],
                            of_picture(), noise_.data());
            }
            for_each_number(shape_.numel(), Update{s, raw(y), before_.data(),
                                                   s.sigma > 0 ? noise_.data() : x(), x()});
            copy_bytes(before_.data(), raw(y), size() * sizeof(float));
        }
    }
    void walk(bool recorded) {
        const Now start{steps_.front(), 0};
        now_.upload(&start);
        for (std::size_t i = 0; i < steps_.size(); ++i) {
            if (!recorded || runs_++ < 2) {  // memory grows, and becomes one block
                step();
                continue;
            }
            if (runs_ == 3) recording_.record([this] { step(); });
            recording_.replay();
        }
    }

private:
    std::size_t size() const { return static_cast<std::size_t>(shape_.numel()); }
    int of_picture() const { return static_cast<int>(shape_.numel() / shape_[0]); }

    void step() {
        const Tensor<Float> y = network();
        const int pairs = (of_picture() + 1) / 2;
        for_each_number(static_cast<std::ptrdiff_t>(shape_[0]) * pairs,
                        Step{now_.data(), of_picture(), pairs, seed_, first_.data(), raw(y), x(),
                             before_.data()});
    }

    /// The network's output for x, at the time of the next step.
    Tensor<Float> network() {
        launch(begin_step, 1, kBlockThreads, steps_on_gpu_.data(), shape_[0], now_.data(),
               t_.data());
        Tape<Float>& tape = tape_.tape;
        tape.reset();
        tape.bind(as_device(values_.data()));
        return network_(tape.constant({as_device(x()), shape_}), {t_.data(), t_.size()},
                        condition_.on(tape))
            .value();
    }

    NetworkOf<Float> network_;
    std::uint64_t seed_;
    Shape shape_;
    std::vector<StepF> steps_;
    Buffer<float> values_, x_, before_, noise_;
    Buffer<StepF> steps_on_gpu_;
    std::uint32_t first_on_host_ = 0;
    Buffer<std::uint32_t> first_;
    Buffer<Now> now_;
    Buffer<float> t_;
    GpuCondition condition_;
    DeviceTape tape_;
    Graph recording_;
    int runs_ = 0;
};

constexpr int kPiece = 512;

}  // namespace
}  // namespace diffusion::cuda

namespace diffusion {

void sample_on_gpu(const Network& network, Prediction prediction, std::span<const float> values,
                   const Batch& condition, const Sampler& sampler, std::span<const Moment> path,
                   Tensor<float> x, const std::function<void(int)>& done) {
    const int count = std::min(cuda::kPiece, x.size(0));
    Shape shape = x.shape();
    shape.n[0] = count;
    const std::size_t of_piece = static_cast<std::size_t>(shape.numel()),
                      of_picture = of_piece / static_cast<std::size_t>(count);
    cuda::Way way(network.on_gpu, prediction, values, sampler, path, shape);
    // The last piece may reach back over pictures that are drawn already, with the same result.
    const std::vector<float> noise(x.begin(), x.end());
    for (int begin = 0; begin < x.size(0); begin += count) {
        const int first = std::min(begin, x.size(0) - count);
        cuda::copy_bytes(way.x(), noise.data() + static_cast<std::size_t>(first) * of_picture,
                         of_piece * sizeof(float));
        way.start_at(static_cast<std::uint32_t>(first), part_of(condition, first, count));
        way.walk(true);
        cuda::copy_bytes(x[first].data(), way.x(), of_piece * sizeof(float));
        cuda::synchronize("drawing");
        done(first + count);
    }
}

}  // namespace diffusion

namespace diffusion::cuda {

namespace {

/// A sampler beside the CPU's, with a small network that is told classes, if there are any.
void check_sampler(Stage& s, const Sampler& sampler, int classes = 0) {
    UNetConfig config = unet_config(1, 8, {1, 2, 2}, 2);
    config.classes = classes;
    const DenoisingModel model(config, make_schedule("cosine", 100), Prediction::v, 3, 3, "test");
    Array<float> values(model.parameters.block());
    model.parameters.initialise<float>(values, 3);
    const std::vector<float> random = random_numbers(std::ssize(values.span()), 5);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] += 0.05f * random[i];
    std::vector<int> labels{classes - 1, 0};
    Batch condition;
    if (classes > 0) condition.labels = {labels.data(), {2}};
    const Network network = model.network();
    const Shape shape{2, 3, 3, 1};  // the last pair of each picture is half a pair
    const std::vector<Moment> path = model.path(step_grid("trailing", model.schedule, 4));
    const std::vector<float> start = random_numbers(shape.numel(), 6);
    std::vector<float> expected = start;
    run_sampler(sampler, network_denoiser(network.on_cpu, model.prediction, values, condition),
                path, {expected.data(), shape});
    const std::string what = sampler.name + (sampler.eta > 0 ? " with noise" : "") +
                             (classes > 0 ? " and classes" : "") + ", 4 steps: ";
    for (const int version : {1, 2, 3}) {
        if (version < 3 && sampler.eta == 0) continue;  // once is enough
        std::vector<float> found = start;
        Way way(network.on_gpu, model.prediction, values, sampler, path, shape);
        copy_bytes(way.x(), start.data(), start.size() * sizeof(float));
        way.start_at(0, condition);
        const std::int64_t before = launch_count();
        if (version == 1) way.walk_by_operations();
        if (version == 2) way.walk(false);
        if (version < 3) {
            s.say(what + "version " + std::to_string(version) + ", launches",
                  launch_count() - before);
        }
        if (version == 3) way.walk(true);
        copy_bytes(found.data(), way.x(), found.size() * sizeof(float));
        synchronize();
        s.check(what + "version " + std::to_string(version), largest_difference(found, expected),
                1e-4);
    }
}

}  // namespace

void sampling_stage(Stage& s) {
    for (const SamplerOf<float>& by_name : kSamplers<float>) {
        if (by_name.calls > 1) continue;
        if (by_name.takes_eta) check_sampler(s, {.name = by_name.name, .eta = 0.5, .seed = 4});
        check_sampler(s, {.name = by_name.name, .seed = 4});
    }
    check_sampler(s, {.name = "dpmpp2m"}, 5);
    if (!s.times()) return;
    const DenoisingModel large(unet_config(1, 32, {1, 2, 2}), make_schedule("cosine", 1000),
                               Prediction::v, 28, 28, "mnist");
    Array<float> of_large(large.parameters.block());
    large.parameters.initialise<float>(of_large, 3);
    Way way(large.network().on_gpu, large.prediction, of_large, {},
            large.path(step_grid("trailing", large.schedule, 50)), large.shape(64));
    fill_normal({1, Purpose::start_noise, 0}, 0, 64, 784, way.x());
    way.start_at(0, {});
    s.time("64 pictures, 50 steps: 1, by operations", 0, 0, [&] { way.walk_by_operations(); });
    s.time("64 pictures, 50 steps: 2, fused", 0, 0, [&] { way.walk(false); });
    s.time("64 pictures, 50 steps: 3, recorded", 0, 0, [&] { way.walk(true); });
}

}  // namespace diffusion::cuda
