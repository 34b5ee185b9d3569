// Chapter 4's training step and its denoiser on a GPU, for any network, source and objective. The
// host composes a batch and says at which times its pictures are noised. Then everything happens
// where the numbers are: noise (chapter 1), network, loss, gradients, Muon and AdamW (chapter 2). A
// small network would leave the GPU waiting for the host, which starts a thousand kernels in a
// step; from the third step on it starts recordings of them.
#include <memory>
#include <mutex>

#include "01_forward_noising/noising.hpp"
#include "02_gradients/compare.hpp"
#include "02_gradients/device_muon.hpp"
#include "02_gradients/gradients.hpp"
#include "03_reverse_process/prediction.hpp"
#include "04_unet/conv.hpp"
#include "04_unet/device.hpp"
#include "04_unet/gpu_batch.hpp"
#include "04_unet/unet.hpp"
#include "cuda/reduce.hpp"

namespace diffusion {

extern template Var<cuda::Float> UNet::operator()(Var<cuda::Float>, std::span<const float>,
                                                  const Condition<cuda::Float>&) const;

NetworkOf<cuda::Float> network_on_gpu(const UNet& unet) {
    return [&unet](Var<cuda::Float> xt, std::span<const float> t,
                   const Condition<cuda::Float>& condition) { return unet(xt, t, condition); };
}

}  // namespace diffusion

namespace diffusion::cuda {
namespace {

/// What a network is asked for (prediction.hpp).
struct Wanted {
    const float *x0, *eps;
    const LevelOf<float>* level;
    Prediction prediction;
    Divisor size;
    float* wanted;
    __device__ void operator()(int i) const {
        wanted[i] = wanted_from(prediction, level[i / size], x0[i], eps[i]);
    }
};

/// The guess of x_0 from the network's output (prediction.hpp).
struct Guess {
    Prediction prediction;
    LevelOf<float> level;
    const float *xt, *y;
    float* x0;
    __device__ void operator()(int i) const { x0[i] = x0_from(prediction, level, xt[i], y[i]); }
};

/// A training under way.
class DeviceTraining : public Training {
public:
    DeviceTraining(Trainer& trainer, const TrainingTask& task)
        : trainer_(trainer),
          task_(task),
          gradient_(trainer.values().size()),
          t_(static_cast<std::size_t>(trainer.options().batch)),
          weight_(t_.size()),
          level_(t_.size()),
          numbers_(2),
          muon_(trainer.options().muon ? trainer.parameters().matrices() : std::vector<Parameter>(),
                {}) {
        require(static_cast<bool>(task.network.on_gpu), "training: this network is not on a GPU");
        for (const auto& [name, values] : trainer.state()) state_[name] = Buffer<float>::of(values);
    }

    Trainer::Report step() override {
        const std::int64_t number = trainer_.steps();
        const TrainOptions& options = trainer_.options();
        make_batch(number);
        const double rate = learning_rate_at(number, options);
        const StepNumbers numbers{
            {trainer_.adamw_step(number + 1, rate), static_cast<float>(options.max_norm),
             static_cast<float>(1 - ema_rate(number + 1, options.ema_rate)), numbers_.data() + 1},
            static_cast<float>(rate)};
        step_numbers_.upload(&numbers);
        make_recorded(network_recording_, [this] { launch_network(); });
        const std::vector<float> found =
            numbers_.download();  // the step is not made before this is seen
        const Trainer::Report report{static_cast<double>(found[0]),
                                     std::sqrt(static_cast<double>(found[1]))};
        if (!std::isfinite(report.loss) || !std::isfinite(report.gradient_norm)) {
            fetch();
            trainer_.step(denoising_loss(task_.network.on_cpu, task_.source, task_.objective,
                                         options.batch, options.seed));  // fails, naming the layer
            fail("training: the loss is ", report.loss, " at step ", number + 1,
                 " on the GPU only");
        }
        make_recorded(step_recording_, [this] { launch_step(); });
        trainer_.set_steps(number + 1);
        return report;
    }

    void fetch() override {
        for (const auto& [name, values] : trainer_.state()) state_.at(name).download(values.data());
    }

private:
    float* at(const char* name) const { return state_.at(name).data(); }

