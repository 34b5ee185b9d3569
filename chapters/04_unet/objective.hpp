#pragma once
// What a network is asked for, at which times, and how much each of them counts: the choices in
// (4.15).
#include <functional>

#include "01_forward_noising/schedule.hpp"
#include "03_reverse_process/prediction.hpp"

namespace diffusion {

/// A network is told t - 1 where a schedule says t: it counts the moments that have noise from 0,
/// as public models do.
inline Moment as_told(Moment at) {
    at.t -= 1;
    return at;
}
/// The moments of some times of a schedule, as a network is told them.
std::vector<Moment> told_moments(const Schedule& schedule, std::span<const int> times);

struct Objective {
    Prediction prediction = Prediction::x0;
    std::function<Moment(double u)> moment;       ///< drawn by u, which is uniform in [0, 1)
    std::function<double(const Moment&)> weight;  ///< w_t
};

inline constexpr double kTimePower = 0.35;  ///< p of (4.15), unless told otherwise

/// The w_t of (4.15): 1 for eps and v; min(1 / s^2, 5) (a + 0.1) for x_0: the weight of v, cut off
/// where there is hardly any noise, and less where little can be known.
double loss_weight(Prediction prediction, Level level);

/// (4.15) for a schedule: t = 1 + floor(T u^p). With time_power p below 1 late times are drawn more
/// often.
Objective diffusion_objective(const Schedule& schedule, Prediction prediction, double time_power);

}  // namespace diffusion
