#pragma once
// The posterior over latents that an encoder describes: how a latent is drawn from it, and what it
// costs (Kingma, Welling 2013, arXiv:1312.6114).
#include "02_gradients/tape.hpp"

namespace diffusion {

/// Bounds of the log-variance, as in public models: beyond them its exponential is 0 or infinite in
/// all but name.
inline constexpr double kLeastLogVariance = -30, kMostLogVariance = 20;

/// (7.5) q(z|x): independent Gaussians, one for each number of the latent. Both [N,h,w,C].
template <class T>
struct Posterior {
    Var<T> mean, log_variance;
};

/// C of an encoder's answer [N,h,w,2C]; fails, naming it, on another shape.
int latent_channels_of(const Shape& moments);

/// An encoder's answer [N,h,w,2C], means first. The log-variance is clamped; where it is, it gets
/// no gradient.
template <class T>
Posterior<T> posterior_of(Var<T> moments);

/// (7.6) z = mean + exp(log_variance / 2) eps. eps [N,h,w,C] is standard normal noise.
template <class T>
Var<T> draw_latent(const Posterior<T>& posterior, Tensor<const std::type_identity_t<T>> eps);

/// (7.8) KL(q(z|x) || N(0, I)) of each picture in nats, a sum over all numbers of its latent: [N].
template <class T>
Var<T> latent_kl(const Posterior<T>& posterior);

}  // namespace diffusion
