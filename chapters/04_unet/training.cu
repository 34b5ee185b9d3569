// Chapter 4's training step on a GPU, for any loss that can be made there (gpu_batch.hpp): loss,
// gradients, Muon and AdamW (chapter 2). A small network would leave the GPU waiting for the host,
// which starts a thousand kernels in a step; from the third step on it starts recordings of them.
#include <memory>

#include "02_gradients/compare.hpp"
#include "02_gradients/device_muon.hpp"
#include "02_gradients/gradients.hpp"
#include "04_unet/conv.hpp"
#include "04_unet/device.hpp"
#include "04_unet/gpu_batch.hpp"
#include "cuda/reduce.hpp"

namespace diffusion::cuda {
namespace {

/// A training under way.
class DeviceTraining : public Training {
public:
    DeviceTraining(Trainer& trainer, const TrainingTask& task)
        : trainer_(trainer),
          on_cpu_(task.on_cpu),
          gradient_(trainer.values().size()),
          numbers_(2),
          muon_(trainer.options().muon ? trainer.parameters().matrices() : std::vector<Parameter>(),
                {}) {
        require(static_cast<bool>(task.on_gpu), "training: this loss is not on a GPU");
        loss_ = task.on_gpu();
        for (const auto& [name, values] : trainer.state()) state_[name] = Buffer<float>::of(values);
    }

    Trainer::Report step() override {
        const std::int64_t number = trainer_.steps();
        const TrainOptions& options = trainer_.options();
        loss_->prepare(number);
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
            trainer_.step(on_cpu_);  // fails, naming the layer
            throw NotFinite("training: the loss is " + std::to_string(report.loss) + " at step " +
                            std::to_string(number + 1) + " on the GPU only");
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
        const Var<Float> loss = (*loss_)(tape);
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
    Trainer::Loss on_cpu_;
    std::shared_ptr<DeviceLoss> loss_;
    std::int64_t first_step_ = trainer_.steps();
    std::map<std::string, Buffer<float>> state_;
    Buffer<float> gradient_;
    Buffer<float> numbers_;  ///< the loss, and the sum of squares of the gradient
    DeviceMuon muon_;
    DeviceTape tape_;
    Buffer<StepNumbers> step_numbers_{1};
    Graph network_recording_, step_recording_;
};

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
    return denoising_task(
        model.network(),
        picture_source(data, {.batch = batch, .flip = flip, .labels = labels, .seed = 5}),
        model.objective(), batch, 5);
}

void time_steps(Stage& s, const std::string& what, const UNetConfig& config, int side, int batch) {
    const DenoisingModel model(config, make_schedule("cosine", 1000), Prediction::eps, side, side,
                               "test");
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
    std::vector<float> dx = random_numbers(shape.numel(), 3);
    for (float& v : dx) v /= 100;  // about as large as the gradient that is added to it
    Arena arena;
    Tape<float> cpu(arena);
    std::vector<float> x_copy = x, target_copy = target, w_copy = w;
    const auto on_dx = Buffer<float>::of(dx);
    const WeightedError<float> expected =
        weighted_mse(cpu.leaf({x_copy.data(), shape}, {dx.data(), shape}),
                     {target_copy.data(), shape}, {w_copy.data(), {3}});
    cpu.backward_from(expected.loss, 0.7f);
    DeviceTape gpu;
    const auto on_x = Buffer<float>::of(x), on_target = Buffer<float>::of(target),
               on_w = Buffer<float>::of(w);
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

/// A denoiser that is asked for different numbers of pictures, in one piece and in two, must give
/// each its own condition. This network says it as it is.
void check_pieces(Stage& s) {
    constexpr int kMost = 612, kPixels = 4;
    std::vector<float> tokens = random_numbers(kMost * kPixels, 1), none{0};
    Network network;
    network.on_gpu = [](Var<Float> xt, std::span<const float>, const Condition<Float>& condition) {
        return reshape(condition.tokens, xt.shape());
    };
    Batch condition;
    condition.tokens = {tokens.data(), {kMost, 1, kPixels}};
    const Denoiser<float> denoiser = gpu_denoiser(network, Prediction::x0, none, condition);
    double off = 0;
    for (const int count : {512, 512, kMost, 100, 512}) {
        const std::size_t numbers = static_cast<std::size_t>(count) * kPixels;
        const std::vector<float> x(numbers);
        std::vector<float> found(numbers);
        denoiser({x.data(), {count, 2, 2, 1}}, {1, {0.6, 0.8}}, {found.data(), {count, 2, 2, 1}});
        off = std::max(off, largest_difference(found, std::span(tokens).first(numbers)));
    }
    s.check("each picture has its own condition, whatever the pieces", off, 0);
}

// ---- The check: some steps of training beside the CPU's, from the same state; and a guess.

}  // namespace

void training_stage(Stage& s) {
    constexpr int kSide = 8, kClasses = 5;
    check_loss(s);
    check_condition(s);
    check_pieces(s);
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
        const DenoisingModel model(config, make_schedule("cosine", 100), prediction_from_name(kind),
                                   kSide, kSide, "test");
        const TrainOptions options{.batch = 4, .steps = 10, .warmup = 2, .seed = 3};
        const TrainingTask task = task_of(model, data, 4, true);
        Trainer cpu(model.parameters, options), beside(model.parameters, options);
        DeviceTraining gpu(beside, task);
        double off = 0, off_norm = 0, off_matrix = 0;
        const std::int64_t before = launch_count();
        for (int k = 0; k < 4; ++k) {  // two as they are, two recorded
            const Trainer::Report a = cpu.step(task.on_cpu), b = gpu.step();
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
