#pragma once
// The tiny autoencoder's folder: the class AutoencoderTiny of the library diffusers.
#include <filesystem>
#include <nlohmann/json.hpp>

#include "07_latent_vae/tiny.hpp"
#include "io/config.hpp"
#include "tensor/array.hpp"

namespace diffusion {

inline constexpr const char* kAutoencoderTiny = "AutoencoderTiny";

/// Fails, naming it, on a setting that this autoencoder does not have.
TinyConfig read_tiny_config(const Config& file);

/// The other way.
nlohmann::json tiny_json(const TinyConfig& config);

struct TinyModel {
    ParameterList parameters;
    TinyAutoencoder autoencoder;

    explicit TinyModel(const TinyConfig& config) : autoencoder(parameters, "", config) {}

    /// Writes config.json and the weights. AutoencoderTiny.from_pretrained opens the folder, unless
    /// it has a pool.
    void save(const std::filesystem::path& folder, std::span<const float> values) const;
};

struct LoadedTiny {
    TinyModel model;
    Array<float> values;
};
/// Opens a folder that `save` or diffusers wrote. Fails, naming it, on what it does not understand.
LoadedTiny load_tiny(const std::filesystem::path& folder);

}  // namespace diffusion
