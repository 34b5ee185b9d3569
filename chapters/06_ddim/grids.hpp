#pragma once
// Which moments of a schedule a short path visits.
#include <array>
#include <string>
#include <vector>

#include "01_forward_noising/schedule.hpp"

namespace diffusion {

// Grids of whole times, for networks that know no others. Each has n + 1 times that fall, fewer
// where two round to the same number; the last is 0 but for stable_diffusion_grid. All fail unless
// 1 <= n <= T.

/// T i / n, rounded, i = n .. 0: begins at T, no matter what n is.
std::vector<int> trailing_grid(const Schedule& schedule, int n);
/// 1 + offset + i floor(T / n), i = n - 1 .. 0, and 0: not T, unless n = T.
std::vector<int> leading_grid(const Schedule& schedule, int n, int offset = 0);
/// Stable Diffusion's (diffusers: leading, steps_offset 1, set_alpha_to_one false): with offset 1,
/// and the last step ends at t = 1. For n < T.
std::vector<int> stable_diffusion_grid(const Schedule& schedule, int n);
/// n times from T to 1, equally far apart, and 0.
std::vector<int> linspace_grid(const Schedule& schedule, int n);
/// The times whose sigmas are nearest to karras_sigmas or log_snr_sigmas, from sigma = 80 (or from
/// the schedule's largest) to that of t = 1, and 0.
std::vector<int> karras_grid(const Schedule& schedule, int n);
std::vector<int> log_snr_grid(const Schedule& schedule, int n);
/// T (1 - i / n)^p, i = 0 .. n: as often as training, by default, meets them (6.15).
std::vector<int> late_grid(const Schedule& schedule, int n);

/// A grid by name.
struct Grid {
    const char* name;
    std::vector<int> (*times)(const Schedule& schedule, int n);
    const char* what;  ///< for --help
};
inline constexpr std::array<Grid, 7> kGrids = {{
    {"trailing", trailing_grid, "evenly from T to 0"},
    {"leading", [](const Schedule& s, int n) { return leading_grid(s, n); }, "evenly from below T"},
    {"linspace", linspace_grid, "evenly from T to 1, then 0"},
    {"karras", karras_grid, "sigma^(1/7) in a straight line"},
    {"logsnr", log_snr_grid, "log-SNR in a straight line"},
    {"late", late_grid, "as often as training meets them"},
    {"stable_diffusion", stable_diffusion_grid, "leading, one time later, and ends at t = 1"},
}};
std::vector<std::string> grid_names();
/// The times of a grid by name. Fails on a name that is not in the table.
std::vector<int> step_grid(const std::string& name, const Schedule& schedule, int steps);

/// sigma^(1/rho) falls in a straight line from the largest to the least (6.13) (Karras et al. 2022,
/// arXiv:2206.00364). Fails unless largest >= least > 0.
std::vector<double> karras_sigmas(int n, double largest, double least, double rho = 7);
/// log sigma does, and log-SNR rises (6.14).
std::vector<double> log_snr_sigmas(int n, double largest, double least);
/// The moments with these sigmas = s / a, the picture shrunk as the schedule shrinks it, and one
/// without noise at the end. Times are interpolated in log sigma between whole ones: for networks
/// that know any time. Fails on sigmas beyond the schedule's last that is finite.
std::vector<Moment> moments_of_sigmas(const Schedule& schedule, const std::vector<double>& sigmas);

}  // namespace diffusion
