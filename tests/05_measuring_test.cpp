#include <doctest/doctest.h>

#include <Eigen/Dense>
#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "02_gradients/gradient_check.hpp"
#include "05_measuring/scores.hpp"
#include "support/varied.hpp"

using namespace diffusion;
using doctest::Approx;
using Eigen::MatrixXd;
using Eigen::VectorXd;

namespace {

/// n points, mean + A eps with eps standard normal.
struct Points {
    Array<float> values;
    int n, d;
    operator Tensor<const float>() const { return values; }
};
Points draw(const VectorXd& mean, const MatrixXd& a, int n, std::uint32_t stream) {
    const int d = static_cast<int>(mean.size());
    Points p{Array<float>({n, d}), n, d};
    Random random(varied_seed(5), Purpose::test, stream);
    for (int i = 0; i < n; ++i) {
        VectorXd eps(d);
        for (double& e : eps) e = random.normal();
        const VectorXd x = mean + a * eps;
        for (int k = 0; k < d; ++k) p.values.tensor()(i, k) = static_cast<float>(x(k));
    }
    return p;
}
Points normals(int n, int d, std::uint32_t stream) {
    return draw(VectorXd::Zero(d), MatrixXd::Identity(d, d), n, stream);
}

MatrixXd matrix(int d, std::uint32_t stream) {
    Random random(varied_seed(6), Purpose::test, stream);
    MatrixXd a(d, d);
    for (int i = 0; i < d * d; ++i) a(i / d, i % d) = random.normal();
    return a;
}
Gaussian gaussian(int d, std::uint32_t stream) {
    const MatrixXd a = matrix(d, stream);
    return {matrix(d, stream + 100).col(0), a * a.transpose()};
}

}  // namespace

TEST_SUITE_BEGIN("ch05 grad");

TEST_CASE("(5.1) the mean over pixels: VJP equals central differences") {
    CHECK(gradient_error({{2, 3, varied_size(4), 5}}, [](auto&, const std::vector<Var<double>>& v) {
              return mean_pixels(v[0]);
          }) < 1e-7);
    Arena arena;
    Tape<double> tape(arena);
    const Tensor<double> x = arena.make<double>({1, 1, 2, 2});
    std::copy_n(std::array{varied(1), 10.0, varied(3), 30.0}.data(), 4, x.data());
    const Tensor<double> y = mean_pixels(tape.constant(x)).value();
    CHECK(y(0, 0) == varied(2));
    CHECK(y(0, 1) == 20.0);
}

TEST_CASE("the judge: gradient of a picture equals central differences") {
    const Classifier network(1, 3);
    Array<double> values(network.parameters().block());
    network.parameters().initialise<double>(values, 3);
    CHECK(
        gradient_error({{2, 8, 6, 1}}, [&](Tape<double>& tape, const std::vector<Var<double>>& v) {
            tape.bind(values.data());
            return network(v[0]).logits;
        }) < 1e-7);
}

TEST_SUITE_END();
TEST_SUITE_BEGIN("ch05 math");

TEST_CASE("(5.2) (5.3) the ends of the interval are the shares that are just compatible") {
    constexpr double z = 1.959964;
    for (const double share : {varied(0.02), varied(0.5), 0.9, 0.983}) {
        for (const int n : {50, varied_size(1000)}) {
            const Interval i = share_interval(share, n);
            for (const double p : {i.low, i.high})
                CHECK(std::abs(share - p) == Approx(z * std::sqrt(p * (1 - p) / n)).epsilon(1e-9));
            CHECK(i.low < share);
            CHECK(share < i.high);
        }
    }
    CHECK(std::abs(share_interval(0, 100).low) < 1e-15);
    CHECK(share_interval(0, 100).high == Approx(0.03699).epsilon(1e-3).scale(0));
    CHECK(share_interval(1, 100).high == Approx(1).epsilon(1e-15));
}

