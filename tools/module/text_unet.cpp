// UNet2DConditionModel: chapter 4's network, told a text.
#include "02_gradients/tape.hpp"
#include "04_unet/unet_file.hpp"
#include "08_text_conditioning/text_block.hpp"
#include "08_text_conditioning/text_unet_file.hpp"
#include "io/json.hpp"
#include "module/module.hpp"

namespace diffusion {
namespace {

Array<float> read_unet(const ParameterList& parameters, const std::filesystem::path& folder) {
    return parameters.from_file<float>(SafetensorsFile(find_weights(folder, kWeightsName)),
                                       unet_loading());
}

/// sample [N,C,H,W], timestep [N], encoder_hidden_states [N,S,D], encoder_attention_mask [N,S] if
/// some of them are padding, class_labels [N] where there are classes, to sample.
Outputs run_unet(const Config& config, const std::filesystem::path& folder, Inputs& inputs) {
    const UNetConfig settings = read_text_unet_config(config);
    const NamedArray sample = inputs.floats("sample", {0, settings.in_channels, 0, 0});
    const int n = sample.shape[0];
    const NamedArray times = inputs.floats("timestep", {n}),
                     text = inputs.floats("encoder_hidden_states", {n, 0, settings.cross_width});
    const int tokens = text.shape[1];
    std::vector<int> keep, labels;
    if (inputs.has("encoder_attention_mask"))
        keep = inputs.whole("encoder_attention_mask", {n, tokens}, 2);
    if (settings.classes > 0) labels = inputs.whole("class_labels", {n}, settings.classes);
    inputs.done();
    ParameterList parameters;
    const TextUNet unet(parameters, "", settings);
    Array<float> values = read_unet(parameters, folder);
    Arena arena;
    Tape<float> tape(arena);
    tape.bind(values.data());
    const Tensor<float> states = arena.make<float>({n, tokens, settings.cross_width});
    std::ranges::copy(text.values, states.data());
    const std::vector<unsigned char> mask(keep.begin(), keep.end());
    Condition<float> condition;
    condition.tokens = tape.constant(states);
    condition.keep = mask;
    condition.labels = labels;
    const Var<float> x = tape.constant(channels_last(sample, arena));
    return {channels_first("sample", unet(x, times.values, condition).value())};
}

/// Writes the UNet into another folder, in float32 and with today's names.
void copy_unet(const Config& config, const std::filesystem::path& folder,
               const std::filesystem::path& to) {
    const UNetConfig settings = read_text_unet_config(config);
    ParameterList parameters;
    const TextUNet unet(parameters, "", settings);
    const Array<float> values = read_unet(parameters, folder);
    std::filesystem::create_directories(to);
    write_json(to / kConfigFile, text_unet_config_json(settings));
    write_safetensors(to / (std::string(kWeightsName) + ".safetensors"),
                      {parameters.to_arrays<float>(values), {{"format", "pt"}}});
}

}  // namespace

const Module kTextUNet{kUNet2DConditionModel, run_unet, copy_unet};

}  // namespace diffusion
