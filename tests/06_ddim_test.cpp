#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "03_reverse_process/mixture.hpp"
#include "03_reverse_process/posterior.hpp"
#include "06_ddim/drawing.hpp"
#include "06_ddim/editing.hpp"
#include "06_ddim/gpu_sampling.hpp"
#include "06_ddim/grids.hpp"
#include "06_ddim/orders.hpp"
#include "support/file_checks.hpp"
#include "support/known_denoisers.hpp"
#include "support/varied.hpp"
#include "tensor/random.hpp"

using namespace diffusion;
using doctest::Approx;

TEST_SUITE_BEGIN("ch06 math");

TEST_CASE("(6.1) (6.2) whatever eta, the step keeps the marginal: mean a x_0, variance s^2") {
    const int n = 40'000;
    for (const double eta : {0.0, 0.5, 1.0}) {
        std::vector<double> start(n);
        for (std::uint32_t i = 0; i < n; ++i)
            start[i] = level(600).a * 0.7 +
                       level(600).s * Random(varied_seed(3), Purpose::test, 1, i).normal();
        Pixels x(start);
        const std::vector<Moment> times = path({600, 350, 200});
        ddim_sample<double>(kKnown, times, {.eta = eta}, x.tensor());
        double mean = 0, square = 0;
        for (const double v : x.values) mean += v / n;
        for (const double v : x.values) square += (v - mean) * (v - mean) / n;
        const double s = level(200).s;
        CHECK(std::abs(mean - level(200).a * 0.7) < 5 * s / std::sqrt(n));
        CHECK(square == Approx(s * s).epsilon(5 * std::sqrt(2.0 / n)).scale(0));
    }
}

TEST_CASE("(6.4) fresh noise has the deviation eta times that of the ancestral sampler") {
    const int n = 40'000;
    const double same = varied(0.4);  // x_t, of all
    for (const double eta : {0.25, 0.5, 1.0}) {
        Pixels x(std::vector<double>(n, same));
        ddim_sample<double>(kKnown, path({600, 350}), {.eta = eta}, x.tensor());
        double mean = 0, square = 0;
        for (const double v : x.values) mean += v / n;
        for (const double v : x.values) square += (v - mean) * (v - mean) / n;
        const Level t = level(600), s = level(350);
        const double beta = s.s * s.s / (t.s * t.s) * (1 - t.a * t.a / (s.a * s.a));
        CHECK(square == Approx(eta * eta * beta).epsilon(5 * std::sqrt(2.0 / n)).scale(0));
        const double eps = (same - t.a * 0.7) / t.s,
                     expected = s.a * 0.7 + std::sqrt(s.s * s.s - eta * eta * beta) * eps;
        CHECK(std::abs(mean - expected) < 5 * eta * std::sqrt(beta / n));
    }
}

TEST_CASE("(6.3) (6.4) with eta = 1 DDIM is the ancestral sampler, number by number") {
    const Denoiser<double> denoiser = gaussian_denoiser(0.2, 0.3);
    for (const int steps : {1, 7, 50}) {
        Pixels a({-1.0, varied(0.3), 2.0}), b = a;
        const std::vector<Moment> times = path(step_grid("trailing", cosine(), steps));
        const Noise<double> noise = fresh_noise<double>(4);
        ancestral_sample<double>(denoiser, times, {.clip = 0.9, .noise = noise}, a.tensor());
        ddim_sample<double>(denoiser, times, {.clip = 0.9, .eta = 1, .noise = noise}, b.tensor());
        for (std::size_t i = 0; i < 3; ++i) CHECK(a.values[i] == Approx(b.values[i]).epsilon(1e-9));
    }
    CHECK_THROWS_WITH_AS(
        ddim_sample<double>(denoiser, path({5, 0}), {.eta = 1.5}, Pixels({1.0}).tensor()),
        "ddim: eta is 1.5, expected 0..1", Error);
}