TEST_CASE("(5.4) mean and covariance by hand, and points that count several times") {
    const std::vector<float> x{0, 0, 2, 0, 4, 6};
    const Gaussian g = fit_gaussian({x.data(), {3, 2}});
    CHECK(g.mean(0) == Approx(2));
    CHECK(g.mean(1) == Approx(2));
    CHECK(g.covariance(0, 0) == Approx(4));
    CHECK(g.covariance(1, 1) == Approx(12));
    CHECK(g.covariance(0, 1) == Approx(6));
    const std::vector<float> repeated{0, 0, 0, 0, 4, 6};
    const std::vector<int> times{2, 0, 1};
    const Gaussian a = fit_gaussian({x.data(), {3, 2}}, times),
                   b = fit_gaussian({repeated.data(), {3, 2}});
    CHECK((a.mean - b.mean).norm() < 1e-12);
    CHECK((a.covariance - b.covariance).norm() < 1e-12);
    CHECK_THROWS_AS(fit_gaussian({x.data(), {1, 2}}), Error);
}

TEST_CASE(
    "(5.7) the distance of a Gaussian to itself is 0, shifts and scales give what they should") {
    const int d = 6;
    const Gaussian a = gaussian(d, 1);
    CHECK(std::abs(frechet_distance(a, a)) < 1e-9);
    Gaussian shifted = a;
    shifted.mean.array() += 0.5;
    CHECK(frechet_distance(a, shifted) == Approx(0.25 * d).epsilon(1e-9));
    // sigma^2 and tau^2 in every direction: d (sigma - tau)^2.
    const Gaussian s{VectorXd::Zero(d), 4.0 * MatrixXd::Identity(d, d)},
        t{VectorXd::Zero(d), 9.0 * MatrixXd::Identity(d, d)};
    CHECK(frechet_distance(s, t) == Approx(d).epsilon(1e-12));
    // c times as wide: (c - 1)^2 tr S.
    const Gaussian wide{a.mean, 2.25 * a.covariance};
    CHECK(frechet_distance(a, wide) == Approx(0.25 * a.covariance.trace()).epsilon(1e-9));
    // A point: what is left is the mean square distance to it.
    const Gaussian point{VectorXd::Zero(d), MatrixXd::Zero(d, d)};
    CHECK(frechet_distance(a, point) ==
          Approx(a.mean.squaredNorm() + a.covariance.trace()).epsilon(1e-9));
}

TEST_CASE("(5.7) is symmetric, blind to rotations, and equals the form with eigenvalues of S1 S2") {
    for (const int d : {1, 2, 7, 16}) {
        const Gaussian a = gaussian(d, 2), b = gaussian(d, 3);
        const double distance = frechet_distance(a, b);
        CHECK(frechet_distance(b, a) == Approx(distance).epsilon(1e-9));
        const MatrixXd q = Eigen::HouseholderQR<MatrixXd>(matrix(d, 4)).householderQ();
        const auto turned = [&](const Gaussian& g) {
            return Gaussian{q * g.mean, q * g.covariance * q.transpose()};
        };
        CHECK(frechet_distance(turned(a), turned(b)) == Approx(distance).epsilon(1e-9));
        const Eigen::VectorXcd eigenvalues =
            Eigen::EigenSolver<MatrixXd>(a.covariance * b.covariance).eigenvalues();
        double roots = 0;
        for (const std::complex<double>& v : eigenvalues) roots += std::sqrt(v).real();
        CHECK((b.mean - a.mean).squaredNorm() + (a.covariance + b.covariance).trace() - 2 * roots ==
              Approx(distance).epsilon(1e-7));
    }
}

