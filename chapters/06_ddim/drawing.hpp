#pragma once
// A sampler as the command line describes it.
#include <cstdint>
#include <string>

#include "06_ddim/samplers.hpp"

namespace diffusion {

struct Sampler {
    std::string name = "ddim";  ///< of kSamplers
    double eta = 0.0;           ///< of ddim
    double clip = 1.0;          ///< of the guess of x_0
    std::uint64_t seed = 1;     ///< of fresh noise, where there is any
};

/// Takes x along a path, in place. Fails on an unknown name.
void run_sampler(const Sampler& sampler, const Denoiser<float>& denoiser,
                 std::span<const Moment> path, Tensor<float> x,
                 const Observer<float>& observer = {});

/// The grid on which a sampler does best, with so many of T steps.
std::string own_grid(const std::string& sampler, int steps, int T);

}  // namespace diffusion
