#pragma once
// The training set of a latent diffusion: posteriors of pictures, encoded once.
#include <cstdint>

#include "04_unet/batch.hpp"
#include "07_latent_vae/autoencoder_file.hpp"
#include "tensor/array.hpp"
#include "tensor/random.hpp"

namespace diffusion {

struct LatentSet {
    Array<float> mean, deviation;  ///< [N,h,w,c], with the autoencoder's scale
};

/// The posteriors of pictures [N,H,W,C].
LatentSet encode_posteriors(const AutoencoderModel& model, const LatentScale& scale,
                            std::span<float> values, Tensor<const float> pictures);

/// (7.6) A latent drawn from posterior n, [h,w,c].
void draw_latent(const LatentSet& set, int n, Random random, Tensor<float> z);

/// Latents in shuffled passes, each drawn anew from its posterior (7.6). The set must outlive the
/// result.
Source latent_source(const LatentSet& set, int batch, std::uint64_t seed);

}  // namespace diffusion
