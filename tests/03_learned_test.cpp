// Chapter 3: the shapes of the plane, and the network that learns their noise.
#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <numbers>
#include <vector>

#include "03_reverse_process/learned.hpp"
#include "tensor/random.hpp"

using namespace diffusion;

TEST_SUITE_BEGIN("ch03 math");

TEST_CASE("every shape has mean 0 and about unit variance, and draws have its moments") {
    constexpr int kDraws = 20'000;
    for (const char* name : kShapeNames) {
        CAPTURE(name);
        const GaussianMixture shape = make_shape(name);
        CHECK(shape.dimensions == 2);
        double mean[2] = {}, square = 0;
        for (int k = 0; k < shape.components(); ++k) {
            const auto i = static_cast<std::size_t>(k);
            CHECK(shape.weights[i] == doctest::Approx(1.0 / shape.components()).epsilon(1e-12));
            for (std::size_t d = 0; d < 2; ++d) {
                mean[d] += shape.means[2 * i + d] / shape.components();
                square += shape.means[2 * i + d] * shape.means[2 * i + d] / shape.components();
            }
        }
        CHECK(std::abs(mean[0]) < 1e-12);
        CHECK(std::abs(mean[1]) < 1e-12);
        CHECK(square / 2 == doctest::Approx(1).epsilon(1e-12));  // the mean of both axes

        Arena arena;
        const Tensor<float> points = arena.make<float>({kDraws, 2});
        draw(shape, 1, 0, points);
        double sum[2] = {}, drawn = 0;
        for (int n = 0; n < kDraws; ++n) {
            for (int d = 0; d < 2; ++d) {
                const double x = static_cast<double>(points(n, d));
                sum[d] += x / kDraws;
                drawn += x * x / kDraws;
            }
        }
        CHECK(std::abs(sum[0]) < 0.05);  // five standard errors are 0.05 at most
        CHECK(std::abs(sum[1]) < 0.05);
        CHECK(drawn / 2 == doctest::Approx(1 + shape.variances[0]).epsilon(0.04));
    }
    CHECK_THROWS_WITH_AS(
        make_shape("square"),
        "shape: there is no square; there are moons, swiss_roll, gaussians and rings", Error);
}

TEST_CASE("a draw depends on its seed, step and number alone") {
    const GaussianMixture shape = make_shape("moons");
    Arena arena;
    const Tensor<float> many = arena.make<float>({9, 2}), few = arena.make<float>({3, 2}),
                        later = arena.make<float>({3, 2});
    draw(shape, 4, 7, many);
    draw(shape, 4, 7, few);
    draw(shape, 4, 8, later);
    for (int i = 0; i < 6; ++i) {
        CHECK(few.data()[i] == many.data()[i]);
        CHECK(later.data()[i] != few.data()[i]);
    }
    CHECK_THROWS_AS(draw(shape, 1, 1, arena.make<float>({3, 3})), Error);
}

TEST_CASE("the network sees place, time and log SNR as stated") {
    const Schedule schedule = make_schedule("cosine", 200);
    Arena arena;
    const Tensor<float> x = arena.make<float>({1, 2}),
                        out = arena.make<float>({1, NoisePredictor::kFeatures});
    x(0, 0) = 0.5f;
    x(0, 1) = -2.0f;
    const std::vector<int> t{50};
    features_of(x, moments(schedule, t), 200, out);
    std::vector<double> expected;
    for (const double place : {0.5, -2.0}) {
        expected.push_back(place);
        for (const double f : {1.5, 3.0, 6.0}) {
            expected.push_back(std::cos(f * place));
            expected.push_back(std::sin(f * place));
        }
    }
    expected.insert(expected.end(), {0.25, schedule.log_snr(50) / 10});
    for (int k = 1; k <= 4; ++k) {
        expected.push_back(std::cos(k * std::numbers::pi / 4));
        expected.push_back(std::sin(k * std::numbers::pi / 4));
    }
    REQUIRE(expected.size() == NoisePredictor::kFeatures);
    for (int i = 0; i < NoisePredictor::kFeatures; ++i) {
        CHECK(static_cast<double>(out(0, i)) ==
              doctest::Approx(expected[static_cast<std::size_t>(i)]).epsilon(1e-6));
    }
}

TEST_CASE(
    "(3.9) (3.14) what the network learns comes near the exact mean of eps, and more steps "
    "nearer") {
    const Schedule schedule = make_schedule("cosine", 200);
    const GaussianMixture shape = make_shape("gaussians");
    const NoisePredictor net;
    const Denoiser<float> exact = exact_denoiser<float>(shape);
    Arena arena;
    constexpr int kPoints = 500, t = 100;
    const Tensor<float> x0 = arena.make<float>({kPoints, 2}), xt = arena.make<float>(x0.shape()),
                        a = arena.make<float>(x0.shape()), b = arena.make<float>(x0.shape());
    draw(shape, 3, 0, x0);
    fill_normal(xt, Random(3, Purpose::test));
    const double signal = schedule.signal(t), noise = schedule.noise(t);
    for (int i = 0; i < 2 * kPoints; ++i) {
        xt.data()[i] = static_cast<float>(signal * static_cast<double>(x0.data()[i]) +
                                          noise * static_cast<double>(xt.data()[i]));
    }
    const Moment at = moments(schedule, std::array{t}).front();
    exact(xt, at, a);
    const auto distance = [&](int steps) {  // of the guesses of x_0, root mean square
        Array<float> values = learn(net, shape, schedule, steps, 1);
        learned_denoiser(net, values, schedule.steps())(xt, at, b);
        double sum = 0;
        for (int i = 0; i < 2 * kPoints; ++i) {
            const double d = static_cast<double>(a.data()[i] - b.data()[i]);
            sum += d * d / (2 * kPoints);
        }
        return std::sqrt(sum);
    };
    const double untrained = distance(0), some = distance(200), more = distance(1000);
    CHECK(untrained > 0.7);
    CHECK(some < 0.5 * untrained);
    CHECK(more < 0.8 * some);
    CHECK(more < 0.2);
}

TEST_SUITE_END();
