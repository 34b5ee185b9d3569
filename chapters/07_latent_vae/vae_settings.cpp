#include "07_latent_vae/vae_settings.hpp"

#include <algorithm>
#include <charconv>
#include <map>

#include "04_unet/denoising.hpp"
#include "04_unet/model.hpp"
#include "04_unet/train_settings.hpp"
#include "io/csv.hpp"

namespace diffusion {
namespace {

/// How much work a preset is, in pictures.
struct Preset {
    std::vector<int> channels;
    int batch;
    std::int64_t images;
};
const std::map<std::string, Preset> kPresets = {{"smoke", {{8, 8, 16, 16}, 8, 64}},
                                                {"quick", {{16, 32, 64, 64}, 16, 4'000}},
                                                {"standard", {{16, 32, 64, 64}, 16, 120'000}},
                                                {"long", {{16, 32, 64, 64}, 16, 640'000}}};
constexpr double kWeight = 1e-2;

}  // namespace

void take(VaeSettings& settings, const SavedState& saved, bool all) {
    if (settings.learning_rate == 0) settings.learning_rate = saved.learning_rate;
    if (!all) return;
    const auto entry = [&](const char* name) {
        const auto found = saved.metadata.find(name);
        return found == saved.metadata.end() ? std::string() : found->second;
    };
    const auto number = [&](const char* name) {
        const std::vector<int> parts = parted(entry(name));
        return parts.size() == 1 ? parts[0] : 0;
    };
    if (settings.batch == 0) settings.batch = number("batch");
    if (settings.images == 0 && settings.batch > 0 && saved.steps <= kMostSteps / settings.batch)
        settings.images = saved.steps * settings.batch;
    if (settings.channels.empty()) settings.channels = parted(entry("channels"));
    if (settings.latent_channels == 0) settings.latent_channels = number("latent channels");
    const auto fraction = [&](const char* name, double& setting) {
        const std::string text = entry(name);
        if (setting < 0) std::from_chars(text.data(), text.data() + text.size(), setting);
    };
    fraction("kl weight", settings.weight);
    fraction("absolute", settings.absolute);
}

void take(VaeSettings& settings, const std::string& preset) {
    const Preset& of = kPresets.at(preset);
    if (settings.channels.empty()) {
        settings.channels = of.channels;
        if (!is_composed(settings.dataset)) settings.channels.pop_back();  // smaller: 28 x 28
    }
    const bool detailed = is_composed(settings.dataset) && settings.dataset != "scenes";
    if (settings.latent_channels == 0) settings.latent_channels = detailed ? 16 : 4;
    if (settings.weight < 0) settings.weight = kWeight;
    if (settings.absolute < 0) settings.absolute = 0;
    if (settings.batch == 0) settings.batch = of.batch;
    if (settings.images == 0) settings.images = of.images;
    if (settings.learning_rate == 0) settings.learning_rate = kLearningRate;
}

AutoencoderSettings autoencoder_of(const VaeSettings& settings, const Pictures& pictures) {
    AutoencoderSettings result;
    AutoencoderConfig& config = result.config;
    config.in_channels = config.out_channels = pictures.channels;
    config.latent_channels = settings.latent_channels;
    config.channels = settings.channels;
    result.scale = {1, 0};
    config.check();
    const int factor = config.factor();
    require(pictures.height % factor == 0 && pictures.width % factor == 0, pictures.source,
            ": pictures of ", pictures.height, " x ", pictures.width, " are not halved evenly ",
            config.levels() - 1, " times; give --channels fewer levels");
    return result;
}

TrainOptions options_of(const VaeSettings& settings, const Pictures& pictures, std::uint64_t seed) {
    const std::int64_t steps = std::max<std::int64_t>(1, settings.images / settings.batch);
    TrainOptions options{
        .batch = settings.batch,
        .lane = pictures_at_a_time(pictures.height * pictures.width, default_lane(settings.batch)),
        .steps = steps,
        .learning_rate = settings.learning_rate,
        .warmup = std::min<std::int64_t>(100, steps / 5),
        .muon = settings.optimizer == "muon",
        .seed = seed,
        .task = {{"channels", joined(settings.channels)},
                 {"latent channels", std::to_string(settings.latent_channels)},
                 {"kl weight", shortest(settings.weight)},
                 {"absolute", shortest(settings.absolute)}}};
    options.task.insert(pictures.identity.begin(), pictures.identity.end());
    return options;
}

}  // namespace diffusion
