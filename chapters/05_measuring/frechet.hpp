#pragma once
// How far apart two clouds of points are when each is taken for a Gaussian (Frechet 1957; Dowson,
// Landau 1982; for pictures Heusel et al. 2017, arXiv:1706.08500).
#include <Eigen/Core>
#include <cstdint>
#include <span>

#include "tensor/tensor.hpp"

namespace diffusion {

struct Gaussian {
    Eigen::VectorXd mean;
    Eigen::MatrixXd covariance;
};

/// Mean and covariance of the rows of x [N,D] (5.4), the covariance with N - 1 in the denominator.
/// With `times`, row i counts times[i] times; these add up to N. Needs at least two rows.
Gaussian fit_gaussian(Tensor<const float> x, std::span<const int> times = {});

/// d^2 of (5.7), in the eigenvalue form: 0 for equal Gaussians, in the squared unit of the points.
/// Covariances may be singular.
double frechet_distance(const Gaussian& a, const Gaussian& b);

/// What two estimates differ by although nothing differs (5.8): the expected distance, to the order
/// of 1 / n, between a Gaussian and one that was fitted to n draws from it.
double frechet_bias(const Gaussian& truth, int n);

struct Interval {
    double low, high;
};

/// 95 % interval of the distance between the rows of x and the reference (5.9): the rows are drawn
/// anew, with replacement, 200 times. Centred on `distance`, the one of x itself.
Interval frechet_interval(Tensor<const float> x, const Gaussian& reference, double distance,
                          std::uint64_t seed);

}  // namespace diffusion
