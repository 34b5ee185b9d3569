// Chapter 1: the tables of the four schedules, and what happens with wrong input.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <string>
#include <vector>

#include "01_forward_noising/chain.hpp"
#include "01_forward_noising/q_sample.hpp"
#include "support/varied.hpp"

using namespace diffusion;

namespace {

double relative(double got, double want) {
    return std::abs(got - want) / std::abs(want);
}

std::vector<Schedule> every_schedule(int T) {
    std::vector<Schedule> all;
    for (const char* name : kScheduleNames) all.push_back(make_schedule(name, T));
    return all;
}

double sum_of_betas(const Schedule& schedule) {
    double sum = 0.0;
    for (double beta : schedule.beta) sum += beta;
    return sum;
}

}  // namespace

TEST_SUITE_BEGIN("ch01 math");

TEST_CASE("every schedule starts clean, adds noise in (0, 1] at each step, and only loses signal") {
    for (int T : {20, 50, 1000, 4000})
        for (const Schedule& schedule : every_schedule(T)) {
            CHECK(schedule.steps() == T);
            CHECK(schedule.beta[0] == 0.0);
            CHECK(schedule.alpha_bar[0] == 1.0);
            CHECK(schedule.signal(0) == 1.0);
            CHECK(schedule.noise(0) == 0.0);
            for (int t = 1; t <= T; ++t) {
                const std::size_t i = schedule.at(t);
                CHECK(schedule.beta[i] > 0.0);
                CHECK(schedule.beta[i] <= 1.0);
                CHECK(schedule.alpha_bar[i] < schedule.alpha_bar[i - 1]);
                CHECK(std::abs(std::hypot(schedule.signal(t), schedule.noise(t)) - 1.0) < 1e-15);
            }
        }
}

TEST_CASE("(1.10) log-SNR falls, its logistic function is alpha_bar, and it is -2 log sigma") {
    for (const char* name : {"linear", "scaled_linear", "sigmoid"}) {
        const Schedule schedule = make_schedule(name, varied_size(1000));
        CHECK(schedule.log_snr(0) == std::numeric_limits<double>::infinity());
        for (int t = 1; t <= schedule.steps(); ++t) {
            const double lambda = schedule.log_snr(t);
            CHECK(lambda < schedule.log_snr(t - 1));
            CHECK(relative(1.0 / (1.0 + std::exp(-lambda)), schedule.alpha_bar[schedule.at(t)]) <
                  1e-11);
            CHECK(std::abs(lambda + 2.0 * std::log(schedule.sigma(t))) < 1e-11);
        }
    }
    CHECK(std::abs(sigmoid_schedule(1000).log_snr(500)) < 1e-12);  // half signal, half noise
}

TEST_CASE("(1.15) the product of 1 - beta lies below exp(-sum beta); the gap closes like 1 / T") {
    const auto gap = [](const Schedule& schedule) {
        return -sum_of_betas(schedule) - std::log(schedule.alpha_bar.back());
    };
    CHECK(gap(scaled_linear_schedule(1000)) > 0.0);
    CHECK(gap(sigmoid_schedule(1000)) > 0.0);
    CHECK(gap(linear_schedule(1000)) / gap(linear_schedule(2000)) ==
          doctest::Approx(2.0).epsilon(0.01));
    CHECK(gap(scaled_linear_schedule(1000)) / gap(scaled_linear_schedule(2000)) ==
          doctest::Approx(2.0).epsilon(0.01));
}

TEST_CASE("(1.11) linear: straight betas, 1000/T times as large when T differs") {
    const Schedule half = linear_schedule(500);
    for (int t = 1; t <= 500; ++t)
        CHECK(relative(half.beta[half.at(t)], 2.0 * (1e-4 + 0.0199 * (t - 1) / 499.0)) < 1e-13);
    CHECK(linear_schedule(20).alpha_bar.back() == 0.0);  // the last beta is 1
    const Schedule raw = linear_schedule(100, 1e-4, 0.02, Ends::as_given);
    CHECK(raw.beta[1] == 1e-4);
    CHECK(raw.beta[100] == 0.02);
    CHECK(raw.alpha_bar.back() > 0.36);  // far from noise: hence the scaling
    CHECK(relative(sum_of_betas(half), sum_of_betas(linear_schedule(1000))) < 1e-13);
}

TEST_CASE("(1.12) scaled linear: square roots of the betas are equally spaced") {
    const Schedule schedule = scaled_linear_schedule(1000);
    CHECK(relative(schedule.beta[1], 0.00085) < 1e-15);
    CHECK(relative(schedule.beta[1000], 0.012) < 1e-15);
    const double stride = (std::sqrt(0.012) - std::sqrt(0.00085)) / 999.0;
    for (int t = 2; t <= 1000; ++t)
        CHECK(std::abs(std::sqrt(schedule.beta[schedule.at(t)]) -
                       std::sqrt(schedule.beta[schedule.at(t - 1)]) - stride) < 1e-15);
}

