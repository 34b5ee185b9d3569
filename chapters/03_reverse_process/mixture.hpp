#pragma once
// Data whose score is known exactly: a mixture of isotropic Gaussians, of which a finite training
// set is the special case with variance 0. Everything goes through log-sum-exp, so far-away points
// and large dimensions do no harm.
#include <span>
#include <vector>

#include "01_forward_noising/schedule.hpp"
#include "03_reverse_process/ancestral.hpp"
#include "03_reverse_process/prediction.hpp"
#include "tensor/tensor.hpp"

namespace diffusion {

/// sum_k weights[k] N(means[k], variances[k] I) in D dimensions. Build it with make_mixture.
struct GaussianMixture {
    int dimensions = 0;
    std::vector<double> weights;    ///< [K], sum to 1
    std::vector<double> means;      ///< [K, D]
    std::vector<double> variances;  ///< [K], may be 0: a point

    int components() const { return static_cast<int>(weights.size()); }
};

/// Scales the weights to sum to 1. Fails on sizes that do not fit, weights that are not positive
/// and negative variances.
GaussianMixture make_mixture(int dimensions, std::vector<double> weights, std::vector<double> means,
                             std::vector<double> variances);

/// The training set [N, ...] itself: N points of equal weight and variance 0 (3.21).
GaussianMixture empirical_mixture(Tensor<const float> data);

/// Distribution of x_t = a x_0 + s eps (3.19): a mixture again.
GaussianMixture noised(const GaussianMixture& data, Level level);

/// log p(x) in nats. The three functions below take x and results of D numbers and need variances
/// above 0 where they divide by them: p(x) of a point does not exist.
double log_density(const GaussianMixture& mixture, std::span<const double> x);

/// grad log p(x) (3.20).
void exact_score(const GaussianMixture& mixture, std::span<const double> x,
                 std::span<double> score);

/// E[x_0 | x_t] for x_0 from `data` (3.16). Needs s > 0 only.
void exact_x0(const GaussianMixture& data, Level level, std::span<const double> xt,
              std::span<double> x0);

/// E[eps | x_t] (3.14). Needs s > 0.
void exact_eps(const GaussianMixture& data, Level level, std::span<const double> xt,
               std::span<double> eps);

/// exact_x0 for batches [N, ...] with D numbers in each sample, on any schedule.
template <class T>
Denoiser<T> exact_denoiser(GaussianMixture data);

}  // namespace diffusion
