#include "07_latent_vae/latent_scale.hpp"

#include <cmath>

#include "tensor/check.hpp"

namespace diffusion {

LatentScale measure_scale(Tensor<const float> latents, bool centred) {
    const double count = static_cast<double>(latents.numel());
    double mean = 0, square = 0;
    for (const float z : latents) mean += static_cast<double>(z);
    mean /= count;
    for (const float z : latents) {
        const double d = static_cast<double>(z) - mean;
        square += d * d;
    }
    if (!centred) square += count * mean * mean;  // around 0: what is not shifted stays where it is
    const double deviation = std::sqrt(square / count);
    require(deviation > 0 && std::isfinite(deviation),
            "latent scale: the deviation of the latents is ", deviation);
    return {1 / deviation, centred ? mean : 0};
}

}  // namespace diffusion
