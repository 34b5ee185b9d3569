#include "06_ddim/grids.hpp"

#include <algorithm>
#include <cmath>

#include "04_unet/denoising.hpp"
#include "tensor/check.hpp"

namespace diffusion {
namespace {

constexpr double kMostSigma = 80, kRho = 7;

/// The time in 1..T whose sigma is nearest on a logarithmic scale.
int time_of_sigma(const Schedule& schedule, double sigma) {
    int best = 1;
    const auto off = [&](int t) { return std::abs(std::log(schedule.sigma(t) / sigma)); };
    for (int t = 2; t <= schedule.steps(); ++t) {
        if (off(t) < off(best)) best = t;
    }
    return best;
}

}  // namespace

std::vector<int> step_grid(const std::string& name, const Schedule& schedule, int steps) {
    const int T = schedule.steps(), n = steps;
    require(n >= 1 && n <= T, "step grid: steps is ", n, ", expected 1..", T);
    if (name == "trailing") return even_times(T, n);
    // What the other grids say for i = 0, the first step, to n - 1, the last.
    const auto part = [n](int i) { return n == 1 ? 0.0 : static_cast<double>(i) / (n - 1); };
    const double most = std::min(kMostSigma, schedule.sigma(T)), least = schedule.sigma(1);
    const auto time = [&](int i) {
        if (name == "leading") return 1 + (n - 1 - i) * (T / n);
        if (name == "linspace") return static_cast<int>(std::lround(T + (1 - T) * part(i)));
        if (name == "karras") {
            const double from = std::pow(most, 1 / kRho), to = std::pow(least, 1 / kRho);
            return time_of_sigma(schedule, std::pow(from + (to - from) * part(i), kRho));  // (6.13)
        }
        if (name == "logsnr")
            return time_of_sigma(schedule, most * std::pow(least / most, part(i)));  // (6.14)
        if (name == "late") {
            const double rest = 1 - static_cast<double>(i) / n;
            return static_cast<int>(std::lround(T * std::pow(rest, kTimePower)));  // (6.15)
        }
        fail("step grid '", name, "': use trailing, leading, linspace, karras, logsnr or late");
    };
    std::vector<int> times;
    for (int i = 0; i < n; ++i) times.push_back(time(i));
    times.push_back(0);
    times.erase(std::unique(times.begin(), times.end()), times.end());
    return times;
}

std::string own_grid(const std::string& sampler, int steps, int T) {
    if (sampler == "heun" || sampler == "euler") return "karras";
    return steps == T ? "trailing" : "late";
}

}  // namespace diffusion
