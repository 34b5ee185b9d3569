#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "03_reverse_process/mixture.hpp"
#include "03_reverse_process/posterior.hpp"
#include "06_ddim/drawing.hpp"
#include "06_ddim/editing.hpp"
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
        Batch x(start);
        const std::vector<int> times{600, 350, 200};
        ddim_sample<double>(kKnown, cosine(), times, {.eta = eta}, x.tensor());
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
        Batch x(std::vector<double>(n, same));
        ddim_sample<double>(kKnown, cosine(), std::vector<int>{600, 350}, {.eta = eta}, x.tensor());
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
        Batch a({-1.0, varied(0.3), 2.0}), b = a;
        const std::vector<int> times = step_grid("trailing", cosine(), steps);
        ancestral_sample<double>(denoiser, cosine(), times, {.clip = 0.9, .seed = 4}, a.tensor());
        ddim_sample<double>(denoiser, cosine(), times, {.eta = 1, .clip = 0.9, .seed = 4},
                            b.tensor());
        for (std::size_t i = 0; i < 3; ++i) CHECK(a.values[i] == Approx(b.values[i]).epsilon(1e-9));
    }
    CHECK_THROWS_WITH_AS(ddim_sample<double>(denoiser, cosine(), std::vector<int>{5, 0},
                                             {.eta = 1.5}, Batch({1.0}).tensor()),
                         "ddim: eta is 1.5, expected 0..1", Error);
}

TEST_CASE("(6.5) without fresh noise a step is Euler's in the coordinates x / a and sigma") {
    Batch x({varied(0.4), -1.1});
    const std::vector<double> before = x.values;
    const Denoiser<double> denoiser = gaussian_denoiser(0.2, 0.3);
    Batch guess({0, 0});
    denoiser(x.tensor(), 500, guess.tensor());
    ddim_sample<double>(denoiser, cosine(), std::vector<int>{500, 450}, {}, x.tensor());
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
    Batch x({xt});
    euler_sample<double>(kKnown, cosine(), std::vector<int>{300, 280}, 0, x.tensor());
    const Level l = level(300);
    const double score = (l.a * 0.7 - xt) / (l.s * l.s);
    CHECK(x.values[0] == Approx(xt + std::log(level(280).a / l.a) * (xt + score)).epsilon(1e-12));
}

TEST_CASE("(6.8) a step of Heun's method by hand, and Euler's where sigma ends at 0") {
    const Denoiser<double> denoiser = gaussian_denoiser(0.2, 0.3);
    const auto eps_at = [&](double x, int t) {
        Batch from({x}), guess({0});
        denoiser(from.tensor(), t, guess.tensor());
        return eps_from_x0(level(t), x, guess.values[0]);
    };
    const double xt = varied(0.9);
    Batch x({xt});
    heun_sample<double>(denoiser, cosine(), std::vector<int>{300, 250}, 0, x.tensor());
    const double step = cosine().sigma(250) - cosine().sigma(300), first = eps_at(xt, 300);
    const double trial = level(250).a * (xt / level(300).a + step * first);
    const double mean = (first + eps_at(trial, 250)) / 2;
    CHECK(x.values[0] == Approx(level(250).a * (xt / level(300).a + step * mean)).epsilon(1e-12));
    Batch a({0.4}), b({0.4});
    heun_sample<double>(denoiser, cosine(), std::vector<int>{100, 0}, 0, a.tensor());
    ddim_sample<double>(denoiser, cosine(), std::vector<int>{100, 0}, {}, b.tensor());
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
    const Denoiser<double> three = [](Tensor<const double>, int, Tensor<double> x0) {
        std::fill(x0.begin(), x0.end(), 3.0);
    };
    const Denoiser<double> one = [](Tensor<const double>, int, Tensor<double> x0) {
        std::fill(x0.begin(), x0.end(), 1.0);
    };
    const std::vector<int> times{600, 500, 420};
    const auto drawn = [&](const std::string& name, const Denoiser<double>& denoiser, double clip) {
        Batch x({0.4, -1.2});
        if (name == "ddim")
            ddim_sample<double>(denoiser, cosine(), times, {.clip = clip}, x.tensor());
        if (name == "euler") euler_sample<double>(denoiser, cosine(), times, clip, x.tensor());
        if (name == "heun") heun_sample<double>(denoiser, cosine(), times, clip, x.tensor());
        if (name == "dpmpp2m") dpmpp2m_sample<double>(denoiser, cosine(), times, clip, x.tensor());
        return x.values;
    };
    for (const std::string name : {"ddim", "euler", "heun", "dpmpp2m"}) {
        CAPTURE(name);
        CHECK(drawn(name, three, 1) == drawn(name, one, 0));
        CHECK(drawn(name, three, 0) != drawn(name, one, 0));
    }
}

