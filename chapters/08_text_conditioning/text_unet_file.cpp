#include "08_text_conditioning/text_unet_file.hpp"

#include <algorithm>

#include "04_unet/unet_file.hpp"
#include "tensor/check.hpp"

namespace diffusion {
namespace {

using nlohmann::json;

constexpr WholeRange kWidths = {1, 65'536}, kDepths = {1, 100};

const UNetClass& class_of_texts() {
    static const UNetClass of = {kUNet2DConditionModel,  "DownBlock2D",
                                 "CrossAttnDownBlock2D", "UpBlock2D",
                                 "CrossAttnUpBlock2D",   4,
                                 {320, 640, 1280, 1280}, {true, true, true, false}};
    return of;
}

/// One number, or one for each level.
std::vector<int> read_for_levels(const Config& file, const std::string& key, WholeRange range,
                                 int otherwise, std::size_t levels) {
    if (!file.is_list(key)) return {file.number(key, range, otherwise)};
    const std::vector<int> all = file.numbers(key, range);
    if (all.size() != levels)
        file.refuse(key,
                    std::to_string(levels) + " numbers, as many as block_out_channels has, or one");
    return all;
}

/// The only number that a setting has.
int one_of(const Config& file, const std::string& key, const std::vector<int>& all) {
    if (std::ranges::count(all, all.front()) != std::ssize(all))
        file.refuse(key, "the same number at all levels");
    return all.front();
}

}  // namespace

UNetConfig read_text_unet_config(const Config& file) {
    UNetConfig config = read_common_settings(file, class_of_texts());
    const std::size_t levels = config.channels.size();
    // What is called channels of a head is the number of heads in this class.
    config.heads = read_for_levels(file, "attention_head_dim", kWidths, 8, levels);
    const auto same_at_all_levels = [&](const std::string& key, WholeRange range, int otherwise) {
        return one_of(file, key, read_for_levels(file, key, range, otherwise, levels));
    };
    config.cross_width = same_at_all_levels("cross_attention_dim", kWidths, 1280);
    config.depth = same_at_all_levels("transformer_layers_per_block", kDepths, 1);
    config.linear_projection = file.flag("use_linear_projection", false);
    file.only("mid_block_type", {"UNetMidBlock2DCrossAttn"});
    for (const char* key : {"only_cross_attention", "dual_cross_attention", "resnet_skip_time_act",
                            "class_embeddings_concat"})
        file.only(key, {false});
    for (const char* key :
         {"num_attention_heads", "reverse_transformer_layers_per_block", "encoder_hid_dim",
          "encoder_hid_dim_type", "addition_embed_type", "time_embedding_act_fn",
          "timestep_post_act", "time_cond_proj_dim", "cross_attention_norm",
          "projection_class_embeddings_input_dim", "addition_time_embed_dim"})
        file.only(key, {nullptr});
    file.only("mid_block_only_cross_attention", {nullptr, false});
    file.only("resnet_out_scale_factor", {1});
    file.only("conv_in_kernel", {3});
    file.only("conv_out_kernel", {3});
    file.only("attention_type", {"default"});
    file.pass_over({"upcast_attention", "addition_embed_type_num_heads"});
    file.done();
    file.check(config);
    return config;
}

json text_unet_config_json(const UNetConfig& config) {
    require(config.cross_width > 0 && config.middle_attention, "unet: the class ",
            kUNet2DConditionModel, " always reads a text, and attends in the middle");
    json file = common_settings_json(config, class_of_texts());
    file["attention_head_dim"] =
        config.heads.size() == 1 ? json(config.heads.front()) : json(config.heads);
    file["cross_attention_dim"] = config.cross_width;
    file["transformer_layers_per_block"] = config.depth;
    file["use_linear_projection"] = config.linear_projection;
    return file;
}

}  // namespace diffusion
