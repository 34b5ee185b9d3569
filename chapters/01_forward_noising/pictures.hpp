#pragma once
// The pictures and tables of this chapter's experiment. Each function writes its files into the run
// folder.
#include <cstdint>
#include <vector>

#include "01_forward_noising/schedule.hpp"
#include "io/run_folder.hpp"
#include "tensor/tensor.hpp"

namespace diffusion {

/// filmstrip.png: a row per schedule, x0 [H,W,C] at t = 0, T/10, ..., T with the same eps [H,W,C]
/// everywhere. schedules.csv: t = 1..T and, for each schedule, beta, abar and log_snr.
void draw_schedules(RunFolder& folder, const std::vector<Schedule>& schedules,
                    Tensor<const float> x0, Tensor<const float> eps);

/// mistakes.png: a row per entry of right_and_wrong(). variance.csv: what each makes of a pixel
/// with variance 1.
void draw_mistakes(RunFolder& folder, const Schedule& schedule, Tensor<const float> x0,
                   Tensor<const float> eps);

/// A sample's mean and standard deviation beside the ones of (1.4), at time t.
struct ChainCheck {
    int t;
    double chain_mean, jump_mean, exact_mean;
    double chain_deviation, jump_deviation, exact_deviation;
};

/// `count` pixels that start at 1 are noised step by step (1.2) and in one jump (1.4).
/// histogram.csv: t, x, and three densities at x: chain, jump, exact.
std::vector<ChainCheck> compare_chain(RunFolder& folder, const Schedule& schedule, int count,
                                      std::uint64_t seed);

}  // namespace diffusion
