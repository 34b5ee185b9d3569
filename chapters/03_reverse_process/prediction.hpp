#pragma once
// Four ways to say the same thing about x_t = a x_0 + s eps: the noise eps, the picture x_0, the
// velocity v (Salimans and Ho 2022, arXiv:2202.00512) and the score. Each one and x_t give the
// others. The functions take single numbers; v needs a^2 + s^2 = 1.
#include <string>

#include "01_forward_noising/schedule.hpp"

namespace diffusion {

/// The factors of picture and noise in (1.4).
struct Level {
    double a = 1.0, s = 0.0;
};
inline Level level_at(const Schedule& schedule, int t) {
    return {schedule.signal(t), schedule.noise(t)};
}

inline double x0_from_eps(Level l, double xt, double eps) {
    return (xt - l.s * eps) / l.a;  // (3.11), needs a > 0
}
inline double eps_from_x0(Level l, double xt, double x0) {
    return (xt - l.a * x0) / l.s;  // (3.11), needs s > 0
}

inline double v_from(Level l, double x0, double eps) {
    return l.a * eps - l.s * x0;  // (3.12)
}
inline double x0_from_v(Level l, double xt, double v) {
    // >>> exercise 3.2 points=1 hint="(x_t, v) is (x_0, eps) rotated: rotate back"
    return l.a * xt - l.s * v;  // (3.13)
    // <<<
}
inline double eps_from_v(Level l, double xt, double v) {
    return l.s * xt + l.a * v;  // (3.13)
}

inline double score_from_eps(Level l, double eps) {
    return -eps / l.s;  // (3.14), needs s > 0
}
inline double eps_from_score(Level l, double score) {
    return -l.s * score;  // (3.14)
}
inline double x0_from_score(Level l, double xt, double score) {
    return (xt + l.s * l.s * score) / l.a;  // (3.15), Tweedie; needs a > 0
}

/// What a network's output stands for.
enum class Prediction { eps, x0, v, score };

/// "eps", "x0", "v" or "score". Fails on any other name.
Prediction prediction_from_name(const std::string& name);

/// A guess at both parts of x_t, with a x0 + s eps = x_t.
struct Estimate {
    double x0 = 0.0, eps = 0.0;
};

/// Both parts from one prediction. Needs a > 0 for eps and score, s > 0 for x0.
Estimate estimate(Prediction kind, Level level, double xt, double value);

}  // namespace diffusion
