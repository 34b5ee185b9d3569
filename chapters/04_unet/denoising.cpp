#include "04_unet/denoising.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <sstream>
#include <utility>

#include "01_forward_noising/q_sample.hpp"
#include "02_gradients/ops.hpp"
#include "04_unet/shuffle.hpp"
#include "app/progress.hpp"
#include "kernels/threads.hpp"
#include "tensor/random.hpp"

namespace diffusion {
namespace {

constexpr int kPiece =
    8;  // images that one core takes at a time at most: their activations stay near it

const char* prediction_name(Prediction prediction) {
    constexpr std::array<const char*, 4> kNames = {"eps", "x0", "v", "score"};
    return kNames[static_cast<std::size_t>(prediction)];
}

}  // namespace

std::string joined(const std::vector<int>& numbers) {
    std::string text;
    for (int n : numbers) text += (text.empty() ? "" : ",") + std::to_string(n);
    return text;
}

DenoisingModel::DenoisingModel(const UNetConfig& config, const std::string& schedule_name, int T,
                               const std::string& prediction_name, int height_, int width_,
                               std::string data_)
    : unet(config),
      schedule(make_schedule(schedule_name, T)),
      prediction(prediction_from_name(prediction_name)),
      height(height_),
      width(width_),
      data(std::move(data_)) {
    require(prediction != Prediction::score, "denoising model: predicts eps, x0 or v");
}

void DenoisingModel::save(const std::filesystem::path& path, std::span<const float> values) const {
    const UNetConfig& c = unet.config();
    Safetensors file{unet.parameters().to_arrays<float>(values), {}};
    file.metadata = {{"model", "unet"},
                     {"data", data},
                     {"channels", std::to_string(c.channels)},
                     {"base", std::to_string(c.base)},
                     {"multipliers", joined(c.multipliers)},
                     {"heads", std::to_string(c.heads)},
                     {"schedule", schedule.name},
                     {"T", std::to_string(schedule.steps())},
                     {"prediction", prediction_name(prediction)},
                     {"height", std::to_string(height)},
                     {"width", std::to_string(width)}};
    write_safetensors(path, file);
}

LoadedModel load_model(const std::filesystem::path& path) {
    const Safetensors file = read_safetensors(path);
    const Metadata metadata(file, path, "unet");
    UNetConfig config{
        metadata.number("channels"), metadata.number("base"), {}, metadata.number("heads")};
    std::istringstream list(metadata.entry("multipliers"));
    for (std::string part; std::getline(list, part, ',');)
        config.multipliers.push_back(metadata.to_number("multipliers", part));
    LoadedModel loaded{DenoisingModel(config, metadata.entry("schedule"), metadata.number("T"),
                                      metadata.entry("prediction"), metadata.number("height"),
                                      metadata.number("width"), metadata.entry("data")),
                       {}};
    loaded.values = loaded.model.unet.parameters().from_arrays<float>(file, path.string());
    return loaded;
}

double loss_weight(Prediction prediction, Level level) {
    constexpr double kMost = 5, kLeast = 0.1;
    if (prediction != Prediction::x0) return 1;
    const double square = level.s * level.s;
    return (square > 1 / kMost ? 1 / square : kMost) * (level.a + kLeast);  // (4.15)
}

DrawnSample draw_sample(const DenoisingTask& task, const Schedule& schedule, Shuffle& shuffle,
                        std::int64_t step, int number) {
    const auto s = static_cast<std::uint32_t>(step), k = static_cast<std::uint32_t>(number);
    const double u =
        (number + Random(task.seed, Purpose::timestep, s, k).uniform()) / task.batch;  // (4.15)
    return {shuffle.at(step * task.batch + number),
            task.flip && (Random(task.seed, Purpose::augmentation, s, k).bits() & 1) != 0,
            1 + std::min(schedule.steps() - 1,
                         static_cast<int>(std::pow(u, task.time_power) * schedule.steps()))};
}

Trainer::Loss denoising_loss(const DenoisingModel& model, const Dataset& data,
                             const DenoisingTask& task, SampleErrors* samples) {
    require(data.height == model.height && data.width == model.width &&
                data.channels == model.unet.config().channels,
            "training: the pictures are ", data.height, "x", data.width, "x", data.channels,
            ", the model is made for ", model.height, "x", model.width, "x",
            model.unet.config().channels);
    require(data.count > 0, "training: the data set is empty");
    const auto shuffle = std::make_shared<Shuffle>(data.count, task.seed);
    return [&model, &data, task, samples, shuffle](Tape<float>& tape, std::int64_t step, int first,
                                                   int count) {
        Arena& arena = tape.arena();
        const Schedule& schedule = model.schedule;
        const Shape shape{count, data.height, data.width, data.channels};
        const Tensor<float> x0 = arena.make<float>(shape), eps = arena.make<float>(shape),
                            xt = arena.make<float>(shape);
        const Tensor<float> target = arena.make<float>(shape);
        const std::span<int> t = arena.make<int>({count}).flat();
        for (int i = 0; i < count; ++i) {
            const DrawnSample drawn = draw_sample(task, schedule, *shuffle, step, first + i);
            decode(data, drawn.picture, drawn.flip, x0[i]);
            fill_normal(eps[i], Random(task.seed, Purpose::noise, static_cast<std::uint32_t>(step),
                                       static_cast<std::uint32_t>(first + i)));
            t[static_cast<std::size_t>(i)] = drawn.t;
        }
        q_sample<float>(x0, t, eps, schedule, xt);
        // Both sides are multiplied by the root of the weight, so that the loss is a plain mean.
        const Tensor<float> root = arena.make<float>(shape);
        for (int i = 0; i < count; ++i) {
            const Level level{schedule.signal(t[static_cast<std::size_t>(i)]),
                              schedule.noise(t[static_cast<std::size_t>(i)])};
            const double r = std::sqrt(loss_weight(model.prediction, level));
            for (std::ptrdiff_t p = 0; p < target[i].numel(); ++p) {
                const double wanted =
                    wanted_from(model.prediction, level, static_cast<double>(x0[i].data()[p]),
                                static_cast<double>(eps[i].data()[p]));
                target[i].data()[p] = static_cast<float>(r * wanted);
                root[i].data()[p] = static_cast<float>(r);
            }
        }
        const Var<float> y =
            mul(model.unet(tape.constant(xt), std::span<const int>(t)), tape.constant(root));
        if (samples != nullptr) {
            for (int i = 0; i < count; ++i) {
                double sum = 0;
                for (std::ptrdiff_t p = 0; p < target[i].numel(); ++p) {
                    const double d =
                        static_cast<double>(y.value()[i].data()[p] - target[i].data()[p]);
                    sum += d * d;
                }
                const int number = first + i;
                const auto k = static_cast<std::size_t>(number);
                const double r = static_cast<double>(root[i].data()[0]);
                samples->t[k] = t[static_cast<std::size_t>(i)];
                samples->error[k] = sum / (r * r) / static_cast<double>(target[i].numel());
            }
        }
        return mse(y, tape.constant(target));  // (4.15)
    };
}

Denoiser<float> make_denoiser(const DenoisingModel& model, std::span<float> values) {
    const auto tapes = std::make_shared<std::vector<OwnTape<float>>>(
        static_cast<std::size_t>(thread_count()));  // one per thread
    return [&model, values, tapes](Tensor<const float> xt, int t, Tensor<float> x0) {
        const int images = xt.size(0), threads = static_cast<int>(tapes->size());
        const int size = std::clamp((images + threads - 1) / threads, 1, kPiece),
                  pieces = (images + size - 1) / size;
        const Level level = level_at(model.schedule, t);
        parallel_for(pieces, threads, [&](int piece) {
            Tape<float>& tape = (*tapes)[thread_number()].tape;
            const int first = piece * size, count = std::min(size, images - first);
            const Shape shape{count, xt.size(1), xt.size(2), xt.size(3)};
            tape.reset();
            tape.bind(values.data());
            const Tensor<float> x = tape.arena().make<float>(shape);
            std::copy_n(xt[first].data(), x.numel(), x.data());
            const std::span<int> times = tape.arena().make<int>({count}).flat();
            std::fill(times.begin(), times.end(), t);
            const Tensor<float> y =
                model.unet(tape.constant(x), std::span<const int>(times)).value();
            float* to = x0[first].data();
            for (std::ptrdiff_t p = 0; p < y.numel(); ++p) {
                to[p] = static_cast<float>(x0_from(model.prediction, level,
                                                   static_cast<double>(x.data()[p]),
                                                   static_cast<double>(y.data()[p])));
            }
        });
    };
}

double seconds_per_picture(const DenoisingModel& model, const Denoiser<float>& denoiser, int n) {
    const int few = std::min(n, 32);
    Arena arena;
    const Tensor<float> x =
        arena.make<float>({few, model.height, model.width, model.unet.config().channels});
    const Tensor<float> x0 = arena.make<float>(x.shape());
    std::fill(x.begin(), x.end(), 0.0f);
    denoiser(x, 1, x0);
    const auto start = Clock::now();
    denoiser(x, 1, x0);
    return seconds_since(start) / few;
}

std::vector<int> even_times(int T, int steps) {
    require(steps >= 1 && steps <= T, "sampling: steps is ", steps, ", expected 1..", T);
    std::vector<int> times;
    for (int i = steps; i >= 0; --i)
        times.push_back(static_cast<int>((static_cast<std::int64_t>(T) * i + steps / 2) / steps));
    return times;
}

}  // namespace diffusion
