#pragma once
// How fast the samplers converge, on data for which everything is known.
#include <string>
#include <vector>

namespace diffusion {

struct OrderResult {
    std::string sampler;
    int order;  ///< as derived
    std::vector<int> steps;
    std::vector<double> error;  ///< largest, against (6.12)
    double measured;            ///< minus the slope of log error over log steps
};

/// Solves the probability-flow ODE for N(0.3, 0.25) in double, from sigma = 10 to sigma = 0.1, with
/// 16 to 256 steps that are equal in log-SNR, by every sampler without fresh noise.
std::vector<OrderResult> measure_orders();

}  // namespace diffusion
