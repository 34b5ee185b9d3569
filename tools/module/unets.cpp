// UNet2DModel, chapter 4's network, and UNet2DConditionModel, which is told a text.
#include "02_gradients/tape.hpp"
#include "04_unet/unet_file.hpp"
#include "08_text_conditioning/text_block.hpp"
#include "08_text_conditioning/text_unet_file.hpp"
#include "io/json.hpp"
#include "module/module.hpp"

namespace diffusion {
namespace {

namespace fs = std::filesystem;

/// A folder's network and its weights.
template <class Network>
struct Loaded {
    ParameterList parameters;
    Network unet;
    Array<float> values;

    Loaded(const UNetConfig& settings, const fs::path& folder)
        : unet(parameters, "", settings),
          values(parameters.from_file<float>(SafetensorsFile(find_weights(folder, kWeightsName)),
                                             unet_loading())) {}
};

/// What both classes are given: sample [N,C,H,W], timestep [N], class_labels [N] where there are
/// classes; and what they give: sample.
class Question {
public:
    Question(const UNetConfig& settings, Inputs& inputs)
        : settings_(settings),
          sample_(inputs.floats("sample", {0, settings.in_channels, 0, 0})),
          times_(inputs.floats("timestep", {count()})) {
        if (settings.classes > 0)
            labels_ = inputs.whole("class_labels", {count()}, settings.classes);
    }
    int count() const { return sample_.shape[0]; }

    template <class Network>
    Outputs ask(const fs::path& folder, Condition<float> condition, OwnTape<float>& own) const {
        Loaded<Network> loaded(settings_, folder);
        own.tape.bind(loaded.values.data());
        condition.labels = labels_;
        const Var<float> x = own.tape.constant(channels_last(sample_, own.arena));
        return {channels_first("sample", loaded.unet(x, times_.values, condition).value())};
    }

private:
    UNetConfig settings_;
    NamedArray sample_, times_;
    std::vector<int> labels_;
};

Outputs run_unet(const Config& config, const fs::path& folder, Inputs& inputs) {
    const Question question(read_unet_config(config), inputs);
    inputs.done();
    OwnTape<float> own;
    return question.ask<UNet>(folder, {}, own);
}

/// Besides: encoder_hidden_states [N,S,D], and encoder_attention_mask [N,S] if some of them are
/// padding.
Outputs run_text_unet(const Config& config, const fs::path& folder, Inputs& inputs) {
    const UNetConfig settings = read_text_unet_config(config);
    const Question question(settings, inputs);
    const int n = question.count();
    NamedArray text = inputs.floats("encoder_hidden_states", {n, 0, settings.cross_width});
    const int tokens = text.shape[1];
    std::vector<int> keep;
    if (inputs.has("encoder_attention_mask"))
        keep = inputs.whole("encoder_attention_mask", {n, tokens}, 2);
    inputs.done();
    OwnTape<float> own;
    const std::vector<unsigned char> mask(keep.begin(), keep.end());
    Condition<float> condition;
    condition.tokens = own.tape.constant({text.values.data(), {n, tokens, settings.cross_width}});
    condition.keep = mask;
    return question.ask<TextUNet>(folder, condition, own);
}

/// Writes the UNet into another folder, in float32 and with today's names.
template <class Network>
void copy_unet(const UNetConfig& settings, const nlohmann::json& config, const fs::path& folder,
               const fs::path& to) {
    const Loaded<Network> loaded(settings, folder);
    fs::create_directories(to);
    write_json(to / kConfigFile, config);
    write_safetensors(
        to / (std::string(kWeightsName) + ".safetensors"),
        {loaded.parameters.template to_arrays<float>(loaded.values), {{"format", "pt"}}});
}

}  // namespace

const Module kUNet2D{kUNet2DModel, run_unet,
                     [](const Config&config, const fs::path&folder, const fs::path&to) {
                         const UNetConfig settings = read_unet_config(config);
                         copy_unet<UNet>(settings, unet_config_json(settings), folder, to);
                     }},
    kTextUNet{kUNet2DConditionModel, run_text_unet,
              [](const Config&config, const fs::path&folder, const fs::path&to) {
                  const UNetConfig settings = read_text_unet_config(config);
                  copy_unet<TextUNet>(settings, text_unet_config_json(settings), folder, to);
              }};

}  // namespace diffusion
