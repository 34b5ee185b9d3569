#include "04_unet/model.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <sstream>
#include <utility>

#include "04_unet/scheduler_file.hpp"
#include "04_unet/unet_file.hpp"
#include "app/progress.hpp"
#include "io/json.hpp"

namespace diffusion {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char *kModelIndex = "model_index.json", *kSchedulerConfig = "scheduler_config.json";
constexpr WholeRange kSides = {1, 16'384};  ///< of pictures
/// What an earlier version of this book wrote in place of a folder.
constexpr const char *kOlderModel = "model.safetensors",
                     *kOlder =
                         ": a model of an earlier version of this book, whose network was "
                         "told other times; train it again with 04_unet train";

}  // namespace

std::string joined(const std::vector<int>& numbers) {
    std::string text;
    for (int n : numbers) text += (text.empty() ? "" : ",") + std::to_string(n);
    return text;
}

std::vector<int> parted(const std::string& text) {
    std::vector<int> numbers;
    std::istringstream list(text);
    for (std::string part; std::getline(list, part, ',');) {
        const char* end = part.data() + part.size();
        const auto [rest, error] = std::from_chars(part.data(), end, numbers.emplace_back());
        if (error != std::errc() || rest != end) return {};
    }
    return numbers;
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

DenoisingModel::DenoisingModel(const UNetConfig& config, Schedule schedule_, Prediction prediction_,
                               int height_, int width_, std::string data_)
    : unet(parameters, "", config),
      schedule(std::move(schedule_)),
      prediction(prediction_),
      height(height_),
      width(width_),
      data(std::move(data_)) {
    require(prediction != Prediction::score, "denoising model: predicts eps, x0 or v");
}

void DenoisingModel::save(const fs::path& folder, std::span<const float> values,
                          const Pipeline& also) const {
    json config = unet_config_json(unet.config());
    config["sample_size"] = height == width ? json(height) : json({height, width});
    json index = {{"_class_name", also.name},
                  {"scheduler", {"diffusers", "DDPMScheduler"}},
                  {"unet", {"diffusers", kUNet2DModel}}};
    for (const auto& [part, name] : also.parts) index[part] = {"diffusers", name};
    std::map<std::string, std::string> metadata = {{"format", "pt"}, {"data", data}};
    metadata.insert(also.metadata.begin(), also.metadata.end());
    fs::create_directories(folder / "unet");
    fs::create_directories(folder / "scheduler");
    write_safetensors(folder / "unet" / (std::string(kWeightsName) + ".safetensors"),
                      {parameters.to_arrays<float>(values), metadata});
    write_json(folder / "scheduler" / kSchedulerConfig,
               scheduler_config_json(schedule, prediction));
    write_json(folder / "unet" / kConfigFile, config);
    write_json(folder / kModelIndex, index);  // last: where it is, all the others are
}

Denoiser<float> model_denoiser(const DenoisingModel& model, std::span<float> values) {
    return network_denoiser(model.network().on_cpu, model.prediction, values);
}

namespace {

/// The folders of a model's parts.
struct Parts {
    fs::path unet, scheduler;
};

/// A pipeline names its parts, which lie in folders of their names or, in old ones, beside it; a
/// UNet's folder may be one of these or stand alone.
Parts find_parts(const fs::path& folder, bool latents) {
    const fs::path index = folder / kModelIndex;
    if (!fs::exists(index)) {
        require(fs::exists(folder / kConfigFile), folder.string(),
                ": holds no model: there is neither ", kModelIndex, " nor ", kConfigFile,
                fs::exists(folder / kOlderModel) ? "; its " + std::string(kOlderModel) + kOlder
                                                 : "; 04_unet train makes one");
        const bool part = fs::exists(folder.parent_path() / kModelIndex);
        return {folder, part ? folder.parent_path() / "scheduler" : folder};
    }
    const json content = read_json(index);
    const std::string file = index.string();
    require(content.is_object() && content.contains("unet"), file, ": names no unet");
    require(latents || !(content.contains("vae") || content.contains("vqvae")), file,
            ": draws latents, which need their autoencoder; 07_latent_vae sample draws with it");
    const json& unet = content["unet"];
    require(unet == json({"diffusers", kUNet2DModel}), file, ": its unet is ",
            unet.is_array() && unet.size() == 2 && unet[1].is_string()
                ? "a " + in_quotes(unet[1].get<std::string>())
                : "not told",
            ", expected a ", kUNet2DModel, " of diffusers");
    const auto part = [&](const char* name) {
        return fs::is_directory(folder / name) ? folder / name : folder;
    };
    return {part("unet"), part("scheduler")};
}

/// The folder that a path to a model means.
fs::path folder_of(const fs::path& path) {
    if (fs::is_directory(path)) return path;
    require(fs::exists(path), path.string(), ": cannot read: no such file or folder");
    const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
    if (path.extension() == ".json" || fs::exists(folder / kConfigFile)) return folder;
    const SafetensorsFile file(path);
    require(!file.metadata().contains("model"), path.string(), kOlder);
    require(!file.metadata().contains("steps"), path.string(),
            ": the state of a training; name its folder, ", folder.string());
    fail(path.string(), ": weights without their settings; name a folder that has them, and ",
         kConfigFile);
}

/// [height, width] of its pictures.
std::array<int, 2> read_size(const Config& config) {
    if (!config.has("sample_size"))
        config.refuse("sample_size", "the height and width of its pictures");
    if (config.is_list("sample_size")) {
        const std::vector<int> size = config.numbers("sample_size", kSides);
        if (size.size() != 2) config.refuse("sample_size", "one number or two");
        return {size[0], size[1]};
    }
    const int side = config.number("sample_size", kSides);
    return {side, side};
}

Noising find_noising(const Parts& parts, std::string& note) {
    const fs::path path = parts.scheduler / kSchedulerConfig;
    if (fs::exists(path)) return read_noising(Config(path));
    note =
        path.string() + " is not there; taken as trained with the linear schedule to predict eps";
    return {linear_schedule(1000), Prediction::eps};
}

}  // namespace

bool holds_model(const fs::path& folder) {
    return fs::exists(folder / kModelIndex) || fs::exists(folder / kConfigFile) ||
           fs::exists(folder / kOlderModel);
}

LoadedModel load_model(const fs::path& path, bool latents) {
    const Parts parts = find_parts(folder_of(path), latents);
    const Config config(parts.unet / kConfigFile);
    const UNetConfig unet = read_unet_config(config);
    require(unet.in_channels == unet.out_channels && unet.classes == 0, config.path().string(),
            ": a network with ", unet.in_channels, " channels in, ", unet.out_channels, " out and ",
            unet.classes, " classes; drawing takes as many in as out, and no classes");
    const auto [height, width] = read_size(config);
    std::string note;
    Noising noising = find_noising(parts, note);
    const SafetensorsFile file(find_weights(parts.unet, kWeightsName));
    const auto data = file.metadata().find("data");
    LoadedModel loaded{DenoisingModel(unet, std::move(noising.schedule), noising.prediction, height,
                                      width, data == file.metadata().end() ? "" : data->second),
                       {},
                       noising.variance,
                       noising.clip,
                       note,
                       file.metadata()};
    loaded.values = loaded.model.parameters.from_file<float>(file, unet_loading());
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