    /// x_t, and what the network shall say of it, for the batch of a step.
    void make_batch(std::int64_t number) {
        host_.reset();
        const int samples = trainer_.options().batch;
        const std::uint64_t seed = trainer_.options().seed;
        const Batch batch = task_.source(host_, number, 0, samples);
        // A recording keeps the shapes it was made with.
        require(number == first_step_ ||
                    (batch.x0.shape() == shape_ && condition_.has_shapes_of(batch)),
                "training on a GPU: the batch of step ", number + 1,
                " has other shapes than the one before");
        shape_ = batch.x0.shape();
        condition_.upload(batch);
        std::vector<float> t, weight;
        std::vector<LevelOf<float>> level;
        for (int i = 0; i < samples; ++i) {
            const Moment at = draw_moment(task_.objective, samples, seed, number, i);
            t.push_back(static_cast<float>(at.t));
            weight.push_back(static_cast<float>(task_.objective.weight(at)));
            level.push_back(at.level.as<float>());
        }
        t_.upload(t.data());
        weight_.upload(weight.data());
        level_.upload(level.data());
        const auto numbers = static_cast<std::size_t>(shape_.numel());
        if (x0_.size() != numbers) {
            for (Buffer<float>* buffer : {&x0_, &eps_, &xt_, &wanted_})
                *buffer = Buffer<float>(numbers);
        }
        x0_.upload(batch.x0.data());
        const int size = static_cast<int>(shape_.numel() / samples);
        noise_batch(x0_.data(), level_.data(),
                    {seed, Purpose::noise, static_cast<std::uint32_t>(number)}, 0, samples, size,
                    eps_.data(), xt_.data());
        for_each_number(shape_.numel(), Wanted{x0_.data(), eps_.data(), level_.data(),
                                               task_.objective.prediction, size, wanted_.data()});
    }

    /// Makes launches; from the third step on from a recording, for by then the tape's memory has
    /// become one block, which no longer moves.
    template <class F>
    void make_recorded(Graph& recording, F launches) {
        const std::int64_t run = trainer_.steps() - first_step_;
        if (run < 2) {
            launches();
            return;
        }
        if (run == 2) recording.record(launches);
        recording.replay();
    }

    /// Loss, gradient and its norm.
    void launch_network() {
        Tape<Float>& tape = tape_.tape;
        tape.reset();
        tape.bind(as_device(at("values")), as_device(gradient_.data()));
        const auto of_batch = [&](const Buffer<float>& numbers) {
            return Tensor<Float>(as_device(numbers.data()), shape_);
        };
        const Noised<Float> noised{of_batch(xt_),
                                   of_batch(wanted_),
                                   {t_.data(), t_.size()},
                                   {as_device(weight_.data()), {trainer_.options().batch}},
                                   condition_.on(tape)};
        const Var<Float> loss = network_loss(task_.network.on_gpu, tape, noised).loss;  // (4.15)
        fill({as_device(gradient_.data()), {static_cast<int>(gradient_.size())}}, Float(0));
        tape.backward_from(loss, Float(1));
        copy_bytes(numbers_.data(), raw(loss.value()), sizeof(float));
        sum_of_squares(gradient_.data(), static_cast<std::ptrdiff_t>(gradient_.size()),
                       numbers_.data() + 1);
    }

    /// The optimisers' step, from the gradient and step_numbers_.
    void launch_step() {
        const float max_norm = static_cast<float>(trainer_.options().max_norm);
        if (trainer_.options().muon) {
            muon_.step(at("values"), gradient_.data(), at("momentum"), numbers_.data() + 1,
                       max_norm, &step_numbers_.data()->learning_rate);
        }
        fused_step(&step_numbers_.data()->fused, static_cast<std::ptrdiff_t>(gradient_.size()),
                   gradient_.data(), at("values"), at("first_moment"), at("second_moment"),
                   at("average"));
    }

    /// What a step of the optimisers takes that is not the same in every step.
    struct StepNumbers {
        FusedStep fused;
        float learning_rate;
    };

