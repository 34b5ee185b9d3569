// Chapter 4's training step and its denoiser on a GPU. The data set lies there from the beginning;
// the host only says which pictures come next, and at which times. Then everything happens where
// the numbers are: noise (chapter 1), network, loss, gradients, Muon and AdamW (chapter 2). A small
// network would leave the GPU waiting for the host, which starts a thousand kernels in a step; from
// the third step on it starts recordings of them.
#include <memory>

#include "01_forward_noising/noising.hpp"
#include "02_gradients/compare.hpp"
#include "02_gradients/device_muon.hpp"
#include "02_gradients/gradients.hpp"
#include "03_reverse_process/prediction.hpp"
#include "04_unet/backend.hpp"
#include "04_unet/conv.hpp"
#include "04_unet/unet.hpp"
#include "cuda/reduce.hpp"

namespace diffusion {
extern template Var<cuda::Float> UNet::operator()(Var<cuda::Float>, std::span<const int>) const;
}

namespace diffusion::cuda {
namespace {

/// What the host says of one sample of a batch.
struct Sample {
    int picture, flip, t;
    float root;  ///< of the loss's weight (4.15)
    LevelOf<float> level;
};
struct Unpack {
    const Sample* samples;
    int* t;
    LevelOf<float>* level;
    __device__ void operator()(int n) const {
        t[n] = samples[n].t;
        level[n] = samples[n].level;
    }
};

/// Bytes of the chosen pictures as numbers, some mirrored.
struct Decode {
    const std::uint8_t* bytes;
    const Sample* samples;
    Divisor width, channels, size;  ///< size: numbers of a picture
    float* x0;
    __device__ void operator()(int i) const {
        const int n = i / size, at = i % size;
        const int column = at / channels % width;
        const int from = samples[n].flip != 0 ? at + (width - 1 - 2 * column) * channels : at;
        x0[i] = from_byte(bytes[static_cast<std::ptrdiff_t>(samples[n].picture) * size + from]);
    }
};

/// What the network is asked for, times the root of the weight; and that root (4.15).
struct Target {
    const float *x0, *eps;
    const Sample* samples;
    Prediction prediction;
    Divisor size;
    float *target, *root;
    __device__ void operator()(int i) const {
        const Sample& s = samples[i / size];
        root[i] = s.root;
        target[i] = s.root * wanted_from(prediction, s.level, x0[i], eps[i]);
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

LevelOf<float> level_of(const Schedule& schedule, int t) {
    return {static_cast<float>(schedule.signal(t)), static_cast<float>(schedule.noise(t))};
}

/// The state of a training on the GPU.
class DeviceTraining {
public:
    DeviceTraining(Trainer& trainer, const DenoisingModel& model, const Dataset& data,
                   const DenoisingTask& task)
        : trainer_(trainer),
          model_(model),
          data_(data),
          task_(task),
          shuffle_(data.count, task.seed),
          shape_{task.batch, data.height, data.width, data.channels},
          bytes_(Buffer<std::uint8_t>::of(data.pixels)),
          gradient_(trainer.values().size()),
          x0_(static_cast<std::size_t>(shape_.numel())),
          eps_(x0_.size()),
          xt_(x0_.size()),
          target_(x0_.size()),
          roots_(x0_.size()),
          samples_(static_cast<std::size_t>(task.batch)),
          t_(samples_.size()),
          level_(samples_.size()),
          numbers_(2),
          muon_(trainer.options().muon ? trainer.parameters().matrices() : std::vector<Parameter>(),
                {}) {
        for (const auto& [name, values] : trainer.state()) state_[name] = Buffer<float>::of(values);
    }

    Trainer::Report step() {
        const std::int64_t number = trainer_.steps();
        const TrainOptions& options = trainer_.options();
        make_samples(number);
        const double rate = learning_rate_at(number, options);
        const StepNumbers numbers{
            {trainer_.adamw_step(number + 1, rate), static_cast<float>(options.max_norm),
             static_cast<float>(ema_rate(number + 1, options.ema_rate)), numbers_.data() + 1},
            static_cast<float>(rate)};
        step_numbers_.upload(&numbers);
        make_recorded(network_recording_, [this] { launch_network(); });
        const std::vector<float> found =
            numbers_.download();  // the step is not made before this is seen
        const Trainer::Report report{static_cast<double>(found[0]),
                                     std::sqrt(static_cast<double>(found[1]))};
        if (!std::isfinite(report.loss) || !std::isfinite(report.gradient_norm)) {
            fetch();
            trainer_.step(denoising_loss(model_, data_, task_));  // fails, naming the layer
            fail("training: the loss is ", report.loss, " at step ", number + 1,
                 " on the GPU only");
        }
        make_recorded(step_recording_, [this] { launch_step(); });
        trainer_.set_steps(number + 1);
        return report;
    }

    void fetch() {
        for (const auto& [name, values] : trainer_.state()) state_.at(name).download(values.data());
    }

private:
    float* at(const char* name) const { return state_.at(name).data(); }

    /// x_t, and what the network shall say of it, for the batch of a step.
    void make_samples(std::int64_t number) {
        std::vector<Sample> samples;
        for (int i = 0; i < task_.batch; ++i) {
            const DrawnSample drawn = draw_sample(task_, model_.schedule, shuffle_, number, i);
            const double weight =
                loss_weight(model_.prediction, level_at(model_.schedule, drawn.t));
            samples.push_back({drawn.picture, drawn.flip ? 1 : 0, drawn.t,
                               static_cast<float>(std::sqrt(weight)),
                               level_of(model_.schedule, drawn.t)});
        }
        samples_.upload(samples.data());
        for_each_number(task_.batch, Unpack{samples_.data(), t_.data(), level_.data()});
        const int size = static_cast<int>(data_.image_size());
        for_each_number(shape_.numel(), Decode{bytes_.data(), samples_.data(), data_.width,
                                               data_.channels, size, x0_.data()});
        noise_batch(x0_.data(), level_.data(),
                    {task_.seed, Purpose::noise, static_cast<std::uint32_t>(number)}, 0,
                    task_.batch, size, eps_.data(), xt_.data());
        for_each_number(shape_.numel(),
                        Target{x0_.data(), eps_.data(), samples_.data(), model_.prediction, size,
                               target_.data(), roots_.data()});
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
        const auto constant = [&](const Buffer<float>& numbers) {
            return tape.constant({as_device(numbers.data()), shape_});
        };
        const Var<Float> y = model_.unet(constant(xt_), std::span<const int>(t_.data(), t_.size()));
        const Var<Float> loss = mse(mul(y, constant(roots_)), constant(target_));  // (4.15)
        fill({as_device(gradient_.data()), {static_cast<int>(gradient_.size())}}, Float(0));
        tape.backward_from(loss, Float(1));
        copy_bytes(numbers_.data(), raw(loss.value()), sizeof(float));
        sum_of_squares(gradient_.data(), std::ssize(trainer_.values()), numbers_.data() + 1);
    }

    /// The optimisers' step, from the gradient and step_numbers_.
    void launch_step() {
        const float max_norm = static_cast<float>(trainer_.options().max_norm);
        if (trainer_.options().muon) {
            muon_.step(at("values"), gradient_.data(), at("momentum"), numbers_.data() + 1,
                       max_norm, &step_numbers_.data()->learning_rate);
        }
        fused_step(&step_numbers_.data()->fused, std::ssize(trainer_.values()), gradient_.data(),
                   at("values"), at("first_moment"), at("second_moment"), at("average"));
    }

    /// What a step of the optimisers takes that is not the same in every step.
    struct StepNumbers {
        FusedStep fused;
        float learning_rate;
    };

    Trainer& trainer_;
    const DenoisingModel& model_;
    const Dataset& data_;
    DenoisingTask task_;
    std::int64_t first_step_ = trainer_.steps();
    Shuffle shuffle_;
    Shape shape_;  ///< of a batch
    Buffer<std::uint8_t> bytes_;
    std::map<std::string, Buffer<float>> state_;
    Buffer<float> gradient_;
    Buffer<float> x0_, eps_, xt_, target_, roots_;
    Buffer<Sample> samples_;
    Buffer<int> t_;
    Buffer<LevelOf<float>> level_;
    Buffer<float> numbers_;  ///< the loss, and the sum of squares of the gradient
    DeviceMuon muon_;
    DeviceTape tape_;
    Buffer<StepNumbers> step_numbers_{1};
    Graph network_recording_, step_recording_;
};

GpuTraining make_training(Trainer& trainer, const DenoisingModel& model, const Dataset& data,
                          const DenoisingTask& task) {
    const auto training = std::make_shared<DeviceTraining>(trainer, model, data, task);
    return {[training] { return training->step(); }, [training] { training->fetch(); }};
}

constexpr int kPiece = 512;  // pictures whose activations lie on the GPU at a time

Denoiser<float> make_gpu_denoiser(const DenoisingModel& model, std::span<const float> values) {
    const auto on_gpu = std::make_shared<Buffer<float>>(Buffer<float>::of(values));
    const auto memory = std::make_shared<DeviceTape>();
    return [&model, on_gpu, memory](Tensor<const float> xt, int t, Tensor<float> x0) {
        Tape<Float>& tape = memory->tape;
        for (int first = 0; first < xt.size(0); first += kPiece) {
            const int count = std::min(kPiece, xt.size(0) - first);
            tape.reset();
            tape.bind(as_device(on_gpu->data()));
            const Shape shape{count, xt.size(1), xt.size(2), xt.size(3)};
            const std::size_t bytes = static_cast<std::size_t>(shape.numel()) * sizeof(float);
            const Tensor<Float> x = tape.numbers().make<Float>(shape);
            copy_bytes(raw(x), xt[first].data(), bytes);
            const Buffer<int> times =
                Buffer<int>::of(std::vector<int>(static_cast<std::size_t>(count), t));
            const Tensor<Float> y =
                model.unet(tape.constant(x), std::span<const int>(times.data(), times.size()))
                    .value();
            for_each_number(shape.numel(), Guess{model.prediction, level_of(model.schedule, t),
                                                 raw(x), raw(y), raw(y)});
            copy_bytes(x0[first].data(), raw(y), bytes);
            synchronize("drawing");
        }
    };
}

const bool filled_in = [] {
    gpu_backend() = {[] { return device_name() + ", products in " + precision_name(precision()); },
                     [](const std::string& name) {
                         precision() = name == "fp32" || !has_tensor_cores() ? Precision::fp32
                                       : name == "bf16"                      ? Precision::bf16
                                                                             : Precision::tf32;
                     },
                     make_training, make_gpu_denoiser};
    return true;
}();

void time_steps(Stage& s, const std::string& what, const UNetConfig& config, int side, int batch) {
    const DenoisingModel model(config, "cosine", 1000, "eps", side, side, "test");
    Dataset data{"test", "test", batch, side, side, config.channels, {}, {}};
    data.pixels.resize(static_cast<std::size_t>(batch) * data.image_size(), 77);
    Trainer trainer(model.unet.parameters(), {.batch = batch, .muon = false});
    const Precision before = precision();
    for (const Precision p : {Precision::fp32, Precision::tf32, Precision::bf16}) {
        if (p != Precision::fp32 && !has_tensor_cores()) continue;
        precision() = p;
        const GpuTraining training =
            make_training(trainer, model, data, {batch, kTimePower, false, 1});
        for (int i = 0; i < 3; ++i) training.step();  // until they are recorded
        s.time(what + ", " + precision_name(p), 0, 0, [&] { training.step(); });
    }
    precision() = before;
}

void time_all(Stage& s) {
    time_steps(s, "a step of 64 digits, base 32", {1, 32, {1, 2, 2}, 4}, 28, 64);
    time_steps(s, "a step of 128, DDPM's CIFAR-10 size", {3, 128, {1, 2, 2, 2}, 4}, 32, 128);
}

// ---- The check: some steps of training beside the CPU's, from the same state; and a guess.

void stage(Stage& s) {
    static_cast<void>(filled_in);
    constexpr int kSide = 8;
    Dataset data{"test", "test", 12, kSide, kSide, 1, {}, {}};
    for (int i = 0; i < 12 * kSide * kSide; ++i)
        data.pixels.push_back(static_cast<std::uint8_t>(i * 37 % 256));
    for (const char* kind : {"x0", "v"}) {
        const DenoisingModel model({1, 8, {1, 2, 2}, 2}, "cosine", 100, kind, kSide, kSide, "test");
        const TrainOptions options{.batch = 4, .steps = 10, .warmup = 2, .seed = 3};
        const DenoisingTask task{4, kTimePower, true, 5};
        Trainer cpu(model.unet.parameters(), options), beside(model.unet.parameters(), options);
        const Trainer::Loss loss = denoising_loss(model, data, task);
        const GpuTraining gpu = make_training(beside, model, data, task);
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
        for (const Parameter& m : model.unet.parameters().matrices()) {
            const auto numbers = [&](const std::vector<float>& all) {
                return std::span(all).subspan(static_cast<std::size_t>(m.offset),
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
        make_denoiser(model, cpu.values())({x.data(), shape}, 70, {expected.data(), shape});
        make_gpu_denoiser(model, cpu.values())({x.data(), shape}, 70, {found.data(), shape});
        s.check(std::string("the denoiser, ") + kind, largest_difference(found, expected), 1e-4);
    }
    if (s.times()) time_all(s);
}
const StageOfChapter registered("04", "training", stage);

}  // namespace
}  // namespace diffusion::cuda