TEST_CASE("(1.13) cosine: alpha_bar is a raised cosine, and only the last beta is clipped") {
    for (int T : {1, 2, varied_size(10), 1000, varied_size(4000)}) {
        const Schedule schedule = cosine_schedule(T);
        const auto raised = [T](int t) {
            return 1.0 + std::cos(std::numbers::pi * (static_cast<double>(t) / T + 0.008) / 1.008);
        };
        for (int t = 1; t < T; ++t) {
            CHECK(relative(schedule.alpha_bar[schedule.at(t)], raised(t) / raised(0)) < 1e-9);
            CHECK(std::abs(schedule.alpha_bar[schedule.at(t)] - raised(t) / raised(0)) < 1e-14);
            CHECK(schedule.beta[schedule.at(t)] < 0.999);
        }
        CHECK(schedule.beta.back() == 0.999);
    }
}

TEST_CASE("(1.14) sigmoid: alpha_bar is a stretched logistic curve, symmetric about T / 2") {
    const Schedule schedule = sigmoid_schedule(1000);
    const auto logistic = [](double x) { return 0.5 + 0.5 * std::tanh(0.5 * x); };
    for (int t = 1; t < 1000; ++t) {
        const double want =
            (logistic(3.0 - 0.006 * t) - logistic(-3.0)) / (logistic(3.0) - logistic(-3.0));
        CHECK(std::abs(schedule.alpha_bar[schedule.at(t)] - want) < 1e-14);
        CHECK(std::abs(schedule.alpha_bar[schedule.at(t)] +
                       schedule.alpha_bar[schedule.at(1000 - t)] - 1.0) < 1e-14);
    }
    CHECK(schedule.beta.back() == 0.999);
}

TEST_CASE("(1.15) T steps end in noise: what is left of the signal") {
    CHECK(make_schedule("linear", 1000).signal(1000) < 0.0064);
    CHECK(make_schedule("cosine", 1000).signal(1000) < 5e-5);
    CHECK(make_schedule("sigmoid", 1000).signal(1000) < 6e-4);
    const double stable_diffusion = make_schedule("scaled_linear", 1000).signal(1000);
    CHECK(stable_diffusion == doctest::Approx(0.0683).epsilon(1e-3));  // famous for not being noise
}

TEST_CASE("(1.17) a schedule made of its own alpha_bar or sigma is the same schedule") {
    for (const Schedule& schedule : every_schedule(varied_size(200))) {
        std::vector<double> alpha_bars(schedule.alpha_bar.begin() + 1, schedule.alpha_bar.end()),
            sigmas;
        for (int t = 1; t <= schedule.steps(); ++t) sigmas.push_back(schedule.sigma(t));
        const Schedule same = schedule_from_alpha_bars("same", alpha_bars),
                       of_sigma = schedule_from_sigmas("of sigma", sigmas);
        CHECK(same.alpha_bar == schedule.alpha_bar);
        CHECK(of_sigma.name == "of sigma");
        CHECK(of_sigma.steps() == schedule.steps());
        for (int t = 1; t <= schedule.steps(); ++t) {
            const std::size_t i = schedule.at(t);
            CHECK(relative(same.beta[i], schedule.beta[i]) < 1e-10);  // 1 - (1 - beta)
            CHECK(relative(of_sigma.alpha_bar[i], schedule.alpha_bar[i]) < 1e-12);
        }
    }
    const Schedule noise = schedule_from_sigmas(
        "to pure noise", {varied(0.5), 3.0, std::numeric_limits<double>::infinity()});
    CHECK(noise.alpha_bar[2] == 0.1);
    CHECK(noise.alpha_bar[3] == 0.0);
    CHECK(noise.beta[3] == 1.0);
}