TEST_CASE("(6.9) (6.10) a guess that never changes is followed exactly, in one step or in many") {
    const double start = level(800).a * 0.7 + level(800).s * 1.3;
    for (const int end : {100, 0}) {
        const double truth = level(end).a * 0.7 + level(end).s * 1.3;
        for (const std::vector<int>& times : {std::vector{800, end}, {800, 650, 400, 350, end}}) {
            Batch ddim({start}), heun({start}), dpm({start});
            ddim_sample<double>(kKnown, cosine(), times, {}, ddim.tensor());
            heun_sample<double>(kKnown, cosine(), times, 0, heun.tensor());
            dpmpp2m_sample<double>(kKnown, cosine(), times, 0, dpm.tensor());
            CHECK(ddim.values[0] == Approx(truth).epsilon(1e-11));
            CHECK(heun.values[0] == Approx(truth).epsilon(1e-11));
            CHECK(dpm.values[0] == Approx(truth).epsilon(1e-11));
        }
    }
}

TEST_CASE("(6.10) (6.11) DPM-Solver++(2M) begins with a step of DDIM, and then extrapolates") {
    const Denoiser<double> denoiser = gaussian_denoiser(0.2, 0.3);
    const double xt = varied(0.9);
    Batch a({xt}), b({xt});
    dpmpp2m_sample<double>(denoiser, cosine(), std::vector<int>{600, 500}, 0, a.tensor());
    ddim_sample<double>(denoiser, cosine(), std::vector<int>{600, 500}, {}, b.tensor());
    CHECK(a.values[0] == Approx(b.values[0]).epsilon(1e-12));

    const auto guess = [&](double x, int t) {
        Batch from({x}), to({0});
        denoiser(from.tensor(), t, to.tensor());
        return to.values[0];
    };
    Batch two({xt});
    dpmpp2m_sample<double>(denoiser, cosine(), std::vector<int>{600, 500, 420}, 0, two.tensor());
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
        const bool second = r.sampler == "heun" || r.sampler == "dpmpp2m";
        CHECK(std::abs(r.order - (second ? 2.0 : 1.0)) < (second ? 0.15 : 0.1));
        for (std::size_t i = 1; i < r.error.size(); ++i) CHECK(r.error[i] < r.error[i - 1]);
        CHECK(r.error.back() < (second ? 1e-4 : 1e-2));
    }
}

