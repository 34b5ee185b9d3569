#include "01_forward_noising/q_sample.hpp"

#include <cmath>
#include <cstddef>

namespace diffusion {

namespace {

/// out = a x + b y, number by number.
template <class T>
void axpby(double a, Tensor<const T> x, double b, Tensor<const T> y, Tensor<T> out) {
    const LevelOf<T> level{static_cast<T>(a), static_cast<T>(b)};
    for (std::ptrdiff_t i = 0; i < out.numel(); ++i)
        out.data()[i] = noised(level, x.data()[i], y.data()[i]);
}

}  // namespace

template <class T>
void q_step(In<T> before, int t, In<T> eps, const Schedule& schedule, Tensor<T> xt) {
    require_same_shape("q_step", before, eps, xt);
    require(t >= 1, "q_step: t = ", t, ", expected 1..", schedule.steps());
    // >>> exercise 1.1 points=1 hint="(1.2): axpby(a, before, b, eps, xt); two square roots"
    const double beta = schedule.beta[schedule.at(t)];
    axpby(std::sqrt(1.0 - beta), before, std::sqrt(beta), eps, xt);  // (1.1), (1.2)
    // <<<
}

template <class T>
void q_sample(In<T> x0, std::span<const int> t, In<T> eps, const Schedule& schedule, Tensor<T> xt) {
    require_same_shape("q_sample", x0, eps, xt);
    require(xt.rank() >= 1, "q_sample: expected a batch [N, ...], got shape ", xt.shape());
    require(t.size() == static_cast<std::size_t>(xt.size(0)), "q_sample: ", t.size(),
            " times for a batch of ", xt.size(0));
    for (int n = 0; n < xt.size(0); ++n) {
        const int tn = t[static_cast<std::size_t>(n)];
        require(tn >= 0 && tn <= schedule.steps(), "q_sample: t = ", tn, " of sample ", n,
                " is outside 0..", schedule.steps());
        // >>> exercise 1.3 points=2 hint="(1.4): how much original is left at time tn?"
        axpby(schedule.signal(tn), x0[n], schedule.noise(tn), eps[n], xt[n]);  // (1.4)
        // <<<
    }
}

Jump q_between(const Schedule& schedule, int s, int t) {
    require(0 <= s && s < t && t <= schedule.steps(), "q_between: s = ", s, ", t = ", t,
            ", expected 0 <= s < t <= ", schedule.steps());
    // >>> exercise 1.4 points=2 hint="(1.9): steps s+1..t multiply to a ratio of two alpha_bar"
    const double left = schedule.alpha_bar[schedule.at(t)] / schedule.alpha_bar[schedule.at(s)];
    return {std::sqrt(left), std::sqrt(1.0 - left)};  // (1.9)
    // <<<
}

template <class T>
void ve_step(In<T> before, double sigma_before, double sigma_after, In<T> eps, Tensor<T> x) {
    require_same_shape("ve_step", before, eps, x);
    require(0.0 <= sigma_before && sigma_before <= sigma_after, "ve_step: noise level from ",
            sigma_before, " to ", sigma_after, ", expected 0 <= before <= after");
    const double added = sigma_after * sigma_after - sigma_before * sigma_before;
    axpby(1.0, before, std::sqrt(added), eps, x);  // (1.6)
}

template <class T>
void to_variance_exploding(In<T> xt, int t, const Schedule& schedule, Tensor<T> x) {
    require_same_shape("to_variance_exploding", xt, x);
    const double a = schedule.signal(t);
    require(a > 0.0, "to_variance_exploding: schedule ", schedule.name,
            " has no signal at t = ", t);
    axpby(1.0 / a, xt, 0.0, xt, x);  // (1.8)
}

template void q_step(In<float>, int, In<float>, const Schedule&, Tensor<float>);
template void q_step(In<double>, int, In<double>, const Schedule&, Tensor<double>);
template void q_sample(In<float>, std::span<const int>, In<float>, const Schedule&, Tensor<float>);
template void q_sample(In<double>, std::span<const int>, In<double>, const Schedule&,
                       Tensor<double>);
template void ve_step(In<float>, double, double, In<float>, Tensor<float>);
template void ve_step(In<double>, double, double, In<double>, Tensor<double>);
template void to_variance_exploding(In<float>, int, const Schedule&, Tensor<float>);
template void to_variance_exploding(In<double>, int, const Schedule&, Tensor<double>);

}  // namespace diffusion