    Trainer& trainer_;
    TrainingTask task_;
    std::int64_t first_step_ = trainer_.steps();
    Arena host_;   ///< of a batch
    Shape shape_;  ///< of its pictures
    std::map<std::string, Buffer<float>> state_;
    Buffer<float> gradient_;
    Buffer<float> x0_, eps_, xt_, wanted_;
    Buffer<float> t_, weight_;
    Buffer<LevelOf<float>> level_;
    GpuCondition condition_;
    Buffer<float> numbers_;  ///< the loss, and the sum of squares of the gradient
    DeviceMuon muon_;
    DeviceTape tape_;
    Buffer<StepNumbers> step_numbers_{1};
    Graph network_recording_, step_recording_;
};

constexpr int kPiece = 512;  // pictures whose activations lie on the GPU at a time

/// What a denoiser needs for a piece. One caller at a time has it.
struct Drawing {
    std::mutex one_at_a_time;
    DeviceTape tape;
    GpuCondition condition;
};

Denoiser<float> gpu_denoiser(const Network& network, Prediction prediction, std::span<float> values,
                             const Batch& condition) {
    require(static_cast<bool>(network.on_gpu), "drawing: this network is not on a GPU");
    const auto on_gpu = std::make_shared<Buffer<float>>(Buffer<float>::of(values));
    const auto memory = std::make_shared<Drawing>();
    return [=, network = network.on_gpu](Tensor<const float> xt, const Moment& at,
                                         Tensor<float> x0) {
        check_level(prediction, at.level);
        const std::lock_guard<std::mutex> lock(memory->one_at_a_time);
        Tape<Float>& tape = memory->tape.tape;
        for (int first = 0; first < xt.size(0); first += kPiece) {
            const int count = std::min(kPiece, xt.size(0) - first);
            tape.reset();
            tape.bind(as_device(on_gpu->data()));
            Shape shape = xt.shape();
            shape.n[0] = count;
            const std::size_t bytes = static_cast<std::size_t>(shape.numel()) * sizeof(float);
            const Tensor<Float> x = tape.numbers().make<Float>(shape);
            copy_bytes(raw(x), xt[first].data(), bytes);
            const Buffer<float> times = Buffer<float>::of(
                std::vector<float>(static_cast<std::size_t>(count), static_cast<float>(at.t)));
            memory->condition.upload(part_of(condition, first, count));
            const Tensor<Float> y =
                network(tape.constant(x), {times.data(), times.size()}, memory->condition.on(tape))
                    .value();
            for_each_number(shape.numel(),
                            Guess{prediction, at.level.as<float>(), raw(x), raw(y), raw(y)});
            copy_bytes(x0[first].data(), raw(y), bytes);
            synchronize("drawing");
        }
    };
}

}  // namespace
}  // namespace diffusion::cuda

namespace diffusion {

Device cuda_device(const std::string& precision) {
    cuda::precision() = precision == "fp32" || !cuda::has_tensor_cores() ? cuda::Precision::fp32
                        : precision == "bf16"                            ? cuda::Precision::bf16
                                                                         : cuda::Precision::tf32;
    return {cuda::device_name() + ", products in " + cuda::precision_name(cuda::precision()), true,
            [](Trainer& trainer, const TrainingTask& task) -> std::unique_ptr<Training> {
                return std::make_unique<cuda::DeviceTraining>(trainer, task);
            },
            cuda::gpu_denoiser};
}

}  // namespace diffusion

