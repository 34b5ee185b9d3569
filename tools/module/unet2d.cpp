// UNet2DModel: chapter 4's network.
#include "02_gradients/tape.hpp"
#include "04_unet/unet_file.hpp"
#include "io/json.hpp"
#include "module/module.hpp"

namespace diffusion {
namespace {

Array<float> read_unet(const ParameterList& parameters, const std::filesystem::path& folder) {
    return parameters.from_file<float>(SafetensorsFile(find_weights(folder, kWeightsName)),
                                       unet_loading());
}

/// sample [N,C,H,W], timestep [N], class_labels [N] where there are classes, to sample.
Outputs run_unet(const Config& config, const std::filesystem::path& folder, Inputs& inputs) {
    const UNetConfig settings = read_unet_config(config);
    const NamedArray sample = inputs.floats("sample", {0, settings.in_channels, 0, 0});
    const int n = sample.shape[0];
    const NamedArray times = inputs.floats("timestep", {n});
    const std::vector<int> labels = settings.classes > 0
                                        ? inputs.whole("class_labels", {n}, settings.classes)
                                        : std::vector<int>();
    inputs.done();
    ParameterList parameters;
    const UNet unet(parameters, "", settings);
    Array<float> values = read_unet(parameters, folder);
    Arena arena;
    Tape<float> tape(arena);
    tape.bind(values.data());
    Condition<float> condition;
    condition.labels = labels;
    const Var<float> x = tape.constant(channels_last(sample, arena));
    return {channels_first("sample", unet(x, times.values, condition).value())};
}

/// Writes the UNet into another folder, in float32 and with today's names.
void copy_unet(const Config& config, const std::filesystem::path& folder,
               const std::filesystem::path& to) {
    const UNetConfig settings = read_unet_config(config);
    ParameterList parameters;
    const UNet unet(parameters, "", settings);
    const Array<float> values = read_unet(parameters, folder);
    std::filesystem::create_directories(to);
    write_json(to / kConfigFile, unet_config_json(settings));
    write_safetensors(to / (std::string(kWeightsName) + ".safetensors"),
                      {parameters.to_arrays<float>(values), {{"format", "pt"}}});
}

}  // namespace

const Module kUNet2D{kUNet2DModel, run_unet, copy_unet};

}  // namespace diffusion
