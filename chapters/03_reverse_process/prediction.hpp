#pragma once
// Four ways to say the same thing about x_t = a x_0 + s eps: the noise eps, the picture x_0, the
// velocity v (Salimans and Ho 2022, arXiv:2202.00512) and the score. Each one and x_t give the
// others. The functions take single numbers, on the CPU in double, on a GPU in float; v needs
// a^2 + s^2 = 1.
#include <array>
#include <limits>
#include <string>

#include "01_forward_noising/schedule.hpp"

namespace diffusion {

template <class T>
constexpr T x0_from_eps(LevelOf<T> l, T xt, T eps) {
    return (xt - l.s * eps) / l.a;  // (3.11), needs a > 0
}
template <class T>
constexpr T eps_from_x0(LevelOf<T> l, T xt, T x0) {
    return (xt - l.a * x0) / l.s;  // (3.11), needs s > 0
}

template <class T>
constexpr T v_from(LevelOf<T> l, T x0, T eps) {
    return l.a * eps - l.s * x0;  // (3.12)
}
template <class T>
constexpr T x0_from_v(LevelOf<T> l, T xt, T v) {
    // >>> exercise 3.2 points=1 hint="(x_t, v) is (x_0, eps) rotated: rotate back"
    return l.a * xt - l.s * v;  // (3.13)
    // <<<
}
template <class T>
constexpr T eps_from_v(LevelOf<T> l, T xt, T v) {
    return l.s * xt + l.a * v;  // (3.13)
}

template <class T>
constexpr T score_from_eps(LevelOf<T> l, T eps) {
    return -eps / l.s;  // (3.14), needs s > 0
}
template <class T>
constexpr T eps_from_score(LevelOf<T> l, T score) {
    return -l.s * score;  // (3.14)
}
template <class T>
constexpr T x0_from_score(LevelOf<T> l, T xt, T score) {
    return (xt + l.s * l.s * score) / l.a;  // (3.15), Tweedie; needs a > 0
}

/// What a network's output stands for.
enum class Prediction { eps, x0, v, score };

/// What a network that predicts `kind` should say, and x_0 from what it says.
template <class T>
constexpr T wanted_from(Prediction kind, LevelOf<T> l, T x0, T eps) {
    switch (kind) {
        case Prediction::eps:
            return eps;
        case Prediction::x0:
            return x0;
        case Prediction::v:
            return v_from(l, x0, eps);
        case Prediction::score:
            return score_from_eps(l, eps);
    }
    return std::numeric_limits<T>::quiet_NaN();  // no kind of prediction
}
template <class T>
constexpr T x0_from(Prediction kind, LevelOf<T> l, T xt, T said) {
    switch (kind) {
        case Prediction::eps:
            return x0_from_eps(l, xt, said);
        case Prediction::x0:
            return said;
        case Prediction::v:
            return x0_from_v(l, xt, said);
        case Prediction::score:
            return x0_from_score(l, xt, said);
    }
    return std::numeric_limits<T>::quiet_NaN();
}

/// Fails where a prediction of this kind does not tell the picture: eps and score without one,
/// a = 0; v where a^2 + s^2 is not 1.
void check_level(Prediction kind, Level level);

/// A prediction by name.
struct NamedPrediction {
    const char* name;
    Prediction kind;
};
inline constexpr std::array<NamedPrediction, 4> kPredictions = {{
    {"eps", Prediction::eps},
    {"x0", Prediction::x0},
    {"v", Prediction::v},
    {"score", Prediction::score},
}};
const char* prediction_name(Prediction kind);
/// Fails on a name that is not in the table, and names those that are.
Prediction prediction_from_name(const std::string& name);

}  // namespace diffusion
