#pragma once
// The reverse step when the answer is known: q(x_s | x_t, x_0), a Gaussian in closed form, and what
// it says about the loss. Ho, Jain, Abbeel 2020, arXiv:2006.11239; Kingma et al. 2021,
// arXiv:2107.00630 for any s < t.
#include "01_forward_noising/schedule.hpp"

namespace diffusion {

/// (3.2) q(x_s | x_t, x_0) = N(x0 * x_0 + xt * x_t, variance I). The two variances are the ends
/// between which the best choice for p(x_s | x_t) lies.
struct Posterior {
    double x0 = 0.0;              ///< coefficient of x_0 (3.4)
    double xt = 0.0;              ///< coefficient of x_t (3.4)
    double small_variance = 0.0;  ///< the posterior's own variance (3.5): right for a single point
    double large_variance = 0.0;  ///< beta of the step (3.6): right for data of variance 1
};

/// The posterior at level s from level t. Fails unless there is less noise for the picture at s:
/// s.s / s.a < t.s / t.a.
Posterior posterior(Level t, Level s);

/// The same at two times of a schedule. Fails unless 0 <= s < t <= T.
Posterior posterior(const Schedule& schedule, int t, int s);

/// Factor of |eps - eps_hat|^2 in the step's term (3.8) of the ELBO with the small variance, in
/// nats (3.9); that of |x_0 - x0_hat|^2 is (3.10). The usual loss replaces it by 1. Fails unless 0
/// < abar_t < abar_s < 1: the last step, s = 0, has no such term.
double elbo_weight(double abar_t, double abar_s);

}  // namespace diffusion
