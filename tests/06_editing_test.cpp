// Chapter 6: what is done with pictures that are given.
#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "06_ddim/editing.hpp"
#include "06_ddim/grids.hpp"
#include "support/known_denoisers.hpp"
#include "support/varied.hpp"
#include "tensor/random.hpp"

using namespace diffusion;
using doctest::Approx;

TEST_SUITE_BEGIN("ch06 math");

TEST_CASE("(6.16) inverted and drawn again a picture is what it was, the better the more rounds") {
    const Denoiser<double> denoiser = gaussian_denoiser(0.2, 0.3);
    std::vector<Moment> times = path(step_grid("trailing", cosine(), 20));
    times.pop_back();  // every step from a level with noise has one answer
    double before = 1;
    for (const int rounds : {1, 4, 40}) {
        Pixels x({varied(0.9), -0.4});
        const std::vector<double> picture = x.values;
        ddim_invert<double>(denoiser, times, {.rounds = rounds}, x.tensor());
        ddim_sample<double>(denoiser, times, {}, x.tensor());
        const double error =
            std::abs(x.values[0] - picture[0]) + std::abs(x.values[1] - picture[1]);
        CHECK(error < before);
        before = error;
    }
    CHECK(before < 1e-6);
    CHECK_THROWS_AS(ddim_invert<double>(denoiser, times, {.rounds = 0}, Pixels({1.0}).tensor()),
                    Error);
}

TEST_CASE("(6.16) inverted and drawn again on levels that do not preserve the variance") {
    const Denoiser<double> denoiser = gaussian_denoiser(0.2, 0.3);
    std::vector<Moment> flow;
    for (const double t : {1.0, 0.8, 0.6, 0.45, 0.3, 0.2}) flow.push_back({t, {1 - t, t}});
    Pixels x({varied(0.9), -0.4});
    const std::vector<double> picture = x.values;
    ddim_invert<double>(denoiser, flow, {.rounds = 60}, x.tensor());
    ddim_sample<double>(denoiser, flow, {}, x.tensor());
    for (std::size_t i = 0; i < 2; ++i) CHECK(x.values[i] == Approx(picture[i]).epsilon(1e-9));
}