TEST_CASE("(6.5) without fresh noise a step is Euler's in the coordinates x / a and sigma") {
    Pixels x({varied(0.4), -1.1});
    const std::vector<double> before = x.values;
    const Denoiser<double> denoiser = gaussian_denoiser(0.2, 0.3);
    Pixels guess({0, 0});
    denoiser(x.tensor(), moment(500), guess.tensor());
    ddim_sample<double>(denoiser, path({500, 450}), {}, x.tensor());
    for (std::size_t i = 0; i < 2; ++i) {
        const double eps = eps_from_x0(level(500), before[i], guess.values[i]);
        const double y =
            before[i] / level(500).a + (cosine().sigma(450) - cosine().sigma(500)) * eps;
        CHECK(x.values[i] == Approx(level(450).a * y).epsilon(1e-12));
    }
}

TEST_CASE("(6.6) (6.12) the flow of a Gaussian solves dx/du = -(x + score), u = -log a") {
    const double m = 0.3, v = 0.25, h = 1e-5;
    for (const double angle : {0.2, 0.8, 1.4}) {
        const auto at = [](double u) {
            const double a = std::exp(-u);
            return Level{a, std::sqrt(1 - a * a)};
        };
        const double u = -std::log(std::cos(angle));
        for (const double xt : {-1.5, 0.1, 2.0}) {
            const auto flow = [&](double to) { return flow_of_gaussian(at(u), at(to), m, v, xt); };
            const Level l = at(u);
            const double score = -(xt - l.a * m) / (l.a * l.a * v + l.s * l.s);
            CHECK((flow(u + h) - flow(u - h)) / (2 * h) == Approx(-(xt + score)).epsilon(1e-6));
            CHECK(flow(u) == Approx(xt).epsilon(1e-14));
        }
    }
}

TEST_CASE("(6.7) a step of Euler's method by hand") {
    const double xt = varied(0.9);
    for (const auto& [l, to] :
         {std::pair(level(300), level(280)), std::pair(Level{0.4, 0.6}, Level{varied(0.5), 0.5})}) {
        Pixels x({xt});
        const std::vector<Moment> step{{300, l}, {280, to}};
        euler_sample<double>(kKnown, step, {}, x.tensor());
        const double eps = (xt - l.a * 0.7) / l.s, log_a = std::log(to.a / l.a);
        CHECK(x.values[0] ==
              Approx(xt + log_a * xt + (to.s - l.s - l.s * log_a) * eps).epsilon(1e-12));
    }
    // Where a^2 + s^2 = 1 and the step is short, it is log(a_s / a_t) (x + score).
    Pixels x({xt});
    const Level l = level(300), to{l.a * (1 + 1e-6), std::sqrt(1 - l.a * l.a * (1 + 2e-6))};
    euler_sample<double>(kKnown, std::vector<Moment>{{300, l}, {299.9, to}}, {}, x.tensor());
    const double score = (l.a * 0.7 - xt) / (l.s * l.s);
    CHECK((x.values[0] - xt) / std::log(to.a / l.a) == Approx(xt + score).epsilon(1e-4));
}

TEST_CASE("(6.8) a step of Heun's method by hand, and Euler's where sigma ends at 0") {
    const Denoiser<double> denoiser = gaussian_denoiser(0.2, 0.3);
    const auto eps_at = [&](double x, int t) {
        Pixels from({x}), guess({0});
        denoiser(from.tensor(), moment(t), guess.tensor());
        return eps_from_x0(level(t), x, guess.values[0]);
    };
    const double xt = varied(0.9);
    Pixels x({xt});
    heun_sample<double>(denoiser, path({300, 250}), {}, x.tensor());
    const double da = level(250).a - level(300).a, ds = level(250).s - level(300).s;
    const auto slope = [&](double at, int t) {
        const double eps = eps_at(at, t);
        return da * (at - level(t).s * eps) / level(t).a + ds * eps;
    };
    const double first = slope(xt, 300), second = slope(xt + first, 250);
    CHECK(x.values[0] == Approx(xt + (first + second) / 2).epsilon(1e-12));
    // With a = 1 throughout it is Karras's: y + (sigma_s - sigma_t) times the mean of two eps.
    const Moment high{2, {1, 2.0}}, low{1, {1, varied(0.9)}};
    const auto eps_of = [&](double at, const Moment& m) {
        Pixels from({at}), guess({0});
        denoiser(from.tensor(), m, guess.tensor());
        return (at - guess.values[0]) / m.level.s;
    };
    Pixels y({xt});
    heun_sample<double>(denoiser, std::vector<Moment>{high, low}, {}, y.tensor());
    const double step = low.level.s - high.level.s, one = eps_of(xt, high);
    CHECK(y.values[0] ==
          Approx(xt + step * (one + eps_of(xt + step * one, low)) / 2).epsilon(1e-12));
    Pixels a({0.4}), b({0.4});
    heun_sample<double>(denoiser, path({100, 0}), {}, a.tensor());
    ddim_sample<double>(denoiser, path({100, 0}), {}, b.tensor());
    CHECK(a.values[0] == Approx(b.values[0]).epsilon(1e-12));
}

