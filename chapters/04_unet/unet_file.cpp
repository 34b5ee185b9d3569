#include "04_unet/unet_file.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "io/json.hpp"
#include "tensor/check.hpp"

namespace diffusion {
namespace {

using nlohmann::json;

constexpr std::size_t kMostLevels = 14;  ///< larger pictures than can be read are halved as often
constexpr WholeRange kWidths = {1, 65'536};  ///< of a layer

const UNetClass& class_of_pictures() {
    static const UNetClass of = {kUNet2DModel,         "DownBlock2D",
                                 "AttnDownBlock2D",    "UpBlock2D",
                                 "AttnUpBlock2D",      3,
                                 {224, 448, 672, 896}, {false, true, true, true}};
    return of;
}

/// Of the class's blocks, one for each level.
std::vector<std::string> names_of(const std::vector<bool>& attention, const char* plain,
                                  const char* attending) {
    std::vector<std::string> names;
    for (const bool attends : attention) names.emplace_back(attends ? attending : plain);
    return names;
}

/// Which levels attend, by the names of the blocks, one for each level.
std::vector<bool> read_attention(const Config& file, const std::string& key,
                                 const std::vector<std::string>& otherwise, std::size_t levels,
                                 const std::string& plain, const std::string& attending) {
    const std::vector<std::string> types = file.has(key) ? file.texts(key) : otherwise;
    if (types.size() != levels)
        file.refuse(key, std::to_string(levels) + " blocks, as many as block_out_channels has");
    std::vector<bool> attends;
    for (const std::string& type : types) {
        if (type != plain && type != attending) file.refuse(key, plain + " or " + attending);
        attends.push_back(type == attending);
    }
    return attends;
}

/// attention_head_dim is the channels of a head here, or null: one head for all.
std::vector<int> read_heads(const Config& file, const UNetConfig& config) {
    if (file.is_null("attention_head_dim")) return {1};
    const int width = file.number("attention_head_dim", kWidths, 8);
    std::vector<int> heads;
    for (int i = 0; i < config.levels(); ++i) {
        if (config.attends_somewhere(i) && config.channels_at(i) % width != 0)
            file.refuse("attention_head_dim", "a divisor of " +
                                                  std::to_string(config.channels_at(i)) +
                                                  ", the channels of level " + std::to_string(i));
        heads.push_back(std::max(1, config.channels_at(i) / width));
    }
    return heads;
}

/// Settings of both classes that this UNet does not have.
void refuse_others(const Config& file, const UNetConfig& config) {
    file.only("center_input_sample", {false});
    file.only("time_embedding_type", {"positional"});
    file.only("time_embedding_dim", {nullptr, 4 * config.channels_at(0)});
    file.only("mid_block_scale_factor", {1});
    file.only("act_fn", {"silu", "swish"});
    file.only("resnet_time_scale_shift", {"default"});
    file.only("class_embed_type", {nullptr});
    file.pass_over({"dropout", "sample_size"});
}

/// 1, not 1.0, as the library writes it.
json whole_if_it_is(double x) {
    return x == std::floor(x) ? json(static_cast<int>(x)) : json(x);
}

}  // namespace

UNetConfig read_common_settings(const Config& file, const UNetClass& of) {
    const std::string name = file.class_name();
    require(name == of.name, file.path().string(), ": the settings of a ", in_quotes(name),
            ", expected a ", of.name);
    UNetConfig config;
    config.in_channels = file.number("in_channels", kWidths, of.picture_channels);
    config.out_channels = file.number("out_channels", kWidths, of.picture_channels);
    config.channels =
        file.has("block_out_channels") ? file.numbers("block_out_channels", kWidths) : of.channels;
    if (config.channels.size() > kMostLevels)
        file.refuse("block_out_channels", std::to_string(kMostLevels) + " levels or fewer");
    config.blocks = file.number("layers_per_block", {1, 100}, 2);
    config.groups = file.number("norm_num_groups", kWidths, 32);
    config.eps = file.real("norm_eps", 1e-5);
    config.padding =
        file.number("downsample_padding", {0, 1}, 1) == 0 ? Padding::after : Padding::around;
    config.time.cosine_first = file.flag("flip_sin_to_cos", true);
    config.time.shift = file.real("freq_shift", 0);
    config.classes =
        file.has("num_class_embeds") ? file.number("num_class_embeds", {1, 1'000'000}) : 0;
    const std::size_t levels = config.channels.size();
    std::vector<bool> attention = of.attention;
    config.attention =
        read_attention(file, "down_block_types", names_of(attention, of.down, of.attending_down),
                       levels, of.down, of.attending_down);
    std::reverse(attention.begin(), attention.end());  // from the coarsest level on
    config.up_attention =
        read_attention(file, "up_block_types", names_of(attention, of.up, of.attending_up), levels,
                       of.up, of.attending_up);
    std::reverse(config.up_attention.begin(), config.up_attention.end());
    refuse_others(file, config);
    return config;
}

json common_settings_json(const UNetConfig& config, const UNetClass& of) {
    require(config.pooled_width == 0 && config.time.period == 10000, "unet: the class ", of.name,
            " has no setting for a pooled vector or other clocks");
    std::vector<bool> down, up;
    for (int i = 0; i < config.levels(); ++i) {
        down.push_back(config.attends(i));
        up.push_back(config.attends_on_way_up(i));
    }
    std::reverse(up.begin(), up.end());
    return {{"_class_name", of.name},
            {"in_channels", config.in_channels},
            {"out_channels", config.out_channels},
            {"block_out_channels", config.channels},
            {"layers_per_block", config.blocks},
            {"down_block_types", names_of(down, of.down, of.attending_down)},
            {"up_block_types", names_of(up, of.up, of.attending_up)},
            {"norm_num_groups", config.groups},
            {"norm_eps", config.eps},
            {"act_fn", "silu"},
            {"downsample_padding", config.padding == Padding::after ? 0 : 1},
            {"flip_sin_to_cos", config.time.cosine_first},
            {"freq_shift", whole_if_it_is(config.time.shift)},
            {"num_class_embeds", config.classes > 0 ? json(config.classes) : json()}};
}

UNetConfig read_unet_config(const Config& file) {
    UNetConfig config = read_common_settings(file, class_of_pictures());
    config.middle_attention = file.flag("add_attention", true);
    config.heads = read_heads(file, config);
    file.only("mid_block_type", {"UNetMidBlock2D"});
    file.only("downsample_type", {"conv"});
    file.only("upsample_type", {"conv"});
    file.only("attn_norm_num_groups", {nullptr, config.groups});
    file.pass_over({"num_train_timesteps"});
    file.done();
    file.check(config);
    return config;
}

json unet_config_json(const UNetConfig& config) {
    require(config.cross_width == 0, "unet: the class ", kUNet2DModel,
            " has no setting for a text");
    json head_width;  // null: one head
    for (int i = 0; i < config.levels(); ++i) {
        if (!config.attends_somewhere(i) || config.heads == std::vector<int>{1}) continue;
        const int width = config.channels_at(i) / config.heads_at(i);
        require(head_width.is_null() || head_width == width, "unet: the class ", kUNet2DModel,
                " has heads of one width, not of ", head_width.dump(), " and ", width, " channels");
        head_width = width;
    }
    json file = common_settings_json(config, class_of_pictures());
    file["add_attention"] = config.middle_attention;
    file["attention_head_dim"] = head_width;
    return file;
}

bool takes_size(const UNetConfig& config, int height, int width) {
    const int factor = 1 << (config.levels() - 1);
    return height % factor == 0 && width % factor == 0;
}

Loading unet_loading() {
    static constexpr std::array<std::pair<const char*, const char*>, 4> kOlder = {
        {{".query.", ".to_q."},
         {".key.", ".to_k."},
         {".value.", ".to_v."},
         {".proj_attn.", ".to_out.0."}}};
    return {.rename = [](const std::string& name) {
        for (const auto& [older, now] : kOlder) {
            const std::size_t at = name.find(older);
            if (at != std::string::npos && name.find(".attentions.") < at)
                return name.substr(0, at) + now + name.substr(at + std::string(older).size());
        }
        return name;
    }};
}

}  // namespace diffusion
