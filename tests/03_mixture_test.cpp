#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "03_reverse_process/ancestral.hpp"
#include "03_reverse_process/mixture.hpp"
#include "03_reverse_process/prediction.hpp"
#include "support/varied.hpp"

using namespace diffusion;
using doctest::Approx;

namespace {

GaussianMixture three_blobs() {
    return make_mixture(2, {1.0, 2.0, 1.0}, {-1.0, 0.5, 0.8, 0.2, 0.1, -0.9}, {0.04, 0.09, 0.01});
}

}  // namespace

TEST_SUITE_BEGIN("ch03 math");

TEST_CASE("(3.19): noise moves the mean to a m and the second moment to a^2 E[x^2] + s^2") {
    const GaussianMixture data = three_blobs();
    const Level level{0.6, 0.8};
    const GaussianMixture p = noised(data, level);
    const auto moment = [](const GaussianMixture& mixture, std::size_t d, bool second) {
        double sum = 0;
        for (std::size_t k = 0; k < 3; ++k) {
            const double m = mixture.means[2 * k + d];
            sum += mixture.weights[k] * (second ? m * m + mixture.variances[k] : m);
        }
        return sum;
    };
    for (std::size_t d = 0; d < 2; ++d) {
        CHECK(moment(p, d, false) == Approx(level.a * moment(data, d, false)).epsilon(1e-14));
        CHECK(moment(p, d, true) ==
              Approx(level.a * level.a * moment(data, d, true) + level.s * level.s).epsilon(1e-14));
    }
}

TEST_CASE("(3.20): the exact score is the gradient of the log density") {
    for (double abar : {1.0, 0.9, 0.3, 0.001}) {
        const GaussianMixture p = noised(three_blobs(), {std::sqrt(abar), std::sqrt(1.0 - abar)});
        for (const std::array<double, 2>& x :
             {std::array{0.1, varied(0.2)}, std::array{-0.8, 0.6}, std::array{2.0, varied(-1.5)}}) {
            std::array<double, 2> score{};
            exact_score(p, x, score);
            for (std::size_t i = 0; i < 2; ++i) {
                constexpr double h = 1e-5;
                std::array<double, 2> up = x, down = x;
                up[i] += h;
                down[i] -= h;
                const double slope = (log_density(p, up) - log_density(p, down)) / (2.0 * h);
                CHECK(score[i] == Approx(slope).epsilon(1e-6));
            }
        }
    }
}

TEST_CASE("(3.15) = (3.16): Tweedie's formula and the mixture's posterior mean agree") {
    const GaussianMixture data = three_blobs();
    for (double abar : {0.95, 0.4, 0.01}) {
        const Level level{std::sqrt(abar), std::sqrt(1.0 - abar)};
        const std::array<double, 2> xt = {0.3, -0.4};
        std::array<double, 2> x0{}, eps{}, score{};
        exact_x0(data, level, xt, x0);
        exact_eps(data, level, xt, eps);
        exact_score(noised(data, level), xt, score);
        for (std::size_t i = 0; i < 2; ++i) {
            CHECK(x0_from_score(level, xt[i], score[i]) == Approx(x0[i]).epsilon(1e-10));
            CHECK(x0_from_eps(level, xt[i], eps[i]) == Approx(x0[i]).epsilon(1e-10));
        }
    }
}

TEST_CASE("log-sum-exp: far from all components the log density is finite and the score exact") {
    const GaussianMixture data = make_mixture(1, {1, 1}, {-1.0, 1.0}, {0.01, 0.01});
    const std::array<double, 1> x = {1e4};
    std::array<double, 1> score{};
    exact_score(data, x, score);
    CHECK(score[0] == Approx((1.0 - 1e4) / 0.01).epsilon(1e-12));
    CHECK(log_density(data, x) == Approx(-(1e4 - 1.0) * (1e4 - 1.0) / 0.02).epsilon(1e-6));
}

TEST_CASE("(3.17): the chain driven by the exact score has the mixture's mean and variance") {
    const Schedule schedule = make_schedule("linear", 500);
    const GaussianMixture data = three_blobs();
    constexpr int count = 4000;
    std::vector<double> memory(2 * count);
    const Tensor<double> x(memory.data(), {count, 2});
    const std::uint64_t seed = varied_seed(11);
    start_noise(seed, x);
    ancestral_sample<double>(exact_denoiser<double>(data), moments(schedule, all_times(schedule)),
                             {.noise = fresh_noise<double>(seed)}, x);
    // 4 standard errors, plus 0.01 for 500 steps instead of infinitely many.
    const auto check_average = [](double expected, const auto& value) {
        double mean = 0.0, square = 0.0;
        for (int n = 0; n < count; ++n) mean += value(n) / count;
        for (int n = 0; n < count; ++n) square += std::pow(value(n) - mean, 2) / count;
        CHECK(std::abs(mean - expected) < 4.0 * std::sqrt(square / count) + 0.01);
    };
    for (std::size_t i = 0; i < 2; ++i) {
        double mean = 0.0, variance = 0.0;
        for (std::size_t k = 0; k < 3; ++k) mean += data.weights[k] * data.means[2 * k + i];
        for (std::size_t k = 0; k < 3; ++k)
            variance +=
                data.weights[k] * (std::pow(data.means[2 * k + i] - mean, 2) + data.variances[k]);
        const int c = static_cast<int>(i);
        check_average(mean, [&](int n) { return x(n, c); });
        check_average(variance, [&](int n) { return std::pow(x(n, c) - mean, 2); });
    }
}

TEST_CASE("(3.21): the memorising denoiser ends on training points, and on each of them") {
    std::vector<float> points = {-0.5f, 0.5f, 0.1f, 0.9f, 0.9f, -0.2f, -0.3f, -0.8f};
    for (float& x : points) x = static_cast<float>(varied(static_cast<double>(x)));
    const Tensor<const float> train(points.data(), {4, 2});
    const GaussianMixture mixture = empirical_mixture(train);
    CHECK(mixture.weights == std::vector<double>(4, 0.25));
    CHECK(mixture.variances == std::vector<double>(4, 0.0));
    const Schedule schedule = make_schedule("linear", 200);
    std::vector<float> memory(2 * 64);
    const Tensor<float> x(memory.data(), {64, 2});
    const std::uint64_t seed = varied_seed(5);
    start_noise(seed, x);
    ancestral_sample<float>(exact_denoiser<float>(mixture), moments(schedule, all_times(schedule)),
                            {.noise = fresh_noise<float>(seed)}, x);
    std::array<int, 4> visits{};
    for (int n = 0; n < 64; ++n) {
        float nearest = 1e9f;
        int which = 0;
        for (int k = 0; k < 4; ++k) {
            const float far =
                std::max(std::abs(x(n, 0) - train(k, 0)), std::abs(x(n, 1) - train(k, 1)));
            if (far < nearest) nearest = far, which = k;
        }
        CHECK(nearest < 1e-4f);
        ++visits[std::size_t(which)];
    }
    CHECK(*std::min_element(visits.begin(), visits.end()) > 0);
}
