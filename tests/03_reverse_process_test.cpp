#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "03_reverse_process/ancestral.hpp"
#include "03_reverse_process/mixture.hpp"
#include "03_reverse_process/posterior.hpp"
#include "03_reverse_process/prediction.hpp"
#include "support/file_checks.hpp"
#include "support/varied.hpp"
#include "tensor/random.hpp"

using namespace diffusion;
using doctest::Approx;

namespace {

const std::array<std::array<double, 2>, 7> kLevels = {
    {{0.3, varied(0.31)},
     {0.5, 0.9},
     {1e-4, 0.2},
     {0.98, 0.99},
     {0.0, 0.4},
     {0.7, 1.0},
     {0.0, 1.0}}};  // abar_t, abar_s; 1: the picture itself

Level of_abar(double abar) {
    return {std::sqrt(abar), std::sqrt(1.0 - abar)};
}

}  // namespace

TEST_SUITE_BEGIN("ch03 math");

TEST_CASE("(3.4), (3.5): the posterior is the conditional of the joint Gaussian of x_s and x_t") {
    for (const auto& [abar_t, abar_s] : kLevels) {
        // Given x_0: Var x_s, Cov(x_s, x_t) = sqrt(alpha) Var x_s, Var x_t; then condition.
        const double alpha = abar_t / abar_s, var_s = 1.0 - abar_s;
        const double covariance = std::sqrt(alpha) * var_s, var_t = alpha * var_s + 1.0 - alpha;
        const double gain = covariance / var_t;
        const Posterior q = posterior(of_abar(abar_t), of_abar(abar_s));
        CHECK(std::abs(q.xt - gain) < 1e-12);
        CHECK(std::abs(q.x0 - (std::sqrt(abar_s) - gain * std::sqrt(abar_t))) < 1e-12);
        CHECK(std::abs(q.small_variance - (var_s - gain * covariance)) < 1e-12);
    }
}