TEST_CASE("(5.5) (5.6) the best coupling reaches the distance, and no other comes below it") {
    const int d = 4;
    const Gaussian a = gaussian(d, 5), b = gaussian(d, 6);
    const auto root = [](const MatrixXd& s) {
        return MatrixXd(Eigen::SelfAdjointEigenSolver<MatrixXd>(s).operatorSqrt());
    };
    const MatrixXd ra = root(a.covariance), rb = root(b.covariance);
    // E |x - y|^2 for a joint Gaussian with cross-covariance C = ra K rb, |K| <= 1.
    const auto cost = [&](const MatrixXd& k) {
        return (b.mean - a.mean).squaredNorm() + (a.covariance + b.covariance).trace() -
               2 * (ra * k * rb).trace();
    };
    const Eigen::JacobiSVD<MatrixXd> svd(rb * ra, Eigen::ComputeFullU | Eigen::ComputeFullV);
    const double distance = frechet_distance(a, b);
    CHECK(cost(svd.matrixV() * svd.matrixU().transpose()) == Approx(distance).epsilon(1e-9));
    CHECK(cost(MatrixXd::Identity(d, d)) > distance);
    // (5.6) itself, by drawing pairs: y is x's own noise turned by K, and so C = ra K rb.
    const MatrixXd k = Eigen::HouseholderQR<MatrixXd>(matrix(d, 9)).householderQ();
    constexpr int kPairs = 40'000;
    double mean = 0, square = 0;
    for (std::uint32_t i = 0; i < kPairs; ++i) {
        VectorXd z(d);
        Random random(3, Purpose::test, 5, i);
        for (double& v : z) v = random.normal();
        const double cost_of_pair = (a.mean + ra * k * z - b.mean - rb * z).squaredNorm();
        mean += cost_of_pair / kPairs;
        square += cost_of_pair * cost_of_pair / kPairs;
    }
    CHECK(std::abs(mean - cost(k)) < 4 * std::sqrt((square - mean * mean) / kPairs));
    for (std::uint32_t i = 0; i < 50; ++i) {
        const MatrixXd q = Eigen::HouseholderQR<MatrixXd>(matrix(d, 10 + i)).householderQ();
        CHECK(cost(q) >= distance);
        CHECK(cost(0.5 * q) >= distance);
    }
}

TEST_CASE("(5.8) the distance that n draws have from their own Gaussian, by simulation") {
    const int d = 5, n = 400, repeats = 300;
    VectorXd deviation(d);
    deviation << 2, 1, 0.5, 0.1, 0.0;  // a direction without spread counts nothing
    const Gaussian truth{VectorXd::Zero(d), deviation.cwiseAbs2().asDiagonal()};
    double mean = 0;
    for (int r = 0; r < repeats; ++r) {
        mean += frechet_distance(truth, fit_gaussian(draw(truth.mean, deviation.asDiagonal(), n,
                                                          1000 + static_cast<std::uint32_t>(r)))) /
                repeats;
    }
    CHECK(mean == Approx(frechet_bias(truth, n)).epsilon(0.08).scale(0));
    // The identity: D / n for the mean, (D^2 + D) / 4n for the covariance.
    const Gaussian unit{VectorXd::Zero(d), MatrixXd::Identity(d, d)};
    CHECK(frechet_bias(unit, n) == Approx((d + (d * d + d) / 4.0) / n).epsilon(1e-12));
}

TEST_CASE(
    "(5.9) the bootstrap's interval is as wide as fresh samples scatter, around the distance") {
    const int d = 3, n = 500, repeats = 200;
    Gaussian reference{VectorXd::Zero(d), MatrixXd::Identity(d, d)};
    reference.mean(0) = 1;
    double mean = 0, square = 0, width = 0;
    for (std::uint32_t r = 0; r < repeats; ++r) {
        const Points x = normals(n, d, 2000 + r);
        const double distance = frechet_distance(reference, fit_gaussian(x));
        mean += distance / repeats;
        square += distance * distance / repeats;
        if (r % 20 == 0) {
            const Interval i = frechet_interval(x, reference, distance, r);
            CHECK(i.low < distance);
            CHECK(distance < i.high);
            width += (i.high - i.low) / 10;
        }
    }
    const double deviation = std::sqrt(square - mean * mean);
    CHECK(width == Approx(2 * 1.96 * deviation).epsilon(0.15).scale(0));
}

