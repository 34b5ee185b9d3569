// Muon against singular value decompositions by Eigen.
#include <doctest/doctest.h>

#include <Eigen/SVD>
#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "02_gradients/muon.hpp"
#include "support/varied.hpp"
#include "tensor/random.hpp"

using namespace diffusion;

namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// What five rounds of (2.23) make of one singular value.
double five_rounds(double s) {
    for (int i = 0; i < 5; ++i) s = 3.4445 * s - 4.7750 * s * s * s + 2.0315 * s * s * s * s * s;
    return s;
}

}  // namespace

TEST_SUITE_BEGIN("ch02 math");

TEST_CASE("(2.23) orthogonalize keeps singular vectors and maps singular values by a polynomial") {
    for (const Shape shape :
         {Shape{1, 1}, Shape{varied_size(7), 3}, Shape{3, 7}, Shape{40, 16}, Shape{16, 16}}) {
        Arena memory, scratch;
        const Tensor<double> x = memory.make<double>(shape);
        fill_normal(x, Random(varied_seed(3), Purpose::test));
        const Eigen::Map<Matrix> map(x.data(), shape[0], shape[1]);
        const Matrix before = map;
        orthogonalize(x, scratch);
        const Eigen::JacobiSVD<Matrix> svd(before / before.norm(),
                                           Eigen::ComputeThinU | Eigen::ComputeThinV);
        const Eigen::VectorXd mapped = svd.singularValues().unaryExpr(&five_rounds);
        const Matrix expected = svd.matrixU() * mapped.asDiagonal() * svd.matrixV().transpose();
        CHECK((map - expected).norm() < 1e-11 * expected.norm());
    }
}

TEST_CASE("(2.23) singular values of at least 0.002 end between 0.68 and 1.21") {
    double least = 10, most = 0;
    for (int i = 200; i <= 100'000; ++i) {
        const double s = 1e-5 * i;
        least = std::min(least, five_rounds(s));
        most = std::max(most, five_rounds(s));
    }
    CHECK(least > 0.68);
    CHECK(most < 1.21);
    Arena memory, scratch;
    const Tensor<double> zero = memory.zeros<double>({4, 3});
    orthogonalize(zero, scratch);
    for (double value : zero) CHECK(value == 0.0);
}

TEST_CASE("(2.22) no matrix of spectral norm 1 goes down faster than -U V^T") {
    const Matrix g = Matrix::Random(6, 4);
    const Eigen::JacobiSVD<Matrix> svd(g, Eigen::ComputeThinU | Eigen::ComputeThinV);
    const double best = (g.array() * (svd.matrixU() * svd.matrixV().transpose()).array()).sum();
    CHECK(best == doctest::Approx(svd.singularValues().sum()).epsilon(1e-13));
    for (int i = 0; i < 100; ++i) {
        Matrix other = Matrix::Random(6, 4);
        other /= Eigen::JacobiSVD<Matrix>(other).singularValues()(0);
        CHECK((g.array() * other.array()).sum() <= best);
    }
}

TEST_CASE("(2.24) a step: momentum, Nesterov, the size of an entry, and what Adam is left with") {
    // Two parameters: a matrix [2,2,3] in front, and three numbers that are not Muon's.
    const Parameter matrix{0, {2, 2, 3}};
    std::vector<double> values(15, 1.0), gradient(15);
    for (std::size_t i = 0; i < 15; ++i) gradient[i] = std::sin(1.0 + static_cast<double>(i));
    const std::vector<double> given = gradient;
    Muon<double> muon({matrix}, 15, {.momentum = 0.75, .scale = 0.5});
    std::vector<double> m(12);
    for (int step = 0; step < 3; ++step) {
        gradient = given;
        const std::vector<double> before = values;
        muon.step(values, gradient, 0.1);
        Arena memory, scratch;
        const Tensor<double> direction = memory.make<double>({4, 3});
        for (std::size_t i = 0; i < 12; ++i) {
            m[i] = 0.75 * m[i] + 0.25 * given[i];
            direction.data()[i] = 0.75 * m[i] + 0.25 * given[i];
        }
        orthogonalize(direction, scratch);
        for (std::size_t i = 0; i < 12; ++i) {
            CHECK(values[i] ==
                  doctest::Approx(before[i] - 0.1 * 0.5 * 2 * direction.data()[i]).epsilon(1e-12));
            CHECK(gradient[i] == 0.0);
        }
        for (std::size_t i = 12; i < 15; ++i) {
            CHECK(values[i] == 1.0);
            CHECK(gradient[i] == given[i]);
        }
    }
}

TEST_CASE("(2.24) in float, too, the share of a new gradient is 1 - momentum to all its digits") {
    std::vector<float> values(4), gradient{1, 2, 3, 4};
    Muon<float> muon({Parameter{0, {2, 2}}}, 4, {.momentum = 0.999});
    muon.step(values, gradient, 0.1);
    for (std::size_t i = 0; i < 4; ++i) {
        CHECK(static_cast<double>(muon.momentum()[i]) ==
              doctest::Approx(1e-3 * static_cast<double>(i + 1)).epsilon(2e-7).scale(0));
    }
}

TEST_SUITE_END();
