#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "06_ddim/grids.hpp"
#include "support/file_checks.hpp"
#include "support/known_denoisers.hpp"

using namespace diffusion;
using doctest::Approx;

TEST_SUITE_BEGIN("ch06 math");

TEST_CASE("(6.13) (6.14) (6.15) step grids fall strictly to 0, and are what their names say") {
    for (const Grid& grid : kGrids) {
        for (const int n : {1, 2, 7, 20, 1000}) {
            CAPTURE(grid.name);
            CAPTURE(n);
            const bool ends_at_1 = grid.times == stable_diffusion_grid;
            if (ends_at_1 && n == 1000) continue;  // its first time would be beyond T
            const std::vector<int> times = grid.times(cosine(), n);
            CHECK(times.back() == (ends_at_1 ? 1 : 0));
            CHECK(std::ranges::adjacent_find(times, std::less_equal<>()) == times.end());
            CHECK(times.front() <= 1000);
            CHECK(static_cast<int>(times.size()) <= n + 1);
        }
    }
    CHECK(step_grid("trailing", cosine(), 4).front() == 1000);
    CHECK(step_grid("trailing", cosine(), 4) == std::vector{1000, 750, 500, 250, 0});
    CHECK(step_grid("leading", cosine(), 4) == std::vector{751, 501, 251, 1, 0});
    CHECK(step_grid("linspace", cosine(), 4) == std::vector{1000, 667, 334, 1, 0});
    CHECK(step_grid("stable_diffusion", cosine(), 4) == std::vector{752, 502, 252, 2, 1});
    CHECK(leading_grid(cosine(), 4, 10) == std::vector{761, 511, 261, 11, 0});
    CHECK_THROWS_AS(leading_grid(cosine(), 1000, 1), Error);
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
        "step grid 'even': use one of trailing, leading, linspace, karras, logsnr, late, "
        "stable_diffusion",
        Error);
    CHECK_THROWS_WITH_AS(step_grid("karras", cosine(), 1001),
                         "step grid: steps is 1001, expected 1..1000", Error);
}

TEST_CASE("(6.13) (6.14) sigmas with parameters of one's own, and moments between whole times") {
    const std::vector<double> straight = karras_sigmas(5, 10, 2, 1);
    for (std::size_t i = 0; i < 5; ++i)
        CHECK(straight[i] == Approx(10 - 2 * static_cast<double>(i)).epsilon(1e-14));
    const std::vector<double> powers = log_snr_sigmas(4, 8, 1);
    for (std::size_t i = 0; i < 4; ++i)
        CHECK(powers[i] == Approx(std::pow(2, 3 - static_cast<double>(i))).epsilon(1e-14));
    CHECK_THROWS_AS(karras_sigmas(5, 1, 2), Error);
    const double between = std::sqrt(cosine().sigma(400) * cosine().sigma(401));
    const std::vector<Moment> path =
        moments_of_sigmas(cosine(), {cosine().sigma(700), between, cosine().sigma(1)});
    CHECK(path[0].t == Approx(700).epsilon(1e-12));
    CHECK(path[1].t == Approx(400.5).epsilon(1e-12));
    CHECK(path[2].t == Approx(1).epsilon(1e-12));
    CHECK(path[0].level.a == Approx(level(700).a).epsilon(1e-12));
    CHECK(path[1].level.s / path[1].level.a == Approx(between).epsilon(1e-12));
    CHECK(path[3].level.s == 0);
    CHECK_THROWS_AS(moments_of_sigmas(cosine(), {1e9}), Error);
    const Schedule to_noise = zero_terminal_snr(cosine());  // sigma_T is infinite
    CHECK(moments_of_sigmas(to_noise, {to_noise.sigma(999)})[0].t == Approx(999).epsilon(1e-12));
    CHECK_THROWS_AS(moments_of_sigmas(to_noise, {1.1 * to_noise.sigma(999)}), Error);
}

TEST_SUITE_END();