TEST_CASE("(3.1) to (3.5): the posterior by simulation, from chains that arrive near one x_t") {
    // Two steps of the chain from x_0 = 0.8; where x_2 comes out within 0.01 of 0.3, x_1 must have
    // the posterior's mean and variance.
    const Schedule schedule = schedule_from_betas("by hand", {0.3, 0.4});
    const double x0 = varied(0.8), at = 0.3;
    const Posterior q = posterior(schedule, 2, 1);
    double sum = 0, square = 0;
    int count = 0;
    Random random(varied_seed(21), Purpose::test);
    for (int i = 0; i < 2'000'000; ++i) {
        const double x1 = std::sqrt(0.7) * x0 + std::sqrt(0.3) * random.normal();
        const double x2 = std::sqrt(0.6) * x1 + std::sqrt(0.4) * random.normal();
        if (std::abs(x2 - at) > 0.01) continue;
        const double x = x1 - q.xt * (x2 - at);  // moved along to x_t = 0.3 exactly
        sum += x;
        square += x * x;
        ++count;
    }
    REQUIRE(count > 10'000);
    const double mean = sum / count, variance = square / count - mean * mean;
    const double deviation = std::sqrt(q.small_variance);
    CHECK(std::abs(mean - (q.x0 * x0 + q.xt * at)) < 5 * deviation / std::sqrt(count));
    CHECK(variance == doctest::Approx(q.small_variance).epsilon(5 * std::sqrt(2.0 / count)));
}

TEST_CASE("(3.2): posterior times marginal gives back q(x_s | x_0)") {
    for (const auto& [abar_t, abar_s] : kLevels) {
        const Posterior q = posterior(of_abar(abar_t), of_abar(abar_s));
        CHECK(q.x0 + q.xt * std::sqrt(abar_t) == Approx(std::sqrt(abar_s)).epsilon(1e-12));
        CHECK(q.xt * q.xt * (1.0 - abar_t) + q.small_variance ==
              Approx(1.0 - abar_s).epsilon(1e-12));
    }
}

TEST_CASE("(3.4) (3.5): the last step's posterior is the picture, for any x_t") {
    const Schedule schedule = make_schedule("cosine", varied_size(50));
    for (const int t : {1, 2, varied_size(20), schedule.steps()}) {
        const Posterior q = posterior(schedule, t, 0);
        CHECK(q.x0 == Approx(1).epsilon(1e-14));
        CHECK(q.xt == 0.0);
        CHECK(q.small_variance == 0.0);
    }
}

TEST_CASE("(3.6): the large variance is beta_t for neighbours, and above the small one") {
    const Schedule schedule = make_schedule("linear", 1000);
    for (int t = 1; t <= 1000; ++t) {
        const Posterior q = posterior(schedule, t, t - 1);
        CHECK(q.large_variance ==
              Approx(schedule.beta[static_cast<std::size_t>(t)]).epsilon(1e-10));
        CHECK(q.small_variance <= q.large_variance);
    }
    CHECK(posterior(schedule, 1, 0).small_variance == 0.0);
}

TEST_CASE("(3.8) (3.9) (3.10): the ELBO weight is the Gaussian KL divergence per squared error") {
    for (const auto& [abar_t, abar_s] : kLevels) {
        if (abar_t == 0.0 || abar_s == 1.0) continue;
        const Posterior q = posterior(of_abar(abar_t), of_abar(abar_s));
        const double x0_error = std::sqrt((1.0 - abar_t) / abar_t);  // of an error of 1 in eps
        const double kl = std::pow(q.x0 * x0_error, 2) / (2.0 * q.small_variance);
        CHECK(elbo_weight(abar_t, abar_s) == Approx(kl).epsilon(1e-12));
        const double snr = abar_s / (1.0 - abar_s) - abar_t / (1.0 - abar_t);
        CHECK(elbo_weight(abar_t, abar_s) ==
              Approx(0.5 * snr * x0_error * x0_error).epsilon(1e-10));  // (3.10)
    }
}

TEST_CASE("(3.11) to (3.15): every prediction leads to the same x_0 and eps") {
    const double x0 = varied(0.7), eps = -1.3;
    for (double abar : {0.02, 0.5, 0.97}) {
        const Level level{std::sqrt(abar), std::sqrt(1.0 - abar)};
        const double xt = level.a * x0 + level.s * eps;
        CHECK(eps_from_x0(level, xt, x0) == Approx(eps).epsilon(1e-12));
        CHECK(eps_from_v(level, xt, v_from(level, x0, eps)) == Approx(eps).epsilon(1e-12));
        CHECK(eps_from_score(level, score_from_eps(level, eps)) == Approx(eps).epsilon(1e-12));
        for (const NamedPrediction& each : kPredictions) {
            CAPTURE(each.name);
            const double said = wanted_from(each.kind, level, x0, eps);
            CHECK(x0_from(each.kind, level, xt, said) == Approx(x0).epsilon(1e-12));
        }
    }
    CHECK(wanted_from(Prediction::v, Level{0.6, 0.8}, 1.0, 0.5) == Approx(-0.5));  // 0.3 - 0.8
    CHECK(wanted_from(Prediction::score, Level{0.6, 0.8}, 1.0, 0.5) == Approx(-0.625));
    CHECK(prediction_from_name("v") == Prediction::v);
    for (const NamedPrediction& each : kPredictions)
        CHECK(prediction_name(prediction_from_name(each.name)) == std::string(each.name));
}

TEST_CASE(
    "(3.22) (3.23): the small variance is right for a point, the large one for unit variance") {
    const Schedule schedule = make_schedule("linear", 100);
    const std::vector<Moment> times = moments(schedule, all_times(schedule));
    const MeanAndVariance point = ancestral_moments(times, Variance::small, {0.6, 0.0});
    CHECK(point.mean == Approx(0.6).epsilon(1e-12));
    CHECK(std::abs(point.variance) < 1e-12);
    // The last step adds no noise, so a share abar_1 of the variance 1 is left.
    const MeanAndVariance unit = ancestral_moments(times, Variance::large, {0.0, 1.0});
    CHECK(unit.variance == Approx(schedule.alpha_bar[1]).epsilon(1e-12));
}

TEST_CASE("(3.23): both variances approach the data as the steps become many") {
    double small_before = 1.0, large_before = 1.0;
    for (int T : {50, 200, 800, 3200}) {
        const Schedule schedule = make_schedule("linear", T);
        const std::vector<Moment> times = moments(schedule, all_times(schedule));
        const MeanAndVariance data{0.5, 0.25};
        const MeanAndVariance a = ancestral_moments(times, Variance::small, data);
        const MeanAndVariance b = ancestral_moments(times, Variance::large, data);
        const double small = std::abs(a.variance - 0.25), large = std::abs(b.variance - 0.25);
        CHECK(small < 0.5 * small_before);
        CHECK(large < 0.5 * large_before);
        CHECK(a.variance < 0.25);  // each step leaves out what is uncertain about x_0
        small_before = small;
        large_before = large;
    }
}

TEST_CASE("(3.17) = (3.23): sampled chains have the moments of the recursion, at any times") {
    const Schedule schedule = make_schedule("cosine", 100);
    const std::vector<Moment> times =
        moments(schedule, std::array{varied_size(90), 60, 45, 20, 7, 0});
    constexpr int count = 20000;
    for (Variance variance : {Variance::small, Variance::large}) {
        const MeanAndVariance data{0.4, 0.3};
        const MeanAndVariance expected = ancestral_moments(times, variance, data);
        std::vector<double> memory(count);
        const Tensor<double> x(memory.data(), {count, 1});
        const std::uint64_t seed = varied_seed(3);
        start_noise(seed, x);
        ancestral_sample<double>(exact_denoiser<double>(make_mixture(1, {1}, {0.4}, {0.3})), times,
                                 {.variance = variance, .noise = fresh_noise<double>(seed)}, x);
        double mean = 0.0, square = 0.0;
        for (double value : memory) mean += value / count;
        for (double value : memory) square += (value - mean) * (value - mean) / count;
        CHECK(std::abs(mean - expected.mean) < 4.0 * std::sqrt(expected.variance / count));
        CHECK(std::abs(square - expected.variance) <
              4.0 * expected.variance * std::sqrt(2.0 / count));
    }
}

TEST_CASE("(3.18): the clip bounds the result; a chain depends on its sample number alone") {
    const Schedule schedule = make_schedule("linear", 50);
    const std::vector<Moment> path = moments(schedule, all_times(schedule));
    const Denoiser<double> wrong = [](Tensor<const double>, const Moment&, Tensor<double> x0) {
        std::fill(x0.begin(), x0.end(), 3.0);
    };
    std::vector<double> both(2), second(1);
    const Tensor<double> x(both.data(), {2, 1}), y(second.data(), {1, 1});
    start_noise(1, x);
    start_noise(1, y, 1);
    std::vector<double> seen;
    const auto look = [&](const Moment& at, Tensor<const double>) { seen.push_back(at.t); };
    ancestral_sample<double>(wrong, path, {.clip = 1.0, .observer = look}, x);
    ancestral_sample<double>(wrong, path, {.clip = 1.0, .noise = fresh_noise<double>(1, 1)}, y);
    CHECK(both[0] == 1.0);
    CHECK(both[1] == second[0]);
    REQUIRE(seen.size() == path.size() - 1);
    for (std::size_t i = 0; i < seen.size(); ++i) CHECK(seen[i] == path[i + 1].t);
    start_noise(1, x);
    ancestral_sample<double>(wrong, path, {}, x);
    CHECK(both[0] > 1.0);
}

TEST_CASE("even times fall strictly from T to 0, whatever the number of steps") {
    for (int steps : {1, 7, 50, 999, 1000}) {
        const std::vector<int> times = even_times(1000, steps);
        CHECK(std::ssize(times) == steps + 1);
        CHECK(times.front() == 1000);
        CHECK(times.back() == 0);
        for (std::size_t i = 1; i < times.size(); ++i) CHECK(times[i] < times[i - 1]);
    }
    CHECK_THROWS_WITH_AS(even_times(1000, 1001), "sampling: steps is 1001, expected 1..1000",
                         Error);
}

TEST_CASE("(3.4) (3.5) levels that do not preserve the variance have their posterior, too") {
    // Scaled by r the picture is x / r with the levels divided by r: nothing else may change.
    const Level t{0.3, 0.8}, s{0.7, 0.4};
    const double norm_t = std::hypot(t.a, t.s), norm_s = std::hypot(s.a, s.s);
    const Posterior q = posterior(t, s), unit = posterior(Level{t.a / norm_t, t.s / norm_t},
                                                          Level{s.a / norm_s, s.s / norm_s});
    CHECK(q.x0 == Approx(norm_s * unit.x0).epsilon(1e-12));
    CHECK(q.xt == Approx(norm_s / norm_t * unit.xt).epsilon(1e-12));
    CHECK(q.small_variance == Approx(norm_s * norm_s * unit.small_variance).epsilon(1e-12));
    const Posterior from_noise = posterior(Level{0, 1}, s);  // of x_0 nothing is left in x_t
    CHECK(from_noise.xt == 0);
    CHECK(from_noise.x0 == Approx(s.a).epsilon(1e-15));
    CHECK(from_noise.small_variance == Approx(s.s * s.s).epsilon(1e-15));
}

TEST_CASE("(3.17) fresh noise may come from outside, and sampling may stop early") {
    const Schedule schedule = make_schedule("cosine", 100);
    const std::vector<Moment> path = moments(schedule, std::array{100, 60, 30});
    const Denoiser<double> half = [](Tensor<const double> xt, const Moment&, Tensor<double> x0) {
        for (std::ptrdiff_t i = 0; i < xt.numel(); ++i) x0.data()[i] = 0.5 * xt.data()[i];
    };
    std::vector<double> memory{varied(0.3)};
    const Tensor<double> x(memory.data(), {1, 1});
    double expected = memory[0];
    for (std::size_t i = 0; i < 2; ++i) {
        const Posterior q = posterior(path[i].level, path[i + 1].level);
        expected = (0.5 * q.x0 + q.xt) * expected +
                   std::sqrt(q.small_variance) * (static_cast<double>(i) + 1);
    }
    const auto noise = [](int step, Tensor<double> z) { z(0, 0) = step + 1; };
    ancestral_sample<double>(half, path, {.noise = noise}, x);
    CHECK(memory[0] == Approx(expected).epsilon(1e-13));
}

TEST_CASE("bad input is an Error") {
    const Schedule schedule = make_schedule("linear", 50);
    CHECK_THROWS_AS(posterior(of_abar(0.5), of_abar(0.5)), Error);
    CHECK_THROWS_AS(posterior(of_abar(0.5), of_abar(1.5)), Error);
    CHECK_THROWS_AS(posterior(schedule, 3, 3), Error);
    CHECK_THROWS_AS(posterior(schedule, 51, 3), Error);
    CHECK_THROWS_AS(elbo_weight(0.5, 1.0), Error);
    CHECK(contains(error_of([] { prediction_from_name("epsilon"); }),
                   "prediction \"epsilon\": use eps, x0, v or score"));
    for (const std::vector<int>& times :
         std::vector<std::vector<int>>{{}, {0}, {5, 5, 0}, {3, 5, 0}, {60, 0}})
        CHECK_THROWS_AS(ancestral_moments(moments(schedule, times), Variance::small, {}), Error);
    CHECK_THROWS_AS(make_mixture(2, {1.0}, {0.0}, {1.0}), Error);
    CHECK_THROWS_AS(make_mixture(1, {0.0}, {0.0}, {1.0}), Error);
    CHECK_THROWS_AS(make_mixture(1, {1.0}, {0.0}, {-1.0}), Error);
    const GaussianMixture point = make_mixture(1, {1.0}, {0.0}, {0.0});
    std::vector<double> x(1), two(2);
    CHECK_THROWS_AS(log_density(point, x), Error);
    CHECK_THROWS_AS(log_density(point, two), Error);
    CHECK_THROWS_AS(exact_eps(point, {1.0, 0.0}, x, x), Error);
}
