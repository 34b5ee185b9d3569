#pragma once
// The bound (3.7) as a number: how many bits a pixel it takes to write a picture down with the help
// of a denoiser. Ho, Jain, Abbeel 2020, arXiv:2006.11239, sections 3.3 and 4.
#include <span>

#include "03_reverse_process/ancestral.hpp"
#include "tensor/tensor.hpp"

namespace diffusion {

/// KL(q || p) of two Gaussians in one dimension, in nats (3.24). Needs variances above 0.
double gaussian_kl(double mean_q, double variance_q, double mean_p, double variance_p);
/// The same in many dimensions that are independent: the sum. Fails on sizes that differ and on
/// variances that are not above 0.
double gaussian_kl(std::span<const double> mean_q, std::span<const double> variance_q,
                   std::span<const double> mean_p, std::span<const double> variance_p);

/// log of the probability, in nats, that N(mean, variance) falls into the bin of a pixel (3.25).
/// Pixels have 256 values, evenly spaced from -1 to 1; their bins meet half-way between them, and
/// the first and the last are open. Accurate far out, where the probability itself would be 0.
/// Fails if x0 is none of the values.
double log_pixel_probability(double x0, double mean, double variance);

/// The bound (3.7) in bits per dimension (3.26): mean over the pictures, and over channels as over
/// pixels.
struct BitsPerDimension {
    double prior = 0;    ///< KL(q(x_T | x_0) || N(0, I)): nothing to learn
    double steps = 0;    ///< the sum of L_{t-1}, all steps but the last
    double decoder = 0;  ///< -log p(x_0 | x_1)

    double total() const { return prior + steps + decoder; }
};

template <class T>
struct BoundOptions {
    double clip = 0;  ///< as for the samplers (3.18)
    Variance variance = Variance::small;
    Noise<T> noise = fresh_noise<T>(1);
};

/// The bound for pictures x0 [N, ...] whose pixels have 256 values: exact in the sum over the steps
/// of the path, with one noise for each step and picture. On all times of a schedule it is DDPM's;
/// on fewer it is the bound of the chain that takes these steps only. The last step, to a level
/// without noise, has the variance (3.5) of the step before it, as DDPM's has. Fails unless the
/// path has two steps at least and ends at the picture, a = 1 and s = 0.
template <class T>
BitsPerDimension bits_per_dimension(const Denoiser<T>& denoiser, std::span<const Moment> path,
                                    Tensor<const T> x0, const BoundOptions<T>& options = {});

}  // namespace diffusion
