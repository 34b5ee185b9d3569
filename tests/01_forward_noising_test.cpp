// Chapter 1: every equation of the lesson, exactly where the mathematics is exact and by sampling
// where it is not.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "01_forward_noising/chain.hpp"
#include "01_forward_noising/q_sample.hpp"
#include "support/varied.hpp"
#include "tensor/random.hpp"

using namespace diffusion;

namespace {

double relative(double got, double want) {
    return std::abs(got - want) / std::abs(want);
}

/// Without the cosine: it is an exercise of its own, which should not be in the way of the others.
std::vector<Schedule> some_schedules(int T) {
    return {make_schedule("linear", T), make_schedule("scaled_linear", T),
            make_schedule("sigmoid", T)};
}

std::vector<double> normals(int count, std::uint32_t step) {
    std::vector<double> values(static_cast<std::size_t>(count));
    fill_normal(Tensor<double>(values.data(), {count}),
                Random(varied_seed(7), Purpose::test, step));
    return values;
}

Tensor<double> view(std::vector<double>& values) {
    return {values.data(), {static_cast<int>(values.size())}};
}

/// Mean and variance are these, each within four standard errors (of Gaussian values).
void check_moments(const std::vector<double>& values, double mean, double variance) {
    const double n = static_cast<double>(values.size());
    double sum = 0.0, squares = 0.0;
    for (double x : values) {
        sum += x - mean;
        squares += (x - mean) * (x - mean);
    }
    CHECK(std::abs(sum / n) < 4.0 * std::sqrt(variance / n));
    CHECK(std::abs(squares / n - variance) < 4.0 * variance * std::sqrt(2.0 / n));
}

}  // namespace

TEST_SUITE_BEGIN("ch01 math");

TEST_CASE("(1.1) a step draws from N(sqrt(1 - beta) x, beta)") {
    const Schedule schedule = schedule_from_betas("by hand", {0.3, 0.2});
    const double pixel = varied(1.5);
    std::vector<double> x(200'000, pixel), eps = normals(200'000, 1), out(x);
    q_step<double>(view(x), 1, view(eps), schedule, view(out));
    check_moments(out, pixel * std::sqrt(0.7), 0.3);
}

TEST_CASE_TEMPLATE("(1.2) a step is sqrt(1 - beta) x + sqrt(beta) eps", T, float, double) {
    const Schedule schedule = schedule_from_betas("by hand", {0.5, 0.36});
    const T u = static_cast<T>(varied(1));
    std::vector<T> x = {u, -2 * u, 0}, eps = {0, u, -3 * u}, out(3);
    const Shape shape{1, 3};
    q_step<T>({x.data(), shape}, 2, {eps.data(), shape}, schedule, Tensor<T>(out.data(), shape));
    const double want[] = {0.8, -1.0, -1.8};  // roots of 0.64 and 0.36
    for (std::size_t i = 0; i < 3; ++i)
        CHECK(std::abs(static_cast<double>(out[i]) - varied(want[i])) <
              4.0 * static_cast<double>(std::numeric_limits<T>::epsilon()));
}

TEST_CASE("(1.3) = (1.4): t chained steps and one jump are the same Gaussian") {
    const int T = varied_size(1000);
    for (const Schedule& schedule : some_schedules(T)) {
        const std::vector<MeanAndVariance> moments = chain_moments(schedule);
        REQUIRE(moments.size() == static_cast<std::size_t>(T) + 1);
        for (int t = 1; t <= T; ++t) {
            const auto [mean, variance] = moments[schedule.at(t)];
            CHECK(relative(mean, schedule.signal(t)) < 1e-12);
            CHECK(relative(variance, schedule.noise(t) * schedule.noise(t)) < 1e-11);
        }
    }
}

