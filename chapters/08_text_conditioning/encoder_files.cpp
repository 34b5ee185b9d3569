#include "08_text_conditioning/encoder_files.hpp"

#include <array>

#include "io/json.hpp"
#include "io/safetensors.hpp"
#include "tensor/check.hpp"

namespace diffusion {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr WholeRange kWidths = {1, 65'536}, kCounts = {1, 1'000}, kIds = {0, 10'000'000},
                     kSides = {1, 16'384};
constexpr int kOldEnd = 2;  ///< an eos_token_id that was written and never meant

/// What the library writes into every config.json and what changes nothing here.
void pass_over_general(const Config& file) {
    file.pass_over({"architectures", "model_type", "transformers_version", "dtype", "torch_dtype",
                    "initializer_factor", "initializer_range", "attention_dropout", "dropout",
                    "bos_token_id", "pad_token_id", "return_dict", "output_hidden_states",
                    "output_attentions", "use_cache", "id2label", "label2id", "problem_type",
                    "chunk_size_feed_forward"});
}

void require_class(const Config& file, const char* expected) {
    const std::string name = file.class_name();
    require(name == expected, file.path().string(), ": the settings of a ", in_quotes(name),
            ", expected a ", expected);
}

constexpr std::array<std::pair<const char*, Gelu>, 3> kGelus = {
    {{"quick_gelu", Gelu::quick}, {"gelu", Gelu::erf}, {"gelu_new", Gelu::tanh}}};

Gelu read_gelu(const Config& file) {
    const std::string name = file.text("hidden_act", "quick_gelu");
    for (const auto& [known, kind] : kGelus)
        if (name == known) return kind;
    file.refuse("hidden_act", "quick_gelu, gelu or gelu_new");
}
const char* name_of(Gelu kind) {
    for (const auto& [name, known] : kGelus)
        if (kind == known) return name;
    return "";
}

ClipTransformerConfig read_transformer(const Config& file, int width, int inner, int heads) {
    ClipTransformerConfig config;
    config.width = file.number("hidden_size", kWidths, width);
    config.inner = file.number("intermediate_size", kWidths, inner);
    config.layers = file.number("num_hidden_layers", kCounts, 12);
    config.heads = file.number("num_attention_heads", kCounts, heads);
    config.gelu = read_gelu(file);
    config.eps = file.real("layer_norm_eps", 1e-5);
    pass_over_general(file);
    return config;
}
json transformer_json(const ClipTransformerConfig& config) {
    return {{"hidden_size", config.width},        {"intermediate_size", config.inner},
            {"num_hidden_layers", config.layers}, {"num_attention_heads", config.heads},
            {"hidden_act", name_of(config.gelu)}, {"layer_norm_eps", config.eps}};
}

ClipTextConfig read_text(const Config& file) {
    ClipTextConfig config;
    config.transformer = read_transformer(file, 512, 2048, 8);
    config.vocabulary = file.number("vocab_size", kIds, 49'408);
    config.length = file.number("max_position_embeddings", kWidths, 77);
    const int end = file.number("eos_token_id", kIds, 49'407);
    config.end = end == kOldEnd ? -1 : end;
    file.pass_over({"projection_dim"});
    file.done();
    file.check(config);
    return config;
}
json text_json(const ClipTextConfig& config) {
    json file = transformer_json(config.transformer);
    file["model_type"] = "clip_text_model";
    file["vocab_size"] = config.vocabulary;
    file["max_position_embeddings"] = config.length;
    file["eos_token_id"] = config.end < 0 ? kOldEnd : config.end;
    return file;
}

ClipVisionConfig read_vision(const Config& file) {
    ClipVisionConfig config;
    config.transformer = read_transformer(file, 768, 3072, 12);
    config.size = file.number("image_size", kSides, 224);
    config.patch = file.number("patch_size", kSides, 32);
    config.channels = file.number("num_channels", kWidths, 3);
    file.pass_over({"projection_dim"});
    file.done();
    file.check(config);
    return config;
}
json vision_json(const ClipVisionConfig& config) {
    json file = transformer_json(config.transformer);
    file["model_type"] = "clip_vision_model";
    file["image_size"] = config.size;
    file["patch_size"] = config.patch;
    file["num_channels"] = config.channels;
    return file;
}

SafetensorsFile weights_of(const fs::path& folder) {
    return SafetensorsFile(find_weights(folder, kTransformersWeights));
}

}  // namespace

ClipTextConfig read_clip_text_config(const Config& file) {
    require_class(file, kClipTextModel);
    return read_text(file);
}

ClipSettings read_clip_config(const Config& file) {
    require_class(file, kClipModel);
    ClipSettings settings;
    settings.text = read_text(file.part("text_config"));
    settings.vision = read_vision(file.part("vision_config"));
    settings.width = file.number("projection_dim", kWidths, 512);
    file.pass_over({"logit_scale_init_value"});
    pass_over_general(file);
    file.done();
    return settings;
}

T5Config read_t5_config(const Config& file) {
    require_class(file, kT5EncoderModel);
    T5Config config;
    config.vocabulary = file.number("vocab_size", kIds, 32'128);
    config.width = file.number("d_model", kWidths, 512);
    config.head_width = file.number("d_kv", kWidths, 64);
    config.heads = file.number("num_heads", kCounts, 8);
    config.inner = file.number("d_ff", kWidths, 2048);
    config.layers = file.number("num_layers", kCounts, 6);
    config.buckets = file.number("relative_attention_num_buckets", kWidths, 32);
    config.farthest = file.number("relative_attention_max_distance", kIds, 128);
    config.eps = file.real("layer_norm_epsilon", 1e-6);
    const std::string feed = file.text("feed_forward_proj", "relu");
    if (feed != "relu" && feed != "gated-gelu")
        file.refuse("feed_forward_proj", "relu or gated-gelu");
    config.gated = feed == "gated-gelu";
    file.only("is_gated_act", {config.gated});
    file.only("dense_act_fn", {config.gated ? "gelu_new" : "relu"});
    file.only("is_decoder", {false});
    file.pass_over({"num_decoder_layers", "is_encoder_decoder", "scale_decoder_outputs",
                    "tie_word_embeddings", "classifier_dropout", "dropout_rate", "eos_token_id",
                    "decoder_start_token_id", "n_positions", "task_specific_params"});
    pass_over_general(file);
    file.done();
    file.check(config);
    return config;
}

json clip_text_json(const ClipTextConfig& config) {
    json file = text_json(config);
    file["architectures"] = {kClipTextModel};
    return file;
}

json clip_json(const ClipSettings& settings) {
    return {{"architectures", {kClipModel}},
            {"model_type", "clip"},
            {"projection_dim", settings.width},
            {"text_config", text_json(settings.text)},
            {"vision_config", vision_json(settings.vision)}};
}

json t5_json(const T5Config& config) {
    return {{"architectures", {kT5EncoderModel}},
            {"model_type", "t5"},
            {"vocab_size", config.vocabulary},
            {"d_model", config.width},
            {"d_kv", config.head_width},
            {"num_heads", config.heads},
            {"d_ff", config.inner},
            {"num_layers", config.layers},
            {"relative_attention_num_buckets", config.buckets},
            {"relative_attention_max_distance", config.farthest},
            {"layer_norm_epsilon", config.eps},
            {"feed_forward_proj", config.gated ? "gated-gelu" : "relu"}};
}

Array<float> load_clip_text(const ParameterList& list, const fs::path& folder) {
    return list.from_file<float>(weights_of(folder), {.rename = [](const std::string& name) {
                                     const std::string prefix = "text_model.";
                                     return name.starts_with(prefix) ? name.substr(prefix.size())
                                                                     : name;
                                 }});
}

Array<float> load_clip(const ParameterList& list, const fs::path& folder) {
    return list.from_file<float>(weights_of(folder));
}

Array<float> load_t5(const ParameterList& list, const fs::path& folder) {
    const SafetensorsFile file = weights_of(folder);
    const std::string table = "shared.weight", alias = "encoder.embed_tokens.weight";
    Loading how;
    if (file.find(table) != nullptr) {
        how.pass_over = {alias};  // the same numbers once more
    } else {
        how.rename = [=](const std::string& name) { return name == alias ? table : name; };
    }
    return list.from_file<float>(file, how);
}

void save_encoder(const fs::path& folder, const json& config, const ParameterList& list,
                  std::span<const float> values) {
    fs::create_directories(folder);
    write_json(folder / kConfigFile, config);
    write_safetensors(folder / (std::string(kTransformersWeights) + ".safetensors"),
                      {list.to_arrays<float>(values), {{"format", "pt"}}});
}

}  // namespace diffusion
