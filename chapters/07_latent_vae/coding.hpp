#pragma once
// A trained autoencoder at work, on all cores, whatever its class.
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "07_latent_vae/autoencoder_file.hpp"
#include "tensor/array.hpp"

namespace diffusion {

struct Coder {
    std::string name;  ///< the class, and what its latents are: one line
    std::string data;  ///< the name of the data set that it learned; empty: not known
    int in_channels, out_channels, latent_channels;
    int factor;  ///< a latent has 1 / factor of the rows and columns of its picture
    /// Pictures [N,H,W,in_channels] to latents [N,h,w,latent_channels] with their scale, the means
    /// where there is a posterior.
    std::function<Array<float>(Tensor<const float> pictures)> encode = {};
    /// And back.
    std::function<Array<float>(Tensor<const float> latents)> decode = {};
};

/// Latents get `scale`. Model and values must outlive the result, which keeps `owner` alive.
Coder coder_of(const AutoencoderModel& model, const LatentScale& scale, std::span<float> values,
               std::shared_ptr<const void> owner = nullptr);

/// From a folder with an AutoencoderKL or an AutoencoderTiny, or a pipeline with one.
Coder load_coder(const std::filesystem::path& folder);

/// (7.17) Peak signal-to-noise ratio in dB of pictures with values in [-1, 1], [N,H,W,C]: the mean
/// of the pictures'. 20 dB are a root mean square error of 0.2, 40 dB one of 0.02.
double mean_psnr(Tensor<const float> pictures, Tensor<const float> others);

}  // namespace diffusion
