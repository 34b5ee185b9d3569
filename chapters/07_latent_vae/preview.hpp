#pragma once
// A picture of a latent without its decoder: a linear map from its channels to red, green and blue,
// as small as the latent. Programs show it while they draw.
#include <vector>

#include "tensor/array.hpp"

namespace diffusion {

/// rgb = weight z + bias, for each pixel of a latent.
struct Preview {
    int channels = 0, colours = 0;
    std::vector<double> weight;  ///< [colours,channels]
    std::vector<double> bias;    ///< [colours]

    /// latents [N,h,w,channels] to pictures [N,h,w,colours].
    Array<float> operator()(Tensor<const float> latents) const;
};

/// (7.16) The map that comes closest to the pictures [N,H,W,colours], each reduced to the size of
/// its latent [N,h,w,channels] by averaging: least squares over all pixels.
Preview fit_preview(Tensor<const float> latents, Tensor<const float> pictures);

}  // namespace diffusion
