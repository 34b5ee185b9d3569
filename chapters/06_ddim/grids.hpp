#pragma once
// Which of a schedule's T times a short chain visits.
#include <array>
#include <string>
#include <vector>

#include "01_forward_noising/schedule.hpp"

namespace diffusion {

inline constexpr std::array<const char*, 6> kGridNames = {"trailing", "leading", "linspace",
                                                          "karras",   "logsnr",  "late"};

/// Times that fall strictly and end in 0. With `steps` = n there are n + 1 of them, fewer where two
/// round to the same number.
///   trailing  T i / n, rounded, i = n .. 0: begins at T, no matter what n is
///   leading   1 + i floor(T / n), i = n - 1 .. 0: not T, unless n = T
///   linspace  n times from T to 1, equally far apart
///   karras    sigma^(1/7) falls in a straight line (6.13) (Karras et al. 2022, arXiv:2206.00364)
///   logsnr    log-SNR rises in a straight line (6.14)
///   late      T (1 - i / n)^p, i = 0 .. n: as often as training, by default, meets them (6.15)
/// karras and logsnr begin where sigma is 80, if it becomes larger than that.
/// Fails on another name, and unless 1 <= n <= T.
std::vector<int> step_grid(const std::string& name, const Schedule& schedule, int steps);

/// The grid on which a sampler does best (lesson 6.6): karras for heun and euler, late for the
/// others; but trailing where all T steps are asked for, of which late would leave some out.
std::string own_grid(const std::string& sampler, int steps, int T);

}  // namespace diffusion
