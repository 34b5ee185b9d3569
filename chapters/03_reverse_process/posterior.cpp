#include "03_reverse_process/posterior.hpp"

#include <cmath>

#include "tensor/check.hpp"

namespace diffusion {

Posterior posterior(double abar_t, double abar_s) {
    require(abar_t >= 0.0 && abar_t < abar_s && abar_s <= 1.0,
            "posterior: needs 0 <= abar_t < abar_s <= 1, got abar_t = ", abar_t,
            ", abar_s = ", abar_s);
    const double alpha = abar_t / abar_s;  // signal power kept from s to t
    const double beta = 1.0 - alpha;       // noise variance added from s to t
    const double noise_t = 1.0 - abar_t, noise_s = 1.0 - abar_s;
    Posterior q;
    // >>> exercise 3.1 points=3 hint="multiply the precision (3.3) and the mean by v"
    q.x0 = std::sqrt(abar_s) * beta / noise_t;    // (3.4)
    q.xt = std::sqrt(alpha) * noise_s / noise_t;  // (3.4)
    q.small_variance = beta * noise_s / noise_t;  // (3.5)
    // <<<
    q.large_variance = beta;  // (3.6)
    return q;
}

Posterior posterior(const Schedule& schedule, int t, int s) {
    require(s < t, "posterior: s must come before t, got s = ", s, ", t = ", t);
    return posterior(schedule.alpha_bar[schedule.at(t)], schedule.alpha_bar[schedule.at(s)]);
}

double elbo_weight(double abar_t, double abar_s) {
    require(abar_t > 0.0 && abar_t < abar_s && abar_s < 1.0,
            "elbo_weight: needs 0 < abar_t < abar_s < 1, got abar_t = ", abar_t,
            ", abar_s = ", abar_s);
    const double alpha = abar_t / abar_s;
    return (1.0 - alpha) / (2.0 * alpha * (1.0 - abar_s));  // (3.9)
}

}  // namespace diffusion
