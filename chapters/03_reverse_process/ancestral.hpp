#pragma once
// Ancestral sampling: walk the chain back from noise, drawing each x_s from a Gaussian around what
// the denoiser believes. Ho, Jain, Abbeel 2020, arXiv:2006.11239, algorithm 2.
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "01_forward_noising/schedule.hpp"
#include "tensor/tensor.hpp"

namespace diffusion {

/// The guess of x_0 given a batch x_t [N, ...] at time t, into x0 of the same shape. The sampler
/// asks for x_0 and not for eps because near t = T, where a(t) is tiny, x_0 from eps would be a
/// small difference divided by a(t): in float only its rounding would be left.
template <class T>
using Denoiser = std::function<void(Tensor<const T> xt, int t, Tensor<T> x0)>;

/// Sees the batch x_s after each step.
template <class T>
using Observer = std::function<void(int s, Tensor<const T> xs)>;

enum class Variance { small, large };  ///< (3.5) or (3.6)

struct AncestralOptions {
    Variance variance = Variance::small;
    double clip = 0.0;               ///< keeps the guess of x_0 in [-clip, clip]; 0: does not clip
    std::uint64_t seed = 1;          ///< noise: Random(seed, ancestral_noise, t, sample)
    std::uint32_t first_sample = 0;  ///< the sample number of x[0]
};

/// The times T, T-1, ..., 0 of the full chain.
std::vector<int> all_times(const Schedule& schedule);

/// Fills x [N, ...] with N(0, 1), one stream of numbers for each sample.
template <class T>
void start_noise(std::uint64_t seed, Tensor<T> x, std::uint32_t first_sample = 0);

/// Takes x [N, ...] from times.front() to times.back() = 0 by (3.17). The last step adds no noise.
/// Fails unless the times fall strictly, end in 0 and lie in 0..T.
template <class T>
void ancestral_sample(const Denoiser<T>& denoiser, const Schedule& schedule,
                      std::span<const int> times, const AncestralOptions& options, Tensor<T> x,
                      const Observer<T>& observer = {});

/// Mean and variance of one pixel.
struct PixelMoments {
    double mean = 0.0, variance = 1.0;
};

/// Where ancestral sampling ends for data N(mean, variance) and the exact denoiser, started from
/// N(0, 1): the recursion (3.23), without drawing anything. Same conditions on the times.
PixelMoments ancestral_moments(const Schedule& schedule, std::span<const int> times,
                               Variance variance, PixelMoments data);

}  // namespace diffusion