TEST_CASE("(1.3) the moments of simulated chains are those of (1.4), by sampling") {
    const std::vector<int> times = {0, 1, 40, 100};
    for (const Schedule& schedule : some_schedules(100)) {
        const auto chain = run_chain(schedule, -0.7, 20'000, times, varied_seed(3));
        CHECK(chain[0] == std::vector<double>(20'000, -0.7));
        for (std::size_t i = 1; i < times.size(); ++i)
            check_moments(chain[i], -0.7 * schedule.signal(times[i]),
                          1.0 - schedule.alpha_bar[schedule.at(times[i])]);
    }
}

TEST_CASE("(1.2) -> (1.4): the steps' noises add up to the one noise of the jump, to rounding") {
    const int T = varied_size(200), kPixels = 6;
    for (const Schedule& schedule : some_schedules(T)) {
        std::vector<double> x0 = normals(kPixels, 1000), x = x0, sum(kPixels, 0.0), jump(kPixels);
        double weights = 0.0;
        for (int t = 1; t <= T; ++t) {
            std::vector<double> eps = normals(kPixels, static_cast<std::uint32_t>(t));
            q_step<double>(view(x), t, view(eps), schedule, view(x));
            double rest = 1.0;  // what later steps leave of this step's noise
            for (int later = t + 1; later <= T; ++later)
                rest *= 1.0 - schedule.beta[schedule.at(later)];
            const double weight = std::sqrt(schedule.beta[schedule.at(t)] * rest);
            weights += weight * weight;
            for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += weight * eps[i];
        }
        CHECK(relative(weights, 1.0 - schedule.alpha_bar.back()) < 1e-12);
        for (double& s : sum) s /= schedule.noise(T);
        const std::vector<int> t(kPixels, T);
        q_sample<double>(view(x0), t, view(sum), schedule, view(jump));
        for (std::size_t i = 0; i < x.size(); ++i) CHECK(std::abs(x[i] - jump[i]) < 1e-12);
    }
}

TEST_CASE_TEMPLATE("(1.4) q_sample noises each sample to its own time, and may work in place", T,
                   float, double) {
    const Schedule schedule = schedule_from_betas("by hand", {0.36, 0.75});  // alpha_bar 0.64, 0.16
    const T u = static_cast<T>(varied(1));
    std::vector<T> x = {u, 2 * u, u, 2 * u, u, 2 * u}, eps = {u, u, -u, 0, -u, u};
    const std::vector<int> t = {0, 1, 2};
    const Shape shape{3, 1, 2, 1};
    q_sample<T>({x.data(), shape}, t, {eps.data(), shape}, schedule, Tensor<T>(x.data(), shape));
    const double root = std::sqrt(0.84), want[] = {1.0, 2.0, 0.2, 1.6, 0.4 - root, 0.8 + root};
    for (std::size_t i = 0; i < 6; ++i)
        CHECK(std::abs(static_cast<double>(x[i]) - varied(want[i])) <
              4.0 * static_cast<double>(std::numeric_limits<T>::epsilon()));
}

TEST_CASE("(1.4) jumps to t have mean a(t) x_0 and variance s(t)^2, by sampling") {
    const Schedule schedule = make_schedule("sigmoid", 1000);
    for (int t : {10, 400, 1000}) {
        const std::vector<int> times(100'000, t);
        const double pixel = varied(0.9);
        std::vector<double> x(times.size(), pixel), eps = normals(100'000, 50);
        q_sample<double>(view(x), times, view(eps), schedule, view(x));
        check_moments(x, pixel * std::sqrt(schedule.alpha_bar[schedule.at(t)]),
                      1.0 - schedule.alpha_bar[schedule.at(t)]);
    }
}

TEST_CASE("(1.5) variance 1 is preserved; any other moves to 1 as the chain does") {
    for (const Schedule& schedule : some_schedules(500))
        for (double data : {1.0, 0.0, 0.38, 4.0}) {
            double variance = data;  // of a mixture over pictures, followed step by step
            for (int t = 1; t <= 500; ++t) {
                const double beta = schedule.beta[schedule.at(t)];
                variance = (1.0 - beta) * variance + beta;
                CHECK(std::abs(pixel_variance(schedule, t, data) - variance) < 1e-12);
                if (data == 1.0) CHECK(std::abs(pixel_variance(schedule, t, data) - 1.0) < 1e-15);
            }
        }
}

TEST_CASE("(1.6) -> (1.7): variance-exploding steps telescope to x_0 + sigma_T eps") {
    const std::vector<double> sigma = {0.0, 0.01, 0.3, 2.0, 50.0};
    std::vector<double> x = {3.0}, one = {1.0}, zero = {0.0}, out(1);
    double variance = 0.0;
    for (std::size_t t = 1; t < sigma.size(); ++t) {
        ve_step<double>(view(zero), sigma[t - 1], sigma[t], view(one), view(out));
        variance += out[0] * out[0];
        ve_step<double>(view(x), sigma[t - 1], sigma[t], view(zero), view(x));
    }
    CHECK(x[0] == 3.0);  // not shrunk
    CHECK(relative(variance, 2500.0) < 1e-14);
    ve_step<double>(view(x), 0.0, 50.0, view(one), view(out));
    CHECK(out[0] == 53.0);  // (1.7)
}

TEST_CASE("(1.8) divided by a(t), every step of the chain is a variance-exploding step") {
    for (const Schedule& schedule : some_schedules(60)) {
        std::vector<double> x0 = {0.8, -0.3}, x = x0, mapped(2), ve = x0;
        for (int t = 1; t <= 60; ++t) {
            std::vector<double> eps = normals(2, static_cast<std::uint32_t>(t));
            q_step<double>(view(x), t, view(eps), schedule, view(x));
            const double before = schedule.sigma(t - 1), after = schedule.sigma(t);
            ve_step<double>(view(ve), before, after, view(eps), view(ve));
            to_variance_exploding<double>(view(x), t, schedule, view(mapped));
            for (std::size_t i = 0; i < 2; ++i)
                CHECK(std::abs(mapped[i] - ve[i]) < 1e-12 * (1.0 + schedule.sigma(t)));
        }
        const double a = schedule.signal(30);
        CHECK(relative(schedule.sigma(30), std::sqrt((1.0 - a * a) / (a * a))) < 1e-12);
    }
}

TEST_CASE("(1.9) jumps compose: 0 -> s -> t is 0 -> t, and a jump of one step is the step") {
    for (const Schedule& schedule : some_schedules(varied_size(1000))) {
        for (int t : {2, 100, 700, varied_size(997)}) {
            const Jump whole = q_between(schedule, 0, t);
            CHECK(relative(whole.scale, schedule.signal(t)) < 1e-15);
            CHECK(relative(whole.sigma, schedule.noise(t)) < 1e-15);
            for (int s : {1, t / 2, t - 1}) {
                const Jump first = q_between(schedule, 0, s), second = q_between(schedule, s, t);
                CHECK(relative(first.scale * second.scale, whole.scale) < 1e-13);
                CHECK(relative(std::hypot(second.scale * first.sigma, second.sigma), whole.sigma) <
                      1e-12);
            }
            const double beta = schedule.beta[schedule.at(t)];
            const Jump step = q_between(schedule, t - 1, t);
            CHECK(relative(step.scale * step.scale, 1.0 - beta) < 1e-11);
            CHECK(std::abs(step.sigma * step.sigma - beta) < 1e-14);
        }
    }
}

TEST_CASE("(1.16) the distance from noise is the integral of q log(q / p), summed over pixels") {
    const std::vector<float> x0 = {static_cast<float>(varied(0.5)), -1.0f};
    for (const Schedule& schedule : some_schedules(varied_size(1000)))
        for (int t : {1, 300, 1000}) {
            double integral = 0.0;
            const double s = schedule.noise(t), h = 0.01;
            for (float pixel : x0)
                for (int k = -1200; k <= 1200; ++k) {  // x = mean + z s: q(x) dx is N(0, 1) in z
                    const double z = k * h,
                                 x = schedule.signal(t) * static_cast<double>(pixel) + z * s;
                    const double density =
                        std::exp(-0.5 * z * z) / std::sqrt(2.0 * std::numbers::pi);
                    integral += h * density * (0.5 * (x * x - z * z) - std::log(s));
                }
            CHECK(std::abs(kl_from_noise(x0, schedule, t) - integral) < 1e-12 * (1.0 + integral));
        }
    // Almost only noise: log(1 + a) = a - a^2 / 2 + .., and all but the square of the pixel
    // cancels.
    const Schedule short_chain = schedule_from_betas("short", {1.0 - 3.1e-5, 1.0 - 3.3e-5});
    const double abar = short_chain.alpha_bar[2];  // 1e-9, and 1 - abar must be rounded
    for (const float pixel : {static_cast<float>(varied(0.5)), 1.0f}) {
        const double square = static_cast<double>(pixel) * static_cast<double>(pixel);
        const double expected = 0.5 * (abar * square + 0.5 * abar * abar);
        CHECK(relative(kl_from_noise(std::span(&pixel, 1), short_chain, 2), expected) < 1e-9);
    }
    CHECK(kl_from_noise(x0, linear_schedule(20), 20) == 0.0);  // its last beta is 1: noise alone
    CHECK(kl_from_noise(x0, linear_schedule(20), 0) == std::numeric_limits<double>::infinity());
}

TEST_CASE("each simulated pixel has its own random stream; histogram gives a density") {
    const std::vector<int> times = {3, 50};
    const Schedule schedule = make_schedule("sigmoid", 50);
    const auto chain = run_chain(schedule, 1.0, 1000, times, 9);
    CHECK(run_chain(schedule, 1.0, 10, times, 9)[1][7] == chain[1][7]);  // a pixel's own stream
    CHECK(run_chain(schedule, 1.0, 1000, times, 10)[1] != chain[1]);
    const std::vector<double> density =
        histogram(std::vector<double>{0.1, 0.3, 0.6, 5.0}, 0.0, 1.0, 2);
    CHECK(density == std::vector<double>{1.0, 0.5});  // 2 and 1 of 4 values, bins half as wide as 1
}

TEST_CASE("the published mistakes miss the variance that (1.4) keeps") {
    const Schedule schedule = make_schedule("linear", 1000);
    const std::vector<Recipe> all = right_and_wrong(schedule);
    const auto power = [&](std::size_t i, std::size_t t) {
        return std::pow(all[i].signal[t], 2) + std::pow(all[i].noise[t], 2);
    };
    for (std::size_t t = 0; t <= 1000; ++t) CHECK(std::abs(power(0, t) - 1.0) < 1e-14);
    CHECK(power(1, 260) < 0.76);                     // too little noise half-way
    CHECK(power(2, 1000) < 0.02);                    // fades to grey
    CHECK(relative(power(3, 1000), 11.05) < 1e-12);  // 1 + the sum of the betas
    CHECK(power(4, 1000) > 2e4);                     // exploding, on purpose
}

TEST_SUITE_END();
