#pragma once
// Ancestral sampling: walk the chain back from noise, drawing each x_s from a Gaussian around what
// the denoiser believes. Ho, Jain, Abbeel 2020, arXiv:2006.11239, algorithm 2. And what all
// samplers have in common: what they ask, what they are told, along which moments they go.
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "01_forward_noising/chain.hpp"
#include "01_forward_noising/schedule.hpp"
#include "tensor/random.hpp"
#include "tensor/tensor.hpp"

namespace diffusion {

/// The guess of x_0 given a batch x_t [N, ...] at a moment, into x0 of the same shape. The sampler
/// asks for x_0 and not for eps because near t = T, where a(t) is tiny, x_0 from eps would be a
/// small difference divided by a(t): in float only its rounding would be left.
template <class T>
using Denoiser = std::function<void(Tensor<const T> xt, const Moment& at, Tensor<T> x0)>;

/// Fills z [N, ...] with fresh N(0, 1) for step number `step` of a path, counted from 0.
template <class T>
using Noise = std::function<void(int step, Tensor<T> z)>;
/// Noise that depends on the seed, the step's number and the sample's: Random(seed, purpose, step,
/// sample). z[0] is sample number `first_sample`.
template <class T>
Noise<T> fresh_noise(std::uint64_t seed, std::uint32_t first_sample = 0,
                     Purpose purpose = Purpose::ancestral_noise);

/// Sees the batch after each step, and the moment at which it has arrived.
template <class T>
using Observer = std::function<void(const Moment& at, Tensor<const T> xs)>;

enum class Variance { small, large };  ///< (3.5) or (3.6)

/// What every sampler may be told.
template <class T>
struct SamplerOptions {
    double clip = 0;  ///< keeps the guess of x_0 in [-clip, clip] (3.18); 0: does not clip
    Variance variance = Variance::small;  ///< of ancestral sampling
    double eta = 0;                       ///< of chapter 6's DDIM: how much fresh noise
    Noise<T> noise = fresh_noise<T>(1);
    Observer<T> observer = {};
};

/// `steps` times from T down to 0, as evenly spaced as whole numbers allow; and all of them.
std::vector<int> even_times(int T, int steps);
std::vector<int> all_times(const Schedule& schedule);

/// Fails, naming the place, unless a path has two moments at least and the noise for the picture,
/// s / a, falls from each to the next.
void check_path(const char* sampler, std::span<const Moment> path);

/// Fills x [N, ...] with N(0, 1), one stream of numbers for each sample.
template <class T>
void start_noise(std::uint64_t seed, Tensor<T> x, std::uint32_t first_sample = 0);

/// The denoiser's guess, clipped (3.18).
template <class T>
void guess_x0(const Denoiser<T>& denoiser, Tensor<const T> xt, const Moment& at, double clip,
              Tensor<T> x0);

/// (3.17) Takes x [N, ...] from path.front() to path.back(), in place. A step to a level without
/// noise adds none.
template <class T>
void ancestral_sample(const Denoiser<T>& denoiser, std::span<const Moment> path,
                      const SamplerOptions<T>& options, Tensor<T> x);

/// Where ancestral sampling takes a pixel for data N(mean, variance) and the exact denoiser,
/// started from N(0, 1): the recursion (3.23), without drawing anything.
MeanAndVariance ancestral_moments(std::span<const Moment> path, Variance variance,
                                  MeanAndVariance data);

}  // namespace diffusion