TEST_CASE("(6.9) the integral over the guesses along the exact flow is the flow") {
    const double m = 0.2, v = 0.3, xt = 0.9;
    const Level from = level(700), to = level(200);
    const auto clock = [](Level l) { return std::log(l.a / l.s); };
    const auto integrand = [&](double ell) {
        const double s = 1 / std::sqrt(1 + std::exp(2 * ell));
        const Level l{std::exp(ell) * s, s};
        const double x = flow_of_gaussian(from, l, m, v, xt);
        const double x0 = m + l.a * v / (l.a * l.a * v + l.s * l.s) * (x - l.a * m);
        return std::exp(ell) * x0;
    };
    constexpr int kPieces = 400;  // Simpson's rule
    const double h = (clock(to) - clock(from)) / kPieces;
    double integral = 0;
    for (int i = 0; i <= kPieces; ++i) {
        const double weight = i == 0 || i == kPieces ? 1 : i % 2 == 1 ? 4 : 2;
        integral += weight * h / 3 * integrand(clock(from) + i * h);
    }
    CHECK(to.s / from.s * xt + to.s * integral ==
          Approx(flow_of_gaussian(from, to, m, v, xt)).epsilon(1e-9));
}

TEST_CASE("(3.18) every sampler keeps the guess within --clip") {
    const Denoiser<double> three = [](Tensor<const double>, const Moment&, Tensor<double> x0) {
        std::fill(x0.begin(), x0.end(), 3.0);
    };
    const Denoiser<double> one = [](Tensor<const double>, const Moment&, Tensor<double> x0) {
        std::fill(x0.begin(), x0.end(), 1.0);
    };
    for (const SamplerOf<double>& sampler : kSamplers<double>) {
        CAPTURE(sampler.name);
        const auto drawn = [&](const Denoiser<double>& denoiser, double clip) {
            Pixels x({0.4, -1.2});
            sampler.sample(denoiser, path({600, 500, 420}), {.clip = clip}, x.tensor());
            return x.values;
        };
        CHECK(drawn(three, 1) == drawn(one, 0));
        CHECK(drawn(three, 0) != drawn(one, 0));
    }
}

TEST_CASE("(6.9) (6.10) a guess that never changes is followed exactly, in one step or in many") {
    const double start = level(800).a * 0.7 + level(800).s * 1.3;
    for (const int end : {100, 0}) {
        const double truth = level(end).a * 0.7 + level(end).s * 1.3;
        for (const std::vector<int>& times : {std::vector{800, end}, {800, 650, 400, 350, end}}) {
            for (const char* name : {"ddim", "heun", "dpmpp2m"}) {
                Pixels x({start});
                sampler_named<double>(name).sample(kKnown, path(times), {}, x.tensor());
                CHECK(x.values[0] == Approx(truth).epsilon(1e-11));
            }
        }
    }
}

TEST_CASE("(6.10) (6.11) DPM-Solver++(2M) begins with a step of DDIM, and then extrapolates") {
    const Denoiser<double> denoiser = gaussian_denoiser(0.2, 0.3);
    const double xt = varied(0.9);
    Pixels a({xt}), b({xt});
    dpmpp2m_sample<double>(denoiser, path({600, 500}), {}, a.tensor());
    ddim_sample<double>(denoiser, path({600, 500}), {}, b.tensor());
    CHECK(a.values[0] == Approx(b.values[0]).epsilon(1e-12));

    const auto guess = [&](double x, int t) {
        Pixels from({x}), to({0});
        denoiser(from.tensor(), moment(t), to.tensor());
        return to.values[0];
    };
    Pixels two({xt});
    dpmpp2m_sample<double>(denoiser, path({600, 500, 420}), {}, two.tensor());
    const double h1 = (cosine().log_snr(500) - cosine().log_snr(600)) / 2,
                 h2 = (cosine().log_snr(420) - cosine().log_snr(500)) / 2;
    const double d = (1 + h2 / (2 * h1)) * guess(b.values[0], 500) - h2 / (2 * h1) * guess(xt, 600);
    const double by_hand =
        level(420).s / level(500).s * b.values[0] + level(420).a * (1 - std::exp(-h2)) * d;
    CHECK(two.values[0] == Approx(by_hand).epsilon(1e-12));
}

