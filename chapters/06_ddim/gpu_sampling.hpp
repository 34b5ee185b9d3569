#pragma once
// A whole path from noise to pictures on a GPU: sampling.cu.
#include <functional>
#include <span>
#include <vector>

#include "04_unet/device.hpp"
#include "06_ddim/drawing.hpp"

namespace diffusion {

/// One step of a sampler with one call of the network, as a sum: x_s = of_x x + of_x0 x_0 +
/// of_before (the guess of x_0 in the step before) + sigma z.
struct LinearStep {
    Moment at;
    double of_x, of_x0, of_before, sigma;
};

/// The steps of a sampler along a path, read off what the sampler itself does to unit vectors.
/// Fails on a sampler that asks more than once in a step, and as the samplers do.
std::vector<LinearStep> linear_steps(const Sampler& sampler, std::span<const Moment> path);

/// run_sampler on a GPU, without an observer, for any number of pictures x; `condition` holds what
/// goes with each of them, as network_denoiser's. `done` is told how many are drawn. The program's
/// .cu files define it, or without_cuda.cpp, which fails.
void sample_on_gpu(const Network& network, Prediction prediction, std::span<const float> values,
                   const Batch& condition, const Sampler& sampler, std::span<const Moment> path,
                   Tensor<float> x, const std::function<void(int)>& done);

}  // namespace diffusion
