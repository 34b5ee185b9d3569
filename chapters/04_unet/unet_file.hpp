#pragma once
// The UNet's settings as config.json has them: the class UNet2DModel of the library diffusers.
#include <nlohmann/json.hpp>

#include "04_unet/unet.hpp"
#include "io/config.hpp"
#include "io/safetensors.hpp"

namespace diffusion {

inline constexpr const char* kUNet2DModel = "UNet2DModel";
/// What the file of weights in a folder of diffusers is called, but for its ending.
inline constexpr const char* kWeightsName = "diffusion_pytorch_model";

/// What a class of UNets calls its blocks, and what it takes where config.json tells nothing.
struct UNetClass {
    const char* name;
    const char *down, *attending_down, *up, *attending_up;  ///< blocks
    int picture_channels;
    std::vector<int> channels;
    std::vector<bool> attention;  ///< of each level
};
/// The settings that the library's UNets have in common: all of UNetConfig but heads and what
/// concerns a text. Fails, naming it, on one that this UNet does not have. What is left is the
/// caller's: its own settings, and Config::done.
UNetConfig read_common_settings(const Config& file, const UNetClass& of);
/// The other way.
nlohmann::json common_settings_json(const UNetConfig& config, const UNetClass& of);

/// The settings. Fails, naming it, on one that this UNet does not have. The size of its pictures,
/// "sample_size", is left to the caller.
UNetConfig read_unet_config(const Config& file);

/// The other way. Fails on settings that the class does not have.
nlohmann::json unet_config_json(const UNetConfig& config);

/// Whether the class takes pictures of this size: it cannot double an odd number of rows back.
bool takes_size(const UNetConfig& config, int height, int width);

/// How a file of its weights is read: older versions of the library had other names for attention.
Loading unet_loading();

}  // namespace diffusion
