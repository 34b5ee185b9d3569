#include "04_unet/model.hpp"

#include <algorithm>
#include <array>
#include <sstream>
#include <utility>

#include "app/progress.hpp"

namespace diffusion {
namespace {

constexpr std::size_t kMostLevels = 14;  // of pictures of up to 9999 pixels to a side

}  // namespace

std::string joined(const std::vector<int>& numbers) {
    std::string text;
    for (int n : numbers) text += (text.empty() ? "" : ",") + std::to_string(n);
    return text;
}

Network network_of(const UNet& unet) {
    return {[&unet](Var<float> xt, std::span<const float> t, const Condition<float>& condition) {
                return unet(xt, t, condition);
            },
            network_on_gpu(unet)};
}

std::vector<std::string> model_predictions() {
    std::vector<std::string> names;
    for (const NamedPrediction& each : kPredictions) {
        if (each.kind != Prediction::score) names.emplace_back(each.name);
    }
    return names;
}

DenoisingModel::DenoisingModel(const UNetConfig& config, const std::string& schedule_name, int T,
                               const std::string& prediction_name, int height_, int width_,
                               std::string data_)
    : unet(parameters, "", config),
      schedule(make_schedule(schedule_name, T)),
      prediction(prediction_from_name(prediction_name)),
      height(height_),
      width(width_),
      data(std::move(data_)) {
    require(prediction != Prediction::score, "denoising model: predicts eps, x0 or v");
}

void DenoisingModel::save(const std::filesystem::path& path, std::span<const float> values) const {
    const UNetConfig& c = unet.config();
    const int base = c.channels_at(0);
    std::vector<int> multipliers;
    for (const int channels : c.channels) multipliers.push_back(channels / base);
    require(c == unet_config(c.in_channels, base, multipliers, c.heads[0]), path.string(),
            ": this file knows chapter 4's settings of the network, and no others");
    Safetensors file{parameters.to_arrays<float>(values), {}};
    file.metadata = {{"model", "unet"},
                     {"data", data},
                     {"channels", std::to_string(c.in_channels)},
                     {"base", std::to_string(base)},
                     {"multipliers", joined(multipliers)},
                     {"heads", std::to_string(c.heads[0])},
                     {"schedule", schedule.name},
                     {"T", std::to_string(schedule.steps())},
                     {"prediction", prediction_name(prediction)},
                     {"height", std::to_string(height)},
                     {"width", std::to_string(width)}};
    write_safetensors(path, file);
}

Denoiser<float> model_denoiser(const DenoisingModel& model, std::span<float> values) {
    return network_denoiser(model.network().on_cpu, model.prediction, values);
}

LoadedModel load_model(const std::filesystem::path& path) {
    const SafetensorsFile file(path);
    const Metadata metadata(file, "unet");
    std::vector<int> multipliers;
    std::istringstream list(metadata.entry("multipliers"));
    for (std::string part; std::getline(list, part, ',');)
        multipliers.push_back(metadata.to_number("multipliers", part));
    require(multipliers.size() <= kMostLevels, path.string(), ": multipliers are ",
            multipliers.size(), " levels, expected at most ", kMostLevels,
            ": no picture can be halved more often");
    const UNetConfig config = unet_config(metadata.number("channels"), metadata.number("base"),
                                          multipliers, metadata.number("heads"));
    const int T = metadata.number("T"), height = metadata.number("height"),
              width = metadata.number("width");
    const std::string &schedule = metadata.entry("schedule"),
                      &prediction = metadata.entry("prediction"), &data = metadata.entry("data");
    const auto described = [&] {
        try {
            return DenoisingModel(config, schedule, T, prediction, height, width, data);
        } catch (const Error& error) {  // what is wrong with a network, a schedule, a prediction
            fail(path.string(), ": ", error.what());
        }
    };
    LoadedModel loaded{described(), {}};
    loaded.values = loaded.model.parameters.from_file<float>(file);
    return loaded;
}

double seconds_per_picture(const DenoisingModel& model, const Denoiser<float>& denoiser, int n) {
    const int few = std::min(n, 32);
    const Array<float> x(model.shape(few));
    Array<float> x0(model.shape(few));
    const Moment at = model.path(std::array{1}).front();
    denoiser(x.tensor(), at, x0);
    const auto start = Clock::now();
    denoiser(x.tensor(), at, x0);
    return seconds_since(start) / few;
}

}  // namespace diffusion