TEST_CASE("(1.18) zero terminal SNR: the first level stays, the last is pure noise") {
    for (const Schedule& schedule : every_schedule(varied_size(1000))) {
        const Schedule rescaled = zero_terminal_snr(schedule);
        const int T = schedule.steps();
        CHECK(rescaled.steps() == T);
        CHECK(rescaled.alpha_bar[0] == 1.0);
        CHECK(rescaled.alpha_bar[1] == schedule.alpha_bar[1]);  // to the bit
        CHECK(rescaled.alpha_bar.back() == 0.0);
        CHECK(rescaled.beta.back() == 1.0);
        // Square roots are moved and stretched: differences keep their ratios.
        const double stretch = schedule.signal(1) / (schedule.signal(1) - schedule.signal(T));
        for (int t = 2; t <= T; ++t)
            CHECK(std::abs(rescaled.signal(t - 1) - rescaled.signal(t) -
                           stretch * (schedule.signal(t - 1) - schedule.signal(t))) < 1e-14);
        const Schedule twice = zero_terminal_snr(rescaled);  // nothing is left to do
        for (int t = 1; t <= T; ++t) CHECK(std::abs(twice.signal(t) - rescaled.signal(t)) < 1e-15);
    }
    // By hand, and the betas as diffusers' rescale_zero_terminal_snr makes them.
    const Schedule three =
        zero_terminal_snr(schedule_from_alpha_bars("by hand", {0.81, 0.25, 0.01}));
    CHECK(relative(three.signal(2), 0.9 / 0.8 * 0.4) < 1e-15);
    CHECK(relative(three.beta[2], 1.0 - std::pow(0.4 / 0.8, 2)) < 1e-15);
    CHECK(three.name == "by hand, zero terminal SNR");
}

TEST_CASE("a schedule refuses what is not a schedule, and says what it expected") {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    CHECK_THROWS_WITH(make_schedule("quadratic", 10),
                      "schedule: there is no \"quadratic\", expected one of linear, scaled_linear, "
                      "cosine, sigmoid");
    CHECK_THROWS_WITH(
        linear_schedule(19),
        "schedule linear: with T = 19 the last beta would be 1.05263; use at least 20 steps");
    CHECK_THROWS_AS(scaled_linear_schedule(11), Error);
    CHECK_NOTHROW(scaled_linear_schedule(12));
    for (const char* name : kScheduleNames) {
        CHECK_THROWS_AS(make_schedule(name, 0), Error);
        CHECK_THROWS_AS(make_schedule(name, -5), Error);
    }
    CHECK_THROWS_AS(schedule_from_betas("empty", {}), Error);
    for (double beta : {0.0, -0.1, 1.1, nan})
        CHECK_THROWS_AS(schedule_from_betas("by hand", {0.1, beta}), Error);
    for (double abar : {0.9, 1.0, -0.1, nan})
        CHECK_THROWS_AS(schedule_from_alpha_bars("by hand", {0.9, abar}), Error);
    CHECK_THROWS_WITH(
        schedule_from_alpha_bars("by hand", {0.9, 0.95}),
        "schedule by hand: alpha_bar of step 2 is 0.95, expected at least 0 and below "
        "0.9");
    CHECK_THROWS_AS(schedule_from_alpha_bars("empty", {}), Error);
    CHECK_THROWS_WITH(schedule_from_sigmas("by hand", {0.5, 0.5}),
                      "schedule by hand: sigma of step 2 is 0.5, expected above 0.5");
    for (double sigma : {0.0, -1.0, nan})
        CHECK_THROWS_AS(schedule_from_sigmas("by hand", {sigma, 1.0}), Error);
    CHECK_THROWS_AS(schedule_from_sigmas("empty", {}), Error);
    CHECK_THROWS_WITH(zero_terminal_snr(schedule_from_betas("short", {0.5})),
                      "zero_terminal_snr: schedule short has 1 steps, expected at least 2");
    CHECK_THROWS_AS(sigmoid_schedule(10, 3.0, -3.0), Error);
    CHECK_THROWS_AS(sigmoid_schedule(10, -3.0, 3.0, 0.0), Error);
    CHECK_THROWS_AS(cosine_schedule(10, -0.5), Error);
}

