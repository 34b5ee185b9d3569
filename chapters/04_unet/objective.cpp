#include "04_unet/objective.hpp"

#include <algorithm>
#include <cmath>

namespace diffusion {

double loss_weight(Prediction prediction, Level level) {
    constexpr double kMost = 5, kLeast = 0.1;
    if (prediction != Prediction::x0) return 1;
    const double square = level.s * level.s;
    return (square > 1 / kMost ? 1 / square : kMost) * (level.a + kLeast);  // (4.15)
}

std::vector<Moment> told_moments(const Schedule& schedule, std::span<const int> times) {
    std::vector<Moment> path = moments(schedule, times);
    std::ranges::transform(path, path.begin(), as_told);
    return path;
}

Objective diffusion_objective(const Schedule& schedule, Prediction prediction, double time_power) {
    return {prediction,
            [schedule, time_power](double u) {
                const int T = schedule.steps(),
                          t = 1 + std::min(T - 1, static_cast<int>(std::pow(u, time_power) * T));
                return as_told({static_cast<double>(t), level_at(schedule, t)});  // (4.15)
            },
            [prediction](const Moment& at) { return loss_weight(prediction, at.level); }};
}

}  // namespace diffusion
