#pragma once
// The settings of a UNet that reads a text as config.json has them: the class UNet2DConditionModel
// of the library diffusers.
#include <nlohmann/json.hpp>

#include "04_unet/unet.hpp"
#include "io/config.hpp"

namespace diffusion {

inline constexpr const char* kUNet2DConditionModel = "UNet2DConditionModel";

/// The settings. Fails, naming it, on one that this UNet does not have.
UNetConfig read_text_unet_config(const Config& file);

/// The other way. Fails on settings that the class does not have.
nlohmann::json text_unet_config_json(const UNetConfig& config);

}  // namespace diffusion