TEST_CASE("(5.9) the interval lies around the distance, not where resampling has moved it to") {
    const int d = 20, n = 100;  // the bias of one sampling more is ten times the scatter
    const Gaussian reference{VectorXd::Zero(d), MatrixXd::Identity(d, d)};
    const Points x = normals(n, d, 77);
    const double distance = frechet_distance(reference, fit_gaussian(x));
    const Interval i = frechet_interval(x, reference, distance, 1);
    CHECK(i.low < distance);
    CHECK(distance < i.high);
    CHECK(i.high - i.low < 2 * frechet_bias(reference, n));  // that would show
    // At the floor it is too wide, by no more than about root 3. Upper halves are compared: the
    // lower ends are cut off at 0.
    const Gaussian true_one{VectorXd::Zero(4), MatrixXd::Identity(4, 4)};
    std::vector<double> far;
    double upper = 0;
    for (std::uint32_t r = 0; r < 400; ++r) {
        const Points other = normals(400, 4, 5000 + r);
        far.push_back(frechet_distance(true_one, fit_gaussian(other)));
        if (r % 20 == 0)
            upper += (frechet_interval(other, true_one, far.back(), r).high - far.back()) / 20;
    }
    double mean = 0;
    for (const double v : far) mean += v / 400;
    std::ranges::sort(far);
    CHECK(upper / (far[390] - mean) > 1.1);
    CHECK(upper / (far[390] - mean) < 2);
}

TEST_CASE(
    "(5.10) (5.11) (5.17) the kernel distance equals obvious loops; for equal sets its mean is 0, "
    "and its error root 2 too large") {
    const int d = 4;
    const Points x = normals(varied_size(41), d, 1),
                 y = draw(VectorXd::Constant(d, 0.4), MatrixXd::Identity(d, d), 33, 2);
    const auto kernel = [](const float* a, const float* b) {
        double product = 0;
        for (int c = 0; c < d; ++c)
            product += static_cast<double>(a[c]) * static_cast<double>(b[c]);
        return std::pow(product / d + 1, 3);
    };
    const auto mean = [&](const Points& a, const Points& b, bool same) {
        double sum = 0, count = 0;
        for (int i = 0; i < a.n; ++i) {
            for (int j = 0; j < b.n; ++j) {
                if (same && i == j) continue;
                sum += kernel(a.values.data() + i * d, b.values.data() + j * d);
                ++count;
            }
        }
        return sum / count;
    };
    CHECK(kernel_distance(x, y).value ==
          Approx(mean(x, x, true) + mean(y, y, true) - 2 * mean(x, y, false)).epsilon(1e-5));
    const int repeats = 1'000;
    const auto ratio = [&](double shift) {  // of the mean error to the deviation
        double sum = 0, square = 0, error = 0;
        for (std::uint32_t r = 0; r < repeats; ++r) {
            const KernelDistance k = kernel_distance(
                normals(60, d, 3000 + 2 * r),
                draw(VectorXd::Constant(d, shift), MatrixXd::Identity(d, d), 60, 3001 + 2 * r));
            sum += k.value / repeats;
            square += k.value * k.value / repeats;
            error += k.error / repeats;
        }
        const double deviation = std::sqrt(square - sum * sum);
        if (shift == 0) CHECK(std::abs(sum) < 4 * deviation / std::sqrt(repeats));
        return error / deviation;
    };
    CHECK(ratio(0) == Approx(std::sqrt(2)).epsilon(0.1).scale(0));
    CHECK(ratio(1) == Approx(1).epsilon(0.15).scale(0));
    CHECK_THROWS_WITH_AS(kernel_distance(normals(19, d, 1), y),
                         "kernel_distance: 19 and 33 points, expected at least 20", Error);
}

