#include "06_ddim/drawing.hpp"

namespace diffusion {

void run_sampler(const Sampler& sampler, const Denoiser<float>& denoiser,
                 std::span<const Moment> path, Tensor<float> x, const Observer<float>& observer) {
    sampler_named(sampler.name)
        .sample(denoiser, path,
                {.clip = sampler.clip,
                 .eta = sampler.eta,
                 .noise = fresh_noise<float>(sampler.seed),
                 .observer = observer},
                x);
}

std::string own_grid(const std::string& sampler, int steps, int T) {
    const SamplerOf<float>& by_name = sampler_named(sampler);
    return steps == T ? kEvenGrid : by_name.grid;
}

}  // namespace diffusion