TEST_CASE("the forward process refuses wrong times, shapes and noise levels") {
    const Schedule schedule = make_schedule("sigmoid", 10);
    std::vector<float> a(6), b(6), c(6);
    const Tensor<float> x(a.data(), {3, 2}), eps(b.data(), {3, 2}), out(c.data(), {3, 2}),
        other(b.data(), {2, 3});
    const std::vector<int> good = {0, 5, 10}, late = {0, 11, 10}, early = {-1, 0, 1}, few = {1, 2};
    CHECK_NOTHROW(q_sample(x, good, eps, schedule, out));
    CHECK_THROWS_WITH(q_sample(x, late, eps, schedule, out),
                      "q_sample: t = 11 of sample 1 is outside 0..10");
    CHECK_THROWS_AS(q_sample(x, early, eps, schedule, out), Error);
    CHECK_THROWS_WITH(q_sample(x, few, eps, schedule, out), "q_sample: 2 times for a batch of 3");
    CHECK_THROWS_WITH(q_sample(x, good, other, schedule, out),
                      "q_sample: shapes differ: [3,2] and [2,3]");
    CHECK_THROWS_AS(q_step(x, 0, eps, schedule, out), Error);
    CHECK_THROWS_AS(q_step(x, 11, eps, schedule, out), Error);
    CHECK_THROWS_AS(q_step(other, 1, eps, schedule, out), Error);
    CHECK_THROWS_AS(ve_step(x, 2.0, 1.0, eps, out), Error);
    CHECK_THROWS_AS(ve_step(x, -1.0, 1.0, eps, out), Error);
    CHECK_THROWS_AS(to_variance_exploding(x, 20, linear_schedule(20), out),
                    Error);  // no signal there
    for (const auto& [s, t] : {std::pair{5, 5}, {6, 5}, {-1, 5}, {5, 11}})
        CHECK_THROWS_AS(q_between(schedule, s, t), Error);
    for (int t : {-1, 11}) {
        CHECK_THROWS_AS(schedule.signal(t), Error);
        CHECK_THROWS_AS(schedule.noise(t), Error);
        CHECK_THROWS_AS(schedule.log_snr(t), Error);
        CHECK_THROWS_AS(pixel_variance(schedule, t, 1.0), Error);
    }
    CHECK_THROWS_AS(kl_from_noise({}, schedule, 5), Error);
    CHECK_THROWS_AS(run_chain(schedule, 0.0, 3, std::vector<int>{5, 4}, 1), Error);
    CHECK_THROWS_AS(run_chain(schedule, 0.0, -1, std::vector<int>{5}, 1), Error);
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("ch01 golden");

// The product of a ramp of betas is a ratio of gamma functions: if 1 - beta_i = d (r - i), the
// product over i = 1..t is d^t Gamma(r) / Gamma(r - t). With sqrt(beta) as the ramp, 1 - beta = (1
// - b)(1 + b) gives two such ratios. Made with fifty digits in Python; no product of betas is
// formed anywhere:
//
//   from mpmath import mp, mpf, loggamma, exp, log, cos, pi, sqrt, nstr
//   mp.dps = 50; T = 1000
//   def linear(t):
//       d = (mpf('0.02') - mpf('0.0001')) / (T - 1); r = (1 - mpf('0.0001')) / d + 1
//       return exp(t * log(d) + loggamma(r) - loggamma(r - t))
//   def scaled(t):
//       p, q = sqrt(mpf('0.00085')), sqrt(mpf('0.012')); d = (q - p) / (T - 1)
//       r, m = (1 - p) / d + 1, (1 + p) / d
//       return exp(2*t*log(d) + loggamma(r) - loggamma(r-t) + loggamma(m+t) - loggamma(m))
//   f = lambda u: (1 + cos(pi * (u + mpf('0.008')) / mpf('1.008'))) / 2
//   g = lambda u: 1 / (1 + exp(3 - 6 * u))
//   clipped = lambda v: lambda t: v(t) if t < T else v(T - 1) * (1 - mpf('0.999'))
//   cosine = clipped(lambda t: f(mpf(t) / T) / f(0))
//   sigmoid = clipped(lambda t: (g(1) - g(mpf(t) / T)) / (g(1) - g(0)))
//   for t in (1, 2, 100, 250, 500, 750, 999, 1000):
//       print(t, *(nstr(v(t), 17) for v in (linear, scaled, cosine, sigmoid)))
TEST_CASE("(1.11) (1.12) (1.13) (1.14) alpha_bar agrees with formulas free of products") {
    struct Row {
        int t;
        double alpha_bar[4];  // in the order of kScheduleNames
    };
    const Row rows[] = {
        {1, {0.9999, 0.99915, 0.99995871577517822, 0.99969972080025081}},
        {2, {0.99978009207207207, 0.99829602783845141, 0.99991257592736802, 0.99939780736661854}},
        {100, {0.89701814567496036, 0.89546277349500201, 0.97209273711396917, 0.96050721727362377}},
        {250, {0.5240853738253605, 0.67543241372512506, 0.84701216132690473, 0.85085354792966714}},
        {500, {0.078587242881778237, 0.27766965045646781, 0.49384359044063771, 0.5}},
        {750,
         {0.0033505504389367801, 0.05662349159826981, 0.14427210238573571, 0.14914645207033286}},
        {999,
         {4.1181936381384524e-5, 0.0047166988998757494, 2.4287669070344684e-6,
          0.00030027919974918601}},
        {1000,
         {4.0358297653756833e-5, 0.0046600985130772404, 2.4287669070344684e-9,
          3.0027919974918601e-7}},
    };
    const std::vector<Schedule> all = every_schedule(1000);
    for (const Row& row : rows)
        for (std::size_t i = 0; i < all.size(); ++i) {
            const double got = all[i].alpha_bar[all[i].at(row.t)];
            CHECK(relative(got, row.alpha_bar[i]) < 1e-11);
            CHECK(std::abs(got - row.alpha_bar[i]) < 1e-14);
        }
}

TEST_SUITE_END();
