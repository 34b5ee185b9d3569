#include "07_latent_vae/autoencoder_file.hpp"

#include <cmath>

#include "04_unet/unet_file.hpp"
#include "io/json.hpp"
#include "tensor/check.hpp"

namespace diffusion {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr WholeRange kWidths = {1, AutoencoderConfig::kWidest};
constexpr WholeRange kSides = {1, 16'384};  ///< of pictures
constexpr const char *kDown = "DownEncoderBlock2D", *kUp = "UpDecoderBlock2D";

/// The only kind of block, once for each level.
void check_blocks(const Config& file, const std::string& key, std::size_t levels,
                  const std::string& kind) {
    const std::vector<std::string> types =
        file.has(key) ? file.texts(key) : std::vector<std::string>{kind};
    if (types != std::vector<std::string>(levels, kind))
        file.refuse(key, std::to_string(levels) + " times " + kind +
                             ", as many as block_out_channels has levels");
}

/// A side of the pictures that it learned; what the file does not tell is the class's default.
void read_sizes(const Config& file, int& height, int& width) {
    height = width = 32;
    if (file.is_list("sample_size")) {
        const std::vector<int> sizes = file.numbers("sample_size", kSides);
        if (sizes.size() != 2) file.refuse("sample_size", "one size or two");
        height = sizes[0];
        width = sizes[1];
    } else if (file.has("sample_size")) {
        height = width = file.number("sample_size", kSides);
    }
}

}  // namespace

AutoencoderSettings read_autoencoder_settings(const Config& file) {
    const std::string name = file.class_name();
    require(name == kAutoencoderKL, file.path().string(), ": the settings of a ", in_quotes(name),
            ", expected an ", kAutoencoderKL);
    AutoencoderSettings settings;
    AutoencoderConfig& config = settings.config;
    config.in_channels = file.number("in_channels", kWidths, 3);
    config.out_channels = file.number("out_channels", kWidths, 3);
    config.latent_channels = file.number("latent_channels", kWidths, 4);
    config.channels = file.has("block_out_channels") ? file.numbers("block_out_channels", kWidths)
                                                     : std::vector<int>{64};
    if (config.channels.empty() || config.levels() > AutoencoderConfig::kMostLevels)
        file.refuse("block_out_channels",
                    "1 to " + std::to_string(AutoencoderConfig::kMostLevels) + " levels");
    config.blocks = file.number("layers_per_block", {1, 100}, 1);
    config.groups = file.number("norm_num_groups", kWidths, 32);
    config.middle_attention = file.flag("mid_block_add_attention", true);
    config.quant = file.flag("use_quant_conv", true);
    config.post_quant = file.flag("use_post_quant_conv", true);
    settings.scale.factor = file.real("scaling_factor", LatentScale().factor);
    if (!(settings.scale.factor > 0 && std::isfinite(settings.scale.factor)))
        file.refuse("scaling_factor", "a number above 0");
    settings.scale.shift = file.has("shift_factor") ? file.real("shift_factor", 0) : 0;
    check_blocks(file, "down_block_types", config.channels.size(), kDown);
    check_blocks(file, "up_block_types", config.channels.size(), kUp);
    file.only("act_fn", {"silu", "swish"});
    file.only("latents_mean", {nullptr});
    file.only("latents_std", {nullptr});
    file.pass_over({"sample_size", "force_upcast", "shift_factor"});
    file.done();
    file.check(config);
    return settings;
}

json autoencoder_json(const AutoencoderSettings& settings) {
    const AutoencoderConfig& config = settings.config;
    require(config.eps == AutoencoderConfig().eps, "autoencoder: the class ", kAutoencoderKL,
            " has no setting for eps");
    const std::size_t levels = config.channels.size();
    return {{"_class_name", kAutoencoderKL},
            {"in_channels", config.in_channels},
            {"out_channels", config.out_channels},
            {"latent_channels", config.latent_channels},
            {"block_out_channels", config.channels},
            {"layers_per_block", config.blocks},
            {"down_block_types", std::vector<std::string>(levels, kDown)},
            {"up_block_types", std::vector<std::string>(levels, kUp)},
            {"mid_block_add_attention", config.middle_attention},
            {"norm_num_groups", config.groups},
            {"act_fn", "silu"},
            {"use_quant_conv", config.quant},
            {"use_post_quant_conv", config.post_quant},
            {"scaling_factor", settings.scale.factor},
            {"shift_factor", settings.scale.shift == 0 ? json() : json(settings.scale.shift)}};
}

AutoencoderModel::AutoencoderModel(const AutoencoderSettings& settings, int height_, int width_,
                                   std::string data_)
    : autoencoder(parameters, "", settings.config),
      scale(settings.scale),
      height(height_),
      width(width_),
      data(std::move(data_)) {}

void AutoencoderModel::save(const fs::path& folder, std::span<const float> values) const {
    json config = autoencoder_json({autoencoder.config(), scale});
    config["sample_size"] = height == width ? json(height) : json({height, width});
    fs::create_directories(folder);
    write_safetensors(folder / (std::string(kWeightsName) + ".safetensors"),
                      {parameters.to_arrays<float>(values), {{"format", "pt"}, {"data", data}}});
    write_json(folder / kConfigFile, config);
}

fs::path autoencoder_folder(const fs::path& folder) {
    if (fs::exists(folder / kConfigFile)) return folder;
    for (const char* part : {"vae", kAutoencoderPart}) {
        if (fs::exists(folder / part / kConfigFile)) return folder / part;
    }
    fail(folder.string(), ": holds no autoencoder: there is neither ", kConfigFile,
         " nor a folder vae or vqvae with one; 07_latent_vae train makes one");
}

LoadedAutoencoder load_autoencoder(const fs::path& folder) {
    const fs::path own = autoencoder_folder(folder);
    const Config file(own / kConfigFile);
    const AutoencoderSettings settings = read_autoencoder_settings(file);
    int height = 0, width = 0;
    read_sizes(file, height, width);
    const SafetensorsFile weights(find_weights(own, kWeightsName));
    const auto data = weights.metadata().find("data");
    AutoencoderModel model(settings, height, width,
                           data == weights.metadata().end() ? "" : data->second);
    Array<float> values = model.parameters.from_file<float>(weights, unet_loading());
    return {std::move(model), std::move(values)};
}

}  // namespace diffusion
