#include "06_ddim/grids.hpp"

#include <algorithm>
#include <cmath>

#include "03_reverse_process/ancestral.hpp"
#include "04_unet/denoising.hpp"
#include "tensor/check.hpp"

namespace diffusion {
namespace {

constexpr double kMostSigma = 80;

void check_steps(const Schedule& schedule, int n) {
    require(n >= 1 && n <= schedule.steps(), "step grid: steps is ", n, ", expected 1..",
            schedule.steps());
}

/// i / (n - 1): how far along the i-th of n places is.
double part(int i, int n) {
    return n == 1 ? 0.0 : static_cast<double>(i) / (n - 1);
}

/// Times without those that follow an equal one, and then 0.
std::vector<int> and_then_0(std::vector<int> times) {
    times.push_back(0);
    times.erase(std::unique(times.begin(), times.end()), times.end());
    return times;
}

/// The time in 1..T whose sigma is nearest on a logarithmic scale.
int time_of_sigma(const Schedule& schedule, double sigma) {
    int best = 1;
    const auto off = [&](int t) { return std::abs(std::log(schedule.sigma(t) / sigma)); };
    for (int t = 2; t <= schedule.steps(); ++t) {
        if (off(t) < off(best)) best = t;
    }
    return best;
}

std::vector<int> times_of_sigmas(const Schedule& schedule, const std::vector<double>& sigmas) {
    std::vector<int> times;
    for (double sigma : sigmas) times.push_back(time_of_sigma(schedule, sigma));
    return and_then_0(times);
}

double largest_sigma(const Schedule& schedule) {
    return std::min(kMostSigma, schedule.sigma(schedule.steps()));
}

}  // namespace

std::vector<int> trailing_grid(const Schedule& schedule, int n) {
    return even_times(schedule.steps(), n);
}

std::vector<int> leading_grid(const Schedule& schedule, int n, int offset) {
    check_steps(schedule, n);
    const int T = schedule.steps(), stride = T / n;
    require(offset >= 0 && 1 + offset + (n - 1) * stride <= T, "step grid leading: with ", n,
            " steps and the offset ", offset, " the first time is beyond T = ", T);
    std::vector<int> times;
    for (int i = n - 1; i >= 0; --i) times.push_back(1 + offset + i * stride);
    return and_then_0(times);
}

std::vector<int> stable_diffusion_grid(const Schedule& schedule, int n) {
    std::vector<int> times = leading_grid(schedule, n, 1);
    times.back() = 1;
    return times;
}

std::vector<int> linspace_grid(const Schedule& schedule, int n) {
    check_steps(schedule, n);
    const int T = schedule.steps();
    std::vector<int> times;
    for (int i = 0; i < n; ++i)
        times.push_back(static_cast<int>(std::lround(T + (1 - T) * part(i, n))));
    return and_then_0(times);
}

std::vector<int> karras_grid(const Schedule& schedule, int n) {
    check_steps(schedule, n);
    return times_of_sigmas(schedule, karras_sigmas(n, largest_sigma(schedule), schedule.sigma(1)));
}

std::vector<int> log_snr_grid(const Schedule& schedule, int n) {
    check_steps(schedule, n);
    return times_of_sigmas(schedule, log_snr_sigmas(n, largest_sigma(schedule), schedule.sigma(1)));
}

std::vector<int> late_grid(const Schedule& schedule, int n) {
    check_steps(schedule, n);
    std::vector<int> times;
    for (int i = 0; i < n; ++i) {
        const double rest = 1 - static_cast<double>(i) / n;
        times.push_back(static_cast<int>(
            std::lround(schedule.steps() * std::pow(rest, kTimePower))));  // (6.15)
    }
    return and_then_0(times);
}

std::vector<std::string> grid_names() {
    std::vector<std::string> names;
    for (const Grid& grid : kGrids) names.emplace_back(grid.name);
    return names;
}

std::vector<int> step_grid(const std::string& name, const Schedule& schedule, int steps) {
    std::string known;
    for (const Grid& grid : kGrids) {
        if (name == grid.name) return grid.times(schedule, steps);
        known += (known.empty() ? "" : ", ") + std::string(grid.name);
    }
    fail("step grid '", name, "': use one of ", known);
}

std::vector<double> karras_sigmas(int n, double largest, double least, double rho) {
    require(n >= 1 && largest >= least && least > 0 && rho > 0, "karras_sigmas: ", n, " from ",
            largest, " to ", least, " with rho = ", rho, ", expected largest >= least > 0");
    const double from = std::pow(largest, 1 / rho), to = std::pow(least, 1 / rho);
    std::vector<double> sigmas;
    for (int i = 0; i < n; ++i)
        sigmas.push_back(std::pow(from + (to - from) * part(i, n), rho));  // (6.13)
    return sigmas;
}

std::vector<double> log_snr_sigmas(int n, double largest, double least) {
    require(n >= 1 && largest >= least && least > 0, "log_snr_sigmas: ", n, " from ", largest,
            " to ", least, ", expected largest >= least > 0");
    std::vector<double> sigmas;
    for (int i = 0; i < n; ++i)
        sigmas.push_back(largest * std::pow(least / largest, part(i, n)));  // (6.14)
    return sigmas;
}

std::vector<Moment> moments_of_sigmas(const Schedule& schedule, const std::vector<double>& sigmas) {
    std::vector<Moment> path;
    int last = schedule.steps();
    if (std::isinf(schedule.sigma(last))) --last;  // pure noise has no place on a line
    for (const double sigma : sigmas) {
        require(sigma > 0 && sigma <= schedule.sigma(last) * (1 + 1e-12),
                "moments_of_sigmas: sigma = ", sigma, ", the schedule's last is ",
                schedule.sigma(last));
        int above = 1;  // the first whole time with at least this much noise
        while (above < last && schedule.sigma(above) < sigma) ++above;
        double t = above;
        if (above > 1) {
            const double low = std::log(schedule.sigma(above - 1)),
                         high = std::log(schedule.sigma(above));
            t = above - (high - std::log(sigma)) / (high - low);
        }
        const double a = 1 / std::sqrt(1 + sigma * sigma);  // (1.8) with a^2 + s^2 = 1
        path.push_back({t, {a, sigma * a}});
    }
    path.push_back({0, {}});
    return path;
}

}  // namespace diffusion
