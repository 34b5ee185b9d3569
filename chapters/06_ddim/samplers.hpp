#pragma once
// Samplers that need few steps. Each is one function over any denoiser and any path of moments;
// chapter 3's ancestral_sample along few moments is the one that they are compared with.
#include <array>
#include <span>
#include <string>

#include "03_reverse_process/ancestral.hpp"
#include "tensor/tensor.hpp"

namespace diffusion {

// All take x [N, ...] from path.front() to path.back(), in place. Along the path the noise for the
// picture, s / a, must fall. The path need not end without noise, so that a part of the way can be
// walked. It may begin with pure noise, a = 0; only euler_sample refuses that.

/// (6.3) DDIM (Song, Meng, Ermon 2020, arXiv:2010.02502): a draw from (6.1) with the guess in the
/// place of x_0. options.eta is 0 for no fresh noise, 1 for as much as the ancestral sampler's. One
/// call of the denoiser per step.
template <class T>
void ddim_sample(const Denoiser<T>& denoiser, std::span<const Moment> path,
                 const SamplerOptions<T>& options, Tensor<T> x);

/// (6.7) Euler's method for the probability-flow ODE in its own time (Song et al. 2020,
/// arXiv:2011.13456). One call per step.
template <class T>
void euler_sample(const Denoiser<T>& denoiser, std::span<const Moment> path,
                  const SamplerOptions<T>& options, Tensor<T> x);

/// (6.8) Heun's method for the same ODE, along the straight line between two levels; where a stays
/// 1 it is the method of Karras et al. 2022, arXiv:2206.00364. Two calls per step, one in a step to
/// a level without noise.
template <class T>
void heun_sample(const Denoiser<T>& denoiser, std::span<const Moment> path,
                 const SamplerOptions<T>& options, Tensor<T> x);

/// (6.11) DPM-Solver++(2M) (Lu et al. 2022, arXiv:2211.01095): the integral (6.9) with a straight
/// line through this guess and the one of the step before; (6.10) where there is none. One call per
/// step.
template <class T>
void dpmpp2m_sample(const Denoiser<T>& denoiser, std::span<const Moment> path,
                    const SamplerOptions<T>& options, Tensor<T> x);

/// (6.12) Where the probability-flow ODE takes x_t for data N(mean, variance) in every pixel.
double flow_of_gaussian(Level from, Level to, double mean, double variance, double xt);

/// A sampler by name, and what is known of it.
template <class T>
struct SamplerOf {
    const char* name;
    void (*sample)(const Denoiser<T>&, std::span<const Moment>, const SamplerOptions<T>&,
                   Tensor<T>);
    int calls;         ///< of the denoiser in a step; one in a step to a level without noise
    int order;         ///< of the error in the length of a step; 0: it draws fresh noise
    bool takes_eta;    ///< how much fresh noise can be chosen
    const char* grid;  ///< on which it does best (lesson 6.6)
    const char* what;  ///< for --help
};
/// The grid for all T steps, of which `late` would leave some out, and for a part of the way, which
/// `late`, made for all of it, would end in a long step.
inline constexpr const char* kEvenGrid = "trailing";
template <class T>
inline constexpr std::array<SamplerOf<T>, 5> kSamplers = {{
    {"ddpm", ancestral_sample<T>, 1, 0, false, "late", "chapter 3's ancestral sampler"},
    {"ddim", ddim_sample<T>, 1, 1, true, "late", "k-diffusion's Euler; fresh noise with --eta"},
    {"euler", euler_sample<T>, 1, 1, false, "late", "Euler's method in the flow's own time"},
    {"heun", heun_sample<T>, 2, 2, false, "late", "a second look at the end of each step"},
    {"dpmpp2m", dpmpp2m_sample<T>, 1, 2, false, "late", "DPM-Solver++(2M)"},
}};
std::vector<std::string> sampler_names();
/// Fails on a name that is not in the table, and names those that are.
template <class T = float>
const SamplerOf<T>& sampler_named(const std::string& name);

/// Calls of the denoiser along a path.
template <class T>
int calls_along(const SamplerOf<T>& sampler, std::span<const Moment> path) {
    const int steps = static_cast<int>(path.size()) - 1;
    return path.back().level.s > 0 ? sampler.calls * steps : sampler.calls * (steps - 1) + 1;
}

}  // namespace diffusion