TEST_CASE(
    "(6.7) (6.8) (6.11) (6.12) orders on Gaussian data: 1 for DDIM and Euler, 2 for the others") {
    for (const OrderResult& r : measure_orders()) {
        CAPTURE(r.sampler);
        CHECK(r.order == (r.sampler == "heun" || r.sampler == "dpmpp2m" ? 2 : 1));
        CHECK(std::abs(r.measured - r.order) < (r.order == 2 ? 0.15 : 0.1));
        for (std::size_t i = 1; i < r.error.size(); ++i) CHECK(r.error[i] < r.error[i - 1]);
        CHECK(r.error.back() < (r.order == 2 ? 1e-4 : 1e-2));
    }
}

TEST_CASE("(6.3) on a = 1 - t, s = t DDIM is Euler's method for the flow dx/dt = eps - x_0") {
    const Denoiser<double> denoiser = gaussian_denoiser(0.2, 0.3);
    std::vector<Moment> flow;
    for (const double t : {1.0, 0.8, 0.55, 0.3, 0.0}) flow.push_back({1000 * t, {1 - t, t}});
    Pixels x({varied(0.9), -1.2}), by_euler = x, guess({0, 0});
    ddim_sample<double>(denoiser, flow, {}, x.tensor());
    for (std::size_t i = 0; i + 1 < flow.size(); ++i) {
        const double t = flow[i].level.s, step = flow[i + 1].level.s - t;
        denoiser(by_euler.tensor(), flow[i], guess.tensor());
        for (std::size_t k = 0; k < 2; ++k) {
            const double eps = (by_euler.values[k] - (1 - t) * guess.values[k]) / t;
            by_euler.values[k] += step * (eps - guess.values[k]);
        }
    }
    for (std::size_t k = 0; k < 2; ++k)
        CHECK(x.values[k] == Approx(by_euler.values[k]).epsilon(1e-13));
}

TEST_CASE(
    "(6.8) (6.11) (6.12) second order also from pure noise, on a path without unit variance") {
    const Denoiser<double> denoiser = gaussian_denoiser(0.3, 0.25);
    for (const char* name : {"heun", "dpmpp2m"}) {
        CAPTURE(name);
        double before = 0;
        for (const int n : {32, 64, 128}) {
            std::vector<Moment> flow;
            for (int i = n; i >= n / 8; --i) {
                const double t = static_cast<double>(i) / n;
                flow.push_back({t, {1 - t, t}});
            }
            Pixels x({1.1});
            sampler_named<double>(name).sample(denoiser, flow, {}, x.tensor());
            const double truth =
                flow_of_gaussian(flow.front().level, flow.back().level, 0.3, 0.25, 1.1);
            const double error = std::abs(x.values[0] - truth);
            if (before > 0) CHECK(before / error == Approx(4).epsilon(0.2));
            before = error;
        }
    }
    Pixels x({1.0});
    CHECK_THROWS_WITH_AS(
        euler_sample<double>(denoiser, std::vector<Moment>{{1, {0, 1}}, {0.5, {0.5, 0.5}}}, {},
                             x.tensor()),
        "euler: at t = 1 there is no picture, a = 0, and log a is not finite; begin later, or use "
        "ddim",
        Error);
}

