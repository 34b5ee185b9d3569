#pragma once
// An autoencoder that can be solved: one direction of the data, linear maps to a latent and back.
// It tells which directions a weight of the KL keeps (Lucas, Tucker, Grosse, Norouzi 2019,
// arXiv:1911.02469).

namespace diffusion {

/// The best linear autoencoder of one direction.
struct LinearLatent {
    double gain;      ///< a: x = a z
    double encoder;   ///< m: the posterior's mean is m x
    double variance;  ///< of the posterior; 1, the prior's, where the latent says nothing
    double error;     ///< expected squared error
    double kl;        ///< expected, in nats
};

/// (7.13) For data N(0, variance) and the weight w = 2 sigma^2 of the KL: the latent is used where
/// variance > sigma^2, and what is lost is sigma^2; otherwise all of the direction is lost.
LinearLatent linear_latent(double variance, double weight);

}  // namespace diffusion
