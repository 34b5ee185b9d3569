#include "03_reverse_process/posterior.hpp"

#include <cmath>

#include "tensor/check.hpp"

namespace diffusion {

Posterior posterior(Level t, Level s) {
    require(t.a >= 0 && t.s > 0 && s.a > 0 && s.s >= 0 && t.a * s.s < s.a * t.s,
            "posterior: from a = ", t.a, ", s = ", t.s, " to a = ", s.a, ", s = ", s.s,
            ", expected less noise for the picture");
    const double root_alpha = t.a / s.a;                              // of the step from s to t
    const double noise_t = t.s * t.s, noise_s = s.s * s.s;            // 1 - abar_t, 1 - abar_s
    const double beta = noise_t - root_alpha * root_alpha * noise_s;  // variance added from s to t
    Posterior q;                                                      // by (3.3), multiplied out
    // >>> exercise 3.1 points=3 hint="(3.4), (3.5) in the names above; where noise_s is 0 the posterior is the point x_0, so divide by noise_t and never by noise_s"
    q.x0 = s.a * beta / noise_t;                  // (3.4)
    q.xt = root_alpha * noise_s / noise_t;        // (3.4)
    q.small_variance = beta * noise_s / noise_t;  // (3.5)
    // <<<
    q.large_variance = beta;  // (3.6)
    return q;
}

Posterior posterior(const Schedule& schedule, int t, int s) {
    require(s < t, "posterior: s must come before t, got s = ", s, ", t = ", t);
    return posterior(level_at(schedule, t), level_at(schedule, s));
}

double elbo_weight(double abar_t, double abar_s) {
    require(abar_t > 0.0 && abar_t < abar_s && abar_s < 1.0,
            "elbo_weight: needs 0 < abar_t < abar_s < 1, got abar_t = ", abar_t,
            ", abar_s = ", abar_s);
    const double alpha = abar_t / abar_s;
    return (1.0 - alpha) / (2.0 * alpha * (1.0 - abar_s));  // (3.9)
}

}  // namespace diffusion