TEST_CASE(
    "(1.18) (3.13) (6.3) on a rescaled schedule v leads DDIM from pure noise to the right mean") {
    // Data N(m, c^2), and the starting noise that is the mean of all: 0. The exact flow (6.12) ends
    // at m only if the start is what the schedule ends in. Stable Diffusion's does not.
    const double m = varied(0.6), variance = 0.09;
    const Schedule before = make_schedule("scaled_linear", 1000),
                   rescaled = zero_terminal_snr(before);
    const Denoiser<double> exact = gaussian_denoiser(m, variance);
    const auto through = [&](Prediction kind) -> Denoiser<double> {
        return [&exact, kind](Tensor<const double> xt, const Moment& at, Tensor<double> x0) {
            exact(xt, at, x0);
            for (std::ptrdiff_t k = 0; k < xt.numel(); ++k) {
                const double x = xt.data()[k], eps = eps_from_x0(at.level, x, x0.data()[k]);
                const double said = wanted_from(kind, at.level, x0.data()[k], eps);
                x0.data()[k] = x0_from(kind, at.level, x, said);
            }
        };
    };
    const auto drawn = [&](const Schedule& schedule, Prediction kind, double start) {
        Pixels x({start});
        ddim_sample<double>(through(kind), moments(schedule, all_times(schedule)), {}, x.tensor());
        return x.values[0];
    };
    CHECK(level_at(rescaled, 1000).a == 0);
    CHECK(drawn(rescaled, Prediction::v, 0) == Approx(m).epsilon(1e-12));
    CHECK(drawn(rescaled, Prediction::v, 1) == Approx(m + 0.3).epsilon(0.005).scale(0));
    CHECK(drawn(before, Prediction::v, 0) < 0.985 * m);  // too grey: 0.3 a_T of m is missing
    CHECK_FALSE(std::isfinite(drawn(rescaled, Prediction::eps, 0)));  // 0 / 0 in (3.11)
}

TEST_CASE("samplers refuse times that do not fall, and names that they do not know") {
    const Denoiser<float> zero = [](Tensor<const float>, const Moment&, Tensor<float> x0) {
        std::fill(x0.begin(), x0.end(), 0.0f);
    };
    std::vector<float> x(2, 1.0f);
    const Tensor<float> batch(x.data(), {2, 1});
    for (const std::string& name : sampler_names()) {
        CAPTURE(name);
        for (const std::vector<int>& times : {std::vector{5}, {5, 5, 0}, {3, 7, 0}, {1001, 0}})
            CHECK_THROWS_AS(run_sampler({.name = name}, zero, path(times), batch), Error);
        run_sampler({.name = name}, zero, path({900, 300, 0}), batch);
        CHECK(std::isfinite(x[0]));
    }
    CHECK(contains(error_of([&] {
                       run_sampler({.name = "plms"}, zero, path({9, 0}), batch);
                   }),
                   "sampler 'plms': use one of ddpm, ddim, euler, heun, dpmpp2m"));
    CHECK(calls_along(sampler_named("heun"), path({900, 300, 0})) == 3);
    CHECK(calls_along(sampler_named("heun"), path({900, 300, 10})) == 4);
    CHECK(calls_along(sampler_named("dpmpp2m"), path({900, 300, 0})) == 2);
}

TEST_CASE("(3.17) (6.3) (6.7) (6.11) a sampler's steps as sums are what the sampler does") {
    const Denoiser<double> denoiser = gaussian_denoiser(0.2, 0.3);
    const std::vector<Moment> way = path({900, 600, 350, 100, 0});
    for (const SamplerOf<double>& sampler : kSamplers<double>) {
        CAPTURE(sampler.name);
        const Sampler settings{.name = sampler.name,
                               .eta = sampler.name == std::string("ddim") ? 0.6 : 0};
        if (sampler.calls > 1) {
            CHECK_THROWS_AS(linear_steps(settings, way), Error);
            continue;
        }
        Pixels x({varied(0.9)}), z({0}), guess({0});
        const Noise<double> noise = fresh_noise<double>(5);
        double by_sums = x.values[0], before = 0;
        int step = 0;
        for (const LinearStep& s : linear_steps(settings, way)) {
            Pixels now({by_sums});
            denoiser(now.tensor(), s.at, guess.tensor());
            noise(step++, z.tensor());
            by_sums = s.of_x * by_sums + s.of_x0 * guess.values[0] + s.of_before * before +
                      s.sigma * z.values[0];
            before = guess.values[0];
        }
        sampler.sample(denoiser, way, {.eta = settings.eta, .noise = noise}, x.tensor());
        CHECK(x.values[0] == Approx(by_sums).epsilon(1e-12));
    }
}

TEST_SUITE_END();