TEST_CASE("(6.13) (6.14) (6.15) step grids fall strictly to 0, and are what their names say") {
    for (const char* name : kGridNames) {
        for (const int n : {1, 2, 7, 20, 1000}) {
            CAPTURE(name);
            CAPTURE(n);
            const std::vector<int> times = step_grid(name, cosine(), n);
            CHECK(times.back() == 0);
            CHECK(std::ranges::adjacent_find(times, std::less_equal<>()) == times.end());
            CHECK(times.front() <= 1000);
            CHECK(static_cast<int>(times.size()) <= n + 1);
        }
    }
    CHECK(step_grid("trailing", cosine(), 4).front() == 1000);
    CHECK(step_grid("trailing", cosine(), 4) == std::vector{1000, 750, 500, 250, 0});
    CHECK(step_grid("leading", cosine(), 4) == std::vector{751, 501, 251, 1, 0});
    CHECK(step_grid("linspace", cosine(), 4) == std::vector{1000, 667, 334, 1, 0});
    // A twentieth of the steps for each twentieth of the times that training drew.
    const std::vector<int> late = step_grid("late", cosine(), 20);
    for (int i = 0; i <= 20; ++i) {
        const double drawn_below = std::pow(late[static_cast<std::size_t>(i)] / 1000.0, 1 / 0.35);
        CHECK(drawn_below == Approx(1 - i / 20.0).epsilon(2e-3).scale(1));
    }
    const std::vector<int> most = step_grid("late", cosine(), 1000);  // many fall together
    CHECK(most.size() < 700);
    CHECK(most[most.size() - 2] == 89);
    const auto evenly = [](const std::vector<int>& times, auto f) {
        for (std::size_t i = 2; i + 1 < times.size(); ++i) {
            const double one = f(times[i - 1]) - f(times[i - 2]),
                         two = f(times[i]) - f(times[i - 1]);
            CHECK(one == Approx(two).epsilon(0.1).scale(0));  // to whole times
        }
    };
    const std::vector<int> karras = step_grid("karras", cosine(), 10),
                           logsnr = step_grid("logsnr", cosine(), 10);
    evenly(karras, [](int t) { return std::pow(cosine().sigma(t), 1.0 / 7); });
    evenly({logsnr.begin(), logsnr.end() - 3}, [](int t) { return cosine().log_snr(t); });
    CHECK(cosine().sigma(karras.front()) == Approx(80).epsilon(0.1));
    CHECK(karras[karras.size() - 2] == 1);
    CHECK_THROWS_WITH_AS(
        step_grid("even", cosine(), 5),
        "step grid 'even': use trailing, leading, linspace, karras, logsnr or late", Error);
    CHECK_THROWS_WITH_AS(step_grid("karras", cosine(), 1001),
                         "step grid: steps is 1001, expected 1..1000", Error);
}

TEST_CASE("samplers refuse times that do not fall, and names that they do not know") {
    const Denoiser<float> zero = [](Tensor<const float>, int, Tensor<float> x0) {
        std::fill(x0.begin(), x0.end(), 0.0f);
    };
    std::vector<float> x(2, 1.0f);
    const Tensor<float> batch(x.data(), {2, 1});
    for (const char* name : kSamplerNames) {
        CAPTURE(name);
        for (const std::vector<int>& times : {std::vector{5}, {5, 5, 0}, {3, 7, 0}, {1001, 0}})
            CHECK_THROWS_AS(run_sampler({.name = name}, zero, cosine(), times, batch), Error);
        run_sampler({.name = name}, zero, cosine(), std::vector{900, 300, 0}, batch);
        CHECK(std::isfinite(x[0]));
    }
    CHECK(contains(error_of([&] {
                       run_sampler({.name = "plms"}, zero, cosine(), std::vector{9, 0}, batch);
                   }),
                   "sampler 'plms': use ddpm, ddim, euler, heun or dpmpp2m"));
    CHECK(calls_of({.name = "heun"}, std::vector{900, 300, 0}) == 3);
    CHECK(calls_of({.name = "dpmpp2m"}, std::vector{900, 300, 0}) == 2);
}

TEST_CASE("a picture of any size and kind is made to fit the model") {
    std::vector<float> out(4);
    const Tensor<float> x(out.data(), {2, 2, 1});
    const Image same{2, 2, 1, {0, 255, 51, 102}};
    fit_picture(same, false, x);
    CHECK(out == std::vector<float>{-1.0f, 1.0f, -0.6f, -0.2f});
    fit_picture(same, true, x);
    CHECK(out[1] == -1.0f);
    const Image large{4, 4, 1, {0, 0, 255, 255, 0, 0, 255, 255, 255, 0, 0, 0, 0, 255, 0, 0}};
    fit_picture(large, false, x);
    CHECK(out == std::vector<float>{-1.0f, 1.0f, 0.0f, -1.0f});
    const Image odd{3, 3, 1, {255, 255, 255, 255, 255, 255, 255, 255, 255}};
    fit_picture(odd, false, x);
    CHECK(*std::ranges::min_element(out) == Approx(1));
    const Image green{1, 1, 3, {0, 255, 0}};
    fit_picture(green, false, x);
    CHECK(out[3] == Approx(2 * 0.587 - 1).epsilon(1e-6));
}

TEST_SUITE_END();