namespace diffusion::cuda {
namespace {

TrainingTask task_of(const DenoisingModel& model, const Dataset& data, int batch, bool flip) {
    const bool labels = !data.labels.empty();
    return {model.network(),
            picture_source(data, {.batch = batch, .flip = flip, .labels = labels, .seed = 5}),
            model.objective()};
}

void time_steps(Stage& s, const std::string& what, const UNetConfig& config, int side, int batch) {
    const DenoisingModel model(config, "cosine", 1000, "eps", side, side, "test");
    Dataset data{"test", "test", batch, side, side, config.in_channels, {}, {}};
    data.pixels.resize(static_cast<std::size_t>(batch) * data.image_size(), 77);
    Trainer trainer(model.parameters, {.batch = batch, .muon = false});
    const Precision before = precision();
    for (const Precision p : {Precision::fp32, Precision::tf32, Precision::bf16}) {
        if (p != Precision::fp32 && !has_tensor_cores()) continue;
        precision() = p;
        DeviceTraining training(trainer, task_of(model, data, batch, false));
        for (int i = 0; i < 3; ++i) training.step();  // until they are recorded
        s.time(what + ", " + precision_name(p), 0, 0, [&] { training.step(); });
    }
    precision() = before;
}

void time_all(Stage& s) {
    time_steps(s, "a step of 64 digits, base 32", unet_config(1, 32, {1, 2, 2}), 28, 64);
    time_steps(s, "a step of 128, DDPM's CIFAR-10 size", unet_config(3, 128, {1, 2, 2, 2}), 32,
               128);
}

/// The weighted loss of random numbers, and its gradient.
void check_loss(Stage& s) {
    const Shape shape{3, 5, 7, 2};
    const std::vector<float> x = random_numbers(shape.numel(), 1),
                             target = random_numbers(shape.numel(), 2), w{0.5f, 2.0f, 1.25f};
    std::vector<float> dx(x.size());
    Arena arena;
    Tape<float> cpu(arena);
    std::vector<float> x_copy = x, target_copy = target, w_copy = w;
    const WeightedError<float> expected =
        weighted_mse(cpu.leaf({x_copy.data(), shape}, {dx.data(), shape}),
                     {target_copy.data(), shape}, {w_copy.data(), {3}});
    cpu.backward_from(expected.loss, 0.7f);
    DeviceTape gpu;
    const auto on_x = Buffer<float>::of(x), on_target = Buffer<float>::of(target),
               on_w = Buffer<float>::of(w), on_dx = Buffer<float>::of(std::vector<float>(x.size()));
    const WeightedError<Float> found = weighted_mse(
        gpu.tape.leaf({as_device(on_x.data()), shape}, {as_device(on_dx.data()), shape}),
        {as_device(on_target.data()), shape}, {as_device(on_w.data()), {3}});
    gpu.tape.backward_from(found.loss, Float(0.7));
    s.check("weighted loss",
            largest_difference(take(found.loss.value()), take(expected.loss.value())), 1e-6);
    s.check("weighted loss: of each sample",
            largest_difference(take(found.of_sample), take(expected.of_sample)), 1e-6);
    s.check("weighted loss: gradient", largest_difference(on_dx.download(), dx), 1e-7);
}

/// What a batch brings along must arrive as it was sent.
void check_condition(Stage& s) {
    Arena arena;
    Batch batch;
    batch.tokens = arena.make<float>({2, 3, 4});
    batch.pooled = arena.make<float>({2, 5});
    batch.keep = arena.make<unsigned char>({2, 3});
    batch.ids = arena.make<int>({2, 3});
    batch.labels = arena.make<int>({2});
    int next = 0;
    const auto number = [&](auto numbers) {
        for (auto& v : numbers) v = static_cast<std::decay_t<decltype(v)>>(++next % 7);
    };
    number(batch.tokens);
    number(batch.pooled);
    number(batch.keep);
    number(batch.ids);
    number(batch.labels);
    GpuCondition condition;
    condition.upload(batch);
    DeviceTape gpu;
    const Condition<Float> found = condition.on(gpu.tape);
    int wrong = 0;
    const auto compare = [&](auto sent, const auto* arrived) {
        std::vector<std::decay_t<decltype(*sent.data())>> numbers(
            static_cast<std::size_t>(sent.numel()));
        copy_bytes(numbers.data(), arrived, numbers.size() * sizeof numbers[0]);
        synchronize();
        wrong += std::equal(numbers.begin(), numbers.end(), sent.begin()) ? 0 : 1;
    };
    compare(batch.tokens, raw(found.tokens.value()));
    compare(batch.pooled, raw(found.pooled.value()));
    compare(batch.keep, found.keep.data());
    compare(batch.ids, found.ids.data());
    compare(batch.labels, found.labels.data());
    s.check("parts of a batch's condition that arrive otherwise", wrong, 0);
}

// ---- The check: some steps of training beside the CPU's, from the same state; and a guess.

}  // namespace

void training_stage(Stage& s) {
    constexpr int kSide = 8, kClasses = 5;
    check_loss(s);
    check_condition(s);
    Dataset data{"test", "test", 12, kSide, kSide, 1, {}, {}};
    for (int i = 0; i < 12 * kSide * kSide; ++i)
        data.pixels.push_back(static_cast<std::uint8_t>(i * 37 % 256));
    for (const char* kind : {"x0", "v"}) {
        UNetConfig config = unet_config(1, 8, {1, 2, 2}, 2);
        if (std::string(kind) == "v") {  // which is told the classes, too
            config.classes = kClasses;
            for (int i = 0; i < 12; ++i)
                data.labels.push_back(static_cast<std::uint8_t>(i % kClasses));
        }
        const DenoisingModel model(config, "cosine", 100, kind, kSide, kSide, "test");
        const TrainOptions options{.batch = 4, .steps = 10, .warmup = 2, .seed = 3};
        const TrainingTask task = task_of(model, data, 4, true);
        Trainer cpu(model.parameters, options), beside(model.parameters, options);
        const Trainer::Loss loss = denoising_loss(task.network.on_cpu, task.source, task.objective,
                                                  options.batch, options.seed);
        DeviceTraining gpu(beside, task);
        double off = 0, off_norm = 0, off_matrix = 0;
        const std::int64_t before = launch_count();
        for (int k = 0; k < 4; ++k) {  // two as they are, two recorded
            const Trainer::Report a = cpu.step(loss), b = gpu.step();
            if (k == 0) s.say("launches in a step", launch_count() - before);
            off = std::max(off, std::abs(a.loss - b.loss) / a.loss);
            off_norm =
                std::max(off_norm, std::abs(a.gradient_norm - b.gradient_norm) / a.gradient_norm);
        }
        gpu.fetch();
        const std::string what = std::string("four training steps, ") + kind + ": ";
        s.check(what + "losses, relative", off, 1e-5);
        s.check(what + "norms of the gradient, relative", off_norm, 1e-4);
        for (const char* name : {"momentum", "first_moment", "second_moment"}) {
            s.check(what + name, largest_difference(beside.state().at(name), cpu.state().at(name)),
                    1e-5);
        }
        // A bias before a norm has no gradient but rounding, which Adam makes as long as any other.
        // So values are compared where Muon makes the steps, and all of them by what they lead to.
        // (Of the matrices, too, some have no gradient but rounding: eight groups of eight channels
        // undo every shift.)
        for (const Parameter& m : model.parameters.matrices()) {
            const auto numbers = [&](const Array<float>& all) {
                return all.span().subspan(static_cast<std::size_t>(m.offset),
                                          static_cast<std::size_t>(m.shape.numel()));
            };
            const std::span<float> momentum = cpu.state().at("momentum");
            const auto own = momentum.subspan(static_cast<std::size_t>(m.offset),
                                              static_cast<std::size_t>(m.shape.numel()));
            if (std::ranges::max(own) < 1e-3f * std::ranges::max(momentum)) continue;
            off_matrix = std::max(
                off_matrix, largest_difference(numbers(beside.values()), numbers(cpu.values())));
        }
        s.check(what + "matrices", off_matrix, 1e-5);
        s.check(what + "steps counted", std::abs(static_cast<double>(beside.steps() - cpu.steps())),
                0);

        const std::vector<float> x = random_numbers(3 * kSide * kSide, 4);
        std::vector<float> expected(x.size()), found(x.size());
        const Shape shape{3, kSide, kSide, 1};
        const Moment at = model.path(std::array{70}).front();
        std::vector<int> labels{4, 0, 2};
        Batch condition;
        if (config.classes > 0) condition.labels = {labels.data(), {3}};
        const Network network = model.network();
        network_denoiser(network.on_cpu, model.prediction, cpu.values(), condition)(
            {x.data(), shape}, at, {expected.data(), shape});
        gpu_denoiser(network, model.prediction, cpu.values(), condition)({x.data(), shape}, at,
                                                                         {found.data(), shape});
        s.check(std::string("the denoiser, ") + kind, largest_difference(found, expected), 1e-4);
    }
    if (s.times()) time_all(s);
}

}  // namespace diffusion::cuda