TEST_CASE("(6.16) a pixel that is the same in all pictures comes from normal noise") {
    const Denoiser<double> denoiser = gaussian_denoiser(-1, 0);
    const std::vector<Moment> times = path(step_grid("trailing", cosine(), 20));
    Pixels x(std::vector<double>(20'000, -1));
    ddim_invert<double>(denoiser, times,
                        {.rounds = 40, .noise = editing_noise<double>(varied_seed(1))}, x.tensor());
    double sum = 0, square = 0;
    for (const double z : x.values) {
        sum += z / 20'000;
        square += z * z / 20'000;
    }
    CHECK(std::abs(sum) < 0.03);  // four standard errors
    CHECK(std::abs(square - 1) < 0.04);
    ddim_sample<double>(denoiser, times, {}, x.tensor());
    for (const double pixel : x.values) CHECK(pixel == Approx(-1));
}

TEST_CASE("(6.17) the great circle keeps the length and divides the angle evenly") {
    const std::vector<double> a{2, 0, 0};
    std::vector<double> y(3);
    for (const double angle : {0.9, std::acos(0.0), 2.5}) {
        const std::vector<double> b{2 * std::cos(angle), 2 * std::sin(angle), 0};
        for (const double share : {0.0, 0.25, 0.5, 0.9, 1.0}) {
            slerp<double>({a.data(), {3}}, {b.data(), {3}}, share, {y.data(), {3}});
            CHECK(std::hypot(y[0], y[1]) == Approx(2).epsilon(1e-12));
            CHECK(std::atan2(y[1], y[0]) == Approx(share * angle).epsilon(1e-12).scale(1));
        }
    }
    const std::vector<double> opposite{-2, 0, 0};
    CHECK_THROWS_WITH_AS(
        slerp<double>({a.data(), {3}}, {opposite.data(), {3}}, 0.3, {y.data(), {3}}),
        "slerp: the ends are opposite, and many circles join them", Error);
    slerp<double>({a.data(), {3}}, {a.data(), {3}}, 0.3, {y.data(), {3}});
    CHECK(y[0] == Approx(2));
    const std::vector<double> zero(3);
    CHECK_THROWS_AS(slerp<double>({a.data(), {3}}, {zero.data(), {3}}, 0.3, {y.data(), {3}}),
                    Error);
}

TEST_CASE("(6.18) what is kept has the noise of each level on the way, and none at the end") {
    const int n = 20'000;
    const Shape shape{n, 1};
    std::vector<double> x(n), known(n, 0.8);
    const std::vector<double> keep(n, 1.0);
    start_noise<double>(5, {x.data(), shape});
    int levels = 0;
    inpaint<double>(
        kKnown, path({1000, 700, 300, 0}), {known.data(), shape}, {keep.data(), shape},
        {.repeats = 2,
         .clip = 0,
         .noise = editing_noise<double>(6),
         .observer =
             [&](const Moment& at, Tensor<const double> xs) {
                 double mean = 0, square = 0;
                 for (const double v : xs) mean += v / n;
                 for (const double v : xs) square += (v - mean) * (v - mean) / n;
                 const Level l = at.level;
                 CHECK(std::abs(mean - l.a * 0.8) <= 5 * l.s / std::sqrt(n) + 1e-12);
                 CHECK(std::abs(square - l.s * l.s) <= 5 * l.s * l.s * std::sqrt(2.0 / n) + 1e-12);
                 ++levels;
             }},
        {x.data(), shape});
    CHECK(levels == 3);
    for (const double v : x) CHECK(v == 0.8);
}

TEST_CASE("(6.18) (6.19) inpainting asks for its noise in the order of its steps") {
    // One pixel that is drawn, one that is kept; the guess is always 0.25; noise number k is all k.
    const Denoiser<double> quarter = [](Tensor<const double>, const Moment&, Tensor<double> x0) {
        for (double& v : x0) v = 0.25;
    };
    std::vector<int> asked;
    const Noise<double> noise = [&](int number, Tensor<double> z) {
        asked.push_back(number);
        for (double& v : z) v = number;
    };
    const std::vector<double> known{0.0, 0.8}, keep{0.0, 1.0};
    const Level high = level(700), low = level(300);
    const double rho = std::sqrt(low.s * low.s / (high.s * high.s) *
                                 (1 - high.a * high.a / (low.a * low.a)));  // (6.4)
    const auto step = [&](double x, double z) {                             // (6.3)
        return low.a * 0.25 + std::sqrt(low.s * low.s - rho * rho) * (x - high.a * 0.25) / high.s +
               rho * z;
    };
    const auto back = [&](double x, double z) {  // (6.19)
        const double share = high.a / low.a;
        return share * x + std::sqrt(1 - share * share) * z;
    };
    std::vector<double> x{0.5, 0.5};
    inpaint<double>(quarter, path({700, 300, 0}), {known.data(), {1, 2}}, {keep.data(), {1, 2}},
                    {.repeats = 2,
                     .clip = 0,
                     .noise = noise,
                     .observer =
                         [&](const Moment& at, Tensor<const double> xs) {
                             if (at.t == 0) return;
                             CHECK(xs(0, 0) == Approx(step(back(step(0.5, 0), 2), 3)));
                             CHECK(xs(0, 1) == Approx(low.a * 0.8 + low.s * 4));  // (6.18)
                         }},
                    {x.data(), {1, 2}});
    CHECK(asked == std::vector{0, 1, 2, 3, 4, 5});
    CHECK(x[0] == Approx(0.25));
    CHECK(x[1] == 0.8);
}

TEST_CASE("(6.18) (6.19) what is drawn depends on what is kept as it does in the data") {
    // Pairs of normal numbers with correlation 0.9. Given 1 for the first, the second has mean 0.9
    // and deviation 0.436.
    constexpr double kRho = 0.9;
    const Denoiser<double> denoiser = [](Tensor<const double> xt, const Moment& at,
                                         Tensor<double> x0) {
        const Level l = at.level;
        for (int i = 0; i < xt.size(0); ++i) {  // along (1, 1) and (1, -1) pixels are independent
            const double sum = (xt(i, 0) + xt(i, 1)) / 2, off = (xt(i, 0) - xt(i, 1)) / 2;
            const auto guess = [&](double y, double v) {
                return l.a * v / (l.a * l.a * v + l.s * l.s) * y;
            };
            const double a = guess(sum, 1 + kRho), b = guess(off, 1 - kRho);
            x0(i, 0) = a + b;
            x0(i, 1) = a - b;
        }
    };
    const int n = 4'000;
    const Shape shape{n, 2};
    std::vector<double> x(2 * n), known(2 * n, 1.0), keep(2 * n, 0.0);
    for (std::size_t i = 0; i < n; ++i) keep[2 * i] = 1;
    start_noise<double>(5, {x.data(), shape});
    inpaint<double>(denoiser, path(step_grid("trailing", cosine(), 50)), {known.data(), shape},
                    {keep.data(), shape},
                    {.repeats = 10, .clip = 0, .noise = editing_noise<double>(6)},
                    {x.data(), shape});
    double mean = 0, square = 0;
    for (std::size_t i = 0; i < n; ++i) mean += x[2 * i + 1] / n;
    for (std::size_t i = 0; i < n; ++i) square += (x[2 * i + 1] - mean) * (x[2 * i + 1] - mean) / n;
    CHECK(mean == Approx(0.9).epsilon(0.05).scale(0));
    CHECK(std::sqrt(square) == Approx(0.436).epsilon(0.12).scale(0));
}

TEST_CASE("(6.20) an edit begins with pictures noised to its strength") {
    const int n = 20'000;
    std::vector<double> x(n, 0.8);
    const std::vector<int> times = times_from(std::vector{1000, 500, 0}, 1000, 0.6);
    CHECK(times.front() == 600);
    CHECK(times == std::vector{600, 500, 0});
    start_edit<double>(moment(600), editing_noise<double>(7), {x.data(), {n, 1}});
    const Level l = level(600);
    double mean = 0, square = 0;
    for (const double v : x) mean += v / n;
    for (const double v : x) square += (v - mean) * (v - mean) / n;
    CHECK(std::abs(mean - l.a * 0.8) < 5 * l.s / std::sqrt(n));
    CHECK(square == Approx(l.s * l.s).epsilon(5 * std::sqrt(2.0 / n)).scale(0));
}

TEST_CASE("(6.20) an edit begins at its strength and goes on along the grid") {
    const std::vector<int> times{1000, 750, 500, 250, 0};
    CHECK(times_from(times, 1000, 1.0) == times);
    CHECK(times_from(times, 1000, 0.5) == std::vector{500, 250, 0});
    CHECK(times_from(times, 1000, 0.6) == std::vector{600, 500, 250, 0});
    CHECK(times_from(std::vector{501, 1, 0}, 1000, 0.5) == std::vector{500, 1, 0});
    CHECK_THROWS_AS(times_from(times, 1000, 0.0), Error);
    CHECK_THROWS_AS(times_from(times, 1000, 1.1), Error);
}

TEST_SUITE_END();