TEST_CASE("(5.12) nearest neighbours equal those of obvious loops, for odd sizes") {
    for (const int d : {1, 7, 64}) {
        const Points x = normals(53, d, 7), y = normals(70, d, 8);
        const Neighbours found = nearest_neighbours(x, y, 3);
        for (int i = 0; i < x.n; ++i) {
            std::vector<std::pair<double, int>> all;
            for (int j = 0; j < y.n; ++j) {
                double square = 0;
                for (int c = 0; c < d; ++c) {
                    const double off =
                        static_cast<double>(x.values[static_cast<std::size_t>(i * d + c)] -
                                            y.values[static_cast<std::size_t>(j * d + c)]);
                    square += off * off;
                }
                all.emplace_back(std::sqrt(square), j);
            }
            std::ranges::sort(all);
            for (std::size_t k = 0; k < 3; ++k) {
                const std::size_t at = static_cast<std::size_t>(i) * 3 + k;
                // (5.12) subtracts numbers of the size of d.
                const double square = std::pow(static_cast<double>(found.distance[at]), 2);
                CHECK(std::abs(square - all[k].first * all[k].first) < 1e-6 * (d + 20));
                if (d > 1) CHECK(found.index[at] == all[k].second);
            }
        }
        const Neighbours own = nearest_neighbours(x, x, 1),
                         other = nearest_neighbours(x, x, 1, true);
        for (int i = 0; i < x.n; ++i) {
            CHECK(own.nearest(i) < 0.01f);
            CHECK(other.index[static_cast<std::size_t>(i)] != i);
        }
    }
    CHECK_THROWS_WITH_AS(nearest_neighbours(normals(3, 2, 1), normals(3, 2, 1), 3, true),
                         "nearest_neighbours: 3 among 3 points", Error);
}

TEST_CASE("(5.13) precision counts samples far from the data, recall data far from the samples") {
    const Points real = normals(300, 2, 9);
    const PrecisionRecall same = precision_recall(real, real);
    CHECK(same.precision == 1);
    CHECK(same.recall == 1);
    Points half = normals(300, 2, 10);  // half of the samples are somewhere else
    for (std::size_t i = 0; i < 300; ++i) half.values[i] += 100;
    const PrecisionRecall p = precision_recall(half, real);
    CHECK(p.precision == Approx(0.5).epsilon(0.1).scale(0));
    CHECK(p.recall > 0.8);
    Points one = normals(300, 2, 11);  // all samples are in one place
    for (float& v : one.values) v = 0.01f * v;
    const PrecisionRecall r = precision_recall(one, real);
    CHECK(r.precision > 0.9);
    CHECK(r.recall < 0.1);
    Points far = real;
    for (float& v : far.values) v += 100;
    CHECK(precision_recall(far, real).precision == 0);
    CHECK(precision_recall(far, real).recall == 0);
}

TEST_CASE("(5.13) balls reach to the k-th neighbour: five points on a line, by hand") {
    const auto line = [](const std::vector<float>& places) {
        Points points{Array<float>(Shape{5, 1}), 5, 1};
        std::ranges::copy(places, points.values.begin());
        return points;
    };
    Points real = line({0, 1, 3, 7, 15}), samples = line({-1.5f, -5, -8, 2, 100});
    for (Points* p : {&real, &samples})
        for (float& x : p->values) x = static_cast<float>(varied(static_cast<double>(x)));
    // Around 0 the ball has the radius 1 for k = 1, then 3, 7 and 15 (in any unit).
    const std::vector<double> precision{0.2, 0.4, 0.6, 0.8};
    for (int k = 1; k <= 4; ++k)
        CHECK(precision_recall(samples, real, k).precision ==
              Approx(precision[static_cast<std::size_t>(k - 1)]));
    CHECK(precision_recall(samples, real).precision == Approx(0.6));
    CHECK(precision_recall(real, samples).recall == Approx(0.6));
}

TEST_SUITE_END();
