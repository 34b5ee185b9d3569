#include "05_measuring/frechet.hpp"

#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "kernels/threads.hpp"
#include "tensor/random.hpp"

namespace diffusion {
namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;

/// Roots of eigenvalues; rounding can make those of a singular covariance slightly negative.
VectorXd roots(const VectorXd& eigenvalues) {
    return eigenvalues.cwiseMax(0).cwiseSqrt();
}

}  // namespace

Gaussian fit_gaussian(Tensor<const float> x, std::span<const int> times) {
    const int n = x.size(0), d = x.size(1);
    require(n >= 2, "fit_gaussian: ", n, " points, expected at least 2");
    using Rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    const MatrixXd points = Eigen::Map<const Rows>(x.data(), n, d).cast<double>();
    VectorXd weight = VectorXd::Ones(n);
    for (std::size_t i = 0; i < times.size(); ++i) weight(static_cast<Eigen::Index>(i)) = times[i];
    Gaussian g;
    g.mean = points.transpose() * weight / n;  // (5.4)
    const MatrixXd off = weight.cwiseSqrt().asDiagonal() * (points.rowwise() - g.mean.transpose());
    g.covariance = off.transpose() * off / (n - 1);  // (5.4)
    return g;
}

double frechet_distance(const Gaussian& a, const Gaussian& b) {
    require(a.mean.size() == b.mean.size(), "frechet_distance: ", a.mean.size(), " and ",
            b.mean.size(), " dimensions");
    // >>> exercise 5.2 points=3 hint="(5.7): the root of a's covariance, from its eigenvectors"
    const Eigen::SelfAdjointEigenSolver<MatrixXd> of_a(a.covariance);
    const MatrixXd root = of_a.eigenvectors() * roots(of_a.eigenvalues()).asDiagonal() *
                          of_a.eigenvectors().transpose();
    const Eigen::SelfAdjointEigenSolver<MatrixXd> of_product(root * b.covariance * root,
                                                             Eigen::EigenvaluesOnly);
    return (a.mean - b.mean).squaredNorm() + a.covariance.trace() + b.covariance.trace() -
           2 * roots(of_product.eigenvalues()).sum();  // (5.7)
    // <<<
}

double frechet_bias(const Gaussian& truth, int n) {
    const VectorXd eigenvalues =
        Eigen::SelfAdjointEigenSolver<MatrixXd>(truth.covariance, Eigen::EigenvaluesOnly)
            .eigenvalues()
            .cwiseMax(0);
    double bias = eigenvalues.sum();
    for (const double p : eigenvalues) {
        for (const double q : eigenvalues) {
            if (p + q > 0) bias += p * q / (2 * (p + q));  // (5.8)
        }
        bias += p / 4;  // (5.8), i = j once more: p p / (2 (p + p))
    }
    return bias / n;
}

Interval frechet_interval(Tensor<const float> x, const Gaussian& reference, double distance,
                          std::uint64_t seed) {
    constexpr int kResamples = 200;
    const int n = x.size(0);
    std::vector<double> drawn(kResamples);
    parallel_for(kResamples, thread_count(), [&](int b) {
        Random random(seed, Purpose::resampling, static_cast<std::uint32_t>(b));
        std::vector<int> times(static_cast<std::size_t>(n));
        for (int i = 0; i < n; ++i) ++times[random.below(static_cast<std::uint32_t>(n))];
        drawn[static_cast<std::size_t>(b)] = frechet_distance(reference, fit_gaussian(x, times));
    });
    std::ranges::sort(drawn);
    const double mean = std::accumulate(drawn.begin(), drawn.end(), 0.0) / kResamples;
    return {std::max(0.0, distance + drawn[kResamples / 40] - mean),  // (5.9)
            distance + drawn[kResamples - 1 - kResamples / 40] - mean};
}

}  // namespace diffusion
