#pragma once
// Samplers that need few steps. Each is one function over any denoiser; chapter 3's
// ancestral_sample on a grid of few times is the one that they are compared with.
#include <cstdint>
#include <span>

#include "01_forward_noising/schedule.hpp"
#include "03_reverse_process/ancestral.hpp"
#include "03_reverse_process/prediction.hpp"
#include "tensor/tensor.hpp"

namespace diffusion {

// All take x [N, ...] from times.front() to times.back(), in place, and call the observer after
// each step. Times must fall strictly and lie in 0..T; the last need not be 0, so that a part of
// the way can be walked. `clip` keeps the guess of x_0 in [-clip, clip] (3.18); 0: does not clip.

struct DdimOptions {
    double eta = 0.0;  ///< 0: no fresh noise; 1: as much as the ancestral sampler's
    double clip = 0.0;
    std::uint64_t seed = 1;  ///< of the fresh noise: Random(seed, ancestral_noise, t, sample)
    std::uint32_t first_sample = 0;
};
/// (6.3) DDIM (Song, Meng, Ermon 2020, arXiv:2010.02502): a draw from (6.1) with the guess in the
/// place of x_0. One call of the denoiser per step.
template <class T>
void ddim_sample(const Denoiser<T>& denoiser, const Schedule& schedule, std::span<const int> times,
                 const DdimOptions& options, Tensor<T> x, const Observer<T>& observer = {});

/// (6.7) Euler's method for the probability-flow ODE in its own time (Song et al. 2020,
/// arXiv:2011.13456). One call per step.
template <class T>
void euler_sample(const Denoiser<T>& denoiser, const Schedule& schedule, std::span<const int> times,
                  double clip, Tensor<T> x, const Observer<T>& observer = {});

/// (6.8) Heun's method for the same ODE, in the clock sigma (Karras et al. 2022, arXiv:2206.00364).
/// Two calls per step, one in a last step to t = 0.
template <class T>
void heun_sample(const Denoiser<T>& denoiser, const Schedule& schedule, std::span<const int> times,
                 double clip, Tensor<T> x, const Observer<T>& observer = {});

/// (6.11) DPM-Solver++(2M) (Lu et al. 2022, arXiv:2211.01095): the integral (6.9) with a straight
/// line through this guess and the one of the step before; (6.10) where there is none. One call per
/// step.
template <class T>
void dpmpp2m_sample(const Denoiser<T>& denoiser, const Schedule& schedule,
                    std::span<const int> times, double clip, Tensor<T> x,
                    const Observer<T>& observer = {});

/// (6.12) Where the probability-flow ODE takes x_t for data N(mean, variance) in every pixel.
double flow_of_gaussian(Level from, Level to, double mean, double variance, double xt);

}  // namespace diffusion
