#pragma once
// What a deterministic sampler makes possible, and what can be done with pictures that are given.
#include <cstdint>
#include <span>
#include <vector>

#include "06_ddim/samplers.hpp"

namespace diffusion {

/// Noise for what is not a sampler's step; the draws of a call are numbered from 0.
template <class T>
Noise<T> editing_noise(std::uint64_t seed) {
    return fresh_noise<T>(seed, 0, Purpose::editing);
}

template <class T>
struct InvertOptions {
    int rounds = 1;  ///< how often the equation of a step is put into itself
    Noise<T> noise = editing_noise<T>(1);
    Observer<T> observer = {};
};
/// (6.16) DDIM backwards: pictures x [N, ...] at path.back() to the noise at path.front() from
/// which ddim_sample, unclipped, along the same path comes back to them. Each step is an equation
/// for x_t with the denoiser on its right side; it is solved by rounds of substitution, each
/// one call. One round is what most programs do. Clean pictures (no noise at path.back())
/// could have come from many x_t; their first step is not solved: noise of its level is added to
/// them. So what comes back is exact only up to the denoiser's error at that level, and the first
/// step should be small: many steps of `trailing`, not `late`.
template <class T>
void ddim_invert(const Denoiser<T>& denoiser, std::span<const Moment> path,
                 const InvertOptions<T>& options, Tensor<T> x);

/// (6.17) On the great circle from a (share 0) to b (share 1) (Shoemake 1985), all of one shape.
template <class T>
void slerp(Tensor<const T> a, Tensor<const T> b, double share, Tensor<T> between);

template <class T>
struct InpaintOptions {
    int repeats = 5;  ///< how often each step is walked, noise put back in between
    double clip = 1;  ///< of the guess of x_0 (3.18)
    Noise<T> noise = editing_noise<T>(1);
    Observer<T> observer = {};
};
/// (6.18), (6.19) Draws what is missing of pictures (Lugmayr et al. 2022, arXiv:2201.09865).
/// `known` [N, ...] holds pictures, `keep` of the same shape 1 where they are to be kept and 0
/// where not. x starts as noise at path.front(); the path ends without noise.
/// Draws come in the order of what they are for: the sampler's step, the known part, and, where a
/// step is walked again, the noise that is put back.
template <class T>
void inpaint(const Denoiser<T>& denoiser, std::span<const Moment> path, Tensor<const T> known,
             Tensor<const T> keep, const InpaintOptions<T>& options, Tensor<T> x);

/// (6.20) The part of `times` that begins at `strength` T. Strength is in (0, 1]: how much may
/// change.
std::vector<int> times_from(std::span<const int> times, int T, double strength);

/// (6.20) SDEdit (Meng et al. 2021, arXiv:2108.01073): noises pictures x [N, ...] to a moment, with
/// draw 0 of the noise. A sampler along a path that begins there brings them back.
template <class T>
void start_edit(const Moment& at, const Noise<T>& noise, Tensor<T> x);

}  // namespace diffusion
