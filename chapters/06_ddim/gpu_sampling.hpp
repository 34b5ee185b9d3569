#pragma once
// A whole way from noise to pictures on a GPU: filled in by sampling.cu where it is linked.
#include <functional>
#include <span>

#include "04_unet/denoising.hpp"
#include "06_ddim/drawing.hpp"

namespace diffusion {

/// One step of a sampler with one call of the network, as a sum: x_s = of_x x + of_x0 x_0 +
/// of_before (the guess of x_0 in the step before) + sigma z.
struct LinearStep {
    int t;
    double of_x, of_x0, of_before, sigma;
};

/// The steps of ddpm, ddim, euler or dpmpp2m. Fails on others, and as the samplers do.
std::vector<LinearStep> linear_steps(const Sampler& sampler, const Schedule& schedule,
                                     std::span<const int> times);

/// run_sampler, without an observer, for any number of pictures. `done` is told how many are drawn.
using GpuSampling = std::function<void(const DenoisingModel& model, std::span<const float> values,
                                       const Sampler& sampler, std::span<const int> times,
                                       Tensor<float> x, const std::function<void(int)>& done)>;
inline GpuSampling& gpu_sampling() {
    static GpuSampling sampling;
    return sampling;
}

}  // namespace diffusion
