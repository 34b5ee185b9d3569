#include "07_latent_vae/linear_latent.hpp"

#include <cmath>

#include "tensor/check.hpp"

namespace diffusion {

LinearLatent linear_latent(double variance, double weight) {
    require(variance > 0 && weight > 0, "linear_latent: variance ", variance, ", weight ", weight,
            ", expected numbers above 0");
    const double noise = weight / 2;                       // sigma^2
    if (variance <= noise) return {0, 0, 1, variance, 0};  // collapsed
    const double gain = std::sqrt(variance - noise);
    return {gain, gain / variance, noise / variance, noise,
            0.5 * std::log(variance / noise)};  // (7.13)
}

}  // namespace diffusion
