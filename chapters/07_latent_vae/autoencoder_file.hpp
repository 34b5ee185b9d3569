#pragma once
// An autoencoder with all that its use depends on, and its folder: the class AutoencoderKL of the
// library diffusers.
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "07_latent_vae/autoencoder.hpp"
#include "07_latent_vae/latent_scale.hpp"
#include "io/config.hpp"
#include "tensor/array.hpp"

namespace diffusion {

inline constexpr const char* kAutoencoderKL = "AutoencoderKL";
/// Its folder in a pipeline of diffusers of latents without a text.
inline constexpr const char* kAutoencoderPart = "vqvae";

struct AutoencoderSettings {
    AutoencoderConfig config;
    LatentScale scale;
};
/// Fails, naming it, on a setting that this autoencoder does not have.
AutoencoderSettings read_autoencoder_settings(const Config& file);

/// The other way.
nlohmann::json autoencoder_json(const AutoencoderSettings& settings);

struct AutoencoderModel {
    ParameterList parameters;
    Autoencoder autoencoder;
    LatentScale scale;
    int height, width;  ///< of the pictures that it learns
    std::string data;   ///< the name of the data set that it learns; empty: not known

    AutoencoderModel(const AutoencoderSettings& settings, int height, int width,
                     std::string data = "");

    /// Writes config.json and the weights. AutoencoderKL.from_pretrained opens the folder.
    void save(const std::filesystem::path& folder, std::span<const float> values) const;
};

struct LoadedAutoencoder {
    AutoencoderModel model;
    Array<float> values;
};
/// The folder of an autoencoder: this one, or, of a pipeline, its part vae or vqvae.
std::filesystem::path autoencoder_folder(const std::filesystem::path& folder);
/// Opens what `save` or diffusers wrote into such a folder, or into a pipeline's. Fails, naming it,
/// on what it does not understand.
LoadedAutoencoder load_autoencoder(const std::filesystem::path& folder);

}  // namespace diffusion
