#include "07_latent_vae/tiny_file.hpp"

#include <algorithm>

#include "04_unet/unet_file.hpp"
#include "io/json.hpp"
#include "tensor/check.hpp"

namespace diffusion {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr WholeRange kWidths = {1, 65'536}, kBlocks = {0, 100};
constexpr int kMostLevels = 14;

/// The width of all levels, which must be one.
int read_width(const Config& file, const std::string& key, std::size_t levels) {
    const std::vector<int> widths =
        file.has(key) ? file.numbers(key, kWidths) : std::vector<int>(4, TinyConfig().width);
    if (widths.size() != levels || std::ranges::count(widths, widths.front()) != std::ssize(widths))
        file.refuse(key, "one width, " + std::to_string(levels) + " times");
    return widths.front();
}

std::vector<int> read_blocks(const Config& file, const std::string& key,
                             const std::vector<int>& otherwise) {
    const std::vector<int> blocks = file.has(key) ? file.numbers(key, kBlocks) : otherwise;
    if (blocks.empty() || std::ssize(blocks) > kMostLevels)
        file.refuse(key, "1 to " + std::to_string(kMostLevels) + " levels");
    return blocks;
}

}  // namespace

TinyConfig read_tiny_config(const Config& file) {
    const std::string name = file.class_name();
    require(name == kAutoencoderTiny, file.path().string(), ": the settings of a ", in_quotes(name),
            ", expected an ", kAutoencoderTiny);
    TinyConfig config;
    config.in_channels = file.number("in_channels", kWidths, 3);
    config.out_channels = file.number("out_channels", kWidths, 3);
    config.latent_channels = file.number("latent_channels", kWidths, 4);
    config.encoder_blocks = read_blocks(file, "num_encoder_blocks", config.encoder_blocks);
    config.decoder_blocks = read_blocks(file, "num_decoder_blocks", config.decoder_blocks);
    config.width = read_width(file, "encoder_block_out_channels", config.encoder_blocks.size());
    const int other = read_width(file, "decoder_block_out_channels", config.decoder_blocks.size());
    if (other != config.width)
        file.refuse("decoder_block_out_channels",
                    std::to_string(config.width) + ", as in the encoder");
    config.pool = file.flag("pool", false);
    file.only("act_fn", {"relu"});
    file.only("upsample_fn", {"nearest"});
    file.only("upsampling_scaling_factor", {2});
    file.only("scaling_factor", {1});
    file.only("shift_factor", {0});
    file.pass_over({"latent_magnitude", "latent_shift", "force_upcast", "block_out_channels"});
    file.done();
    file.check(config);
    return config;
}

json tiny_json(const TinyConfig& config) {
    json file = {{"_class_name", kAutoencoderTiny},
                 {"in_channels", config.in_channels},
                 {"out_channels", config.out_channels},
                 {"latent_channels", config.latent_channels},
                 {"encoder_block_out_channels",
                  std::vector<int>(config.encoder_blocks.size(), config.width)},
                 {"decoder_block_out_channels",
                  std::vector<int>(config.decoder_blocks.size(), config.width)},
                 {"num_encoder_blocks", config.encoder_blocks},
                 {"num_decoder_blocks", config.decoder_blocks},
                 {"act_fn", "relu"}};
    if (config.pool) file["pool"] = true;
    return file;
}

void TinyModel::save(const fs::path& folder, std::span<const float> values) const {
    fs::create_directories(folder);
    write_safetensors(folder / (std::string(kWeightsName) + ".safetensors"),
                      {parameters.to_arrays<float>(values), {{"format", "pt"}}});
    write_json(folder / kConfigFile, tiny_json(autoencoder.config()));
}

LoadedTiny load_tiny(const fs::path& folder) {
    TinyModel model(read_tiny_config(Config(folder / kConfigFile)));
    Array<float> values =
        model.parameters.from_file<float>(SafetensorsFile(find_weights(folder, kWeightsName)));
    return {std::move(model), std::move(values)};
}

}  // namespace diffusion
