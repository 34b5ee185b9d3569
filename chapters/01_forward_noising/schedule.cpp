#include "01_forward_noising/schedule.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numbers>
#include <utility>

#include "io/json.hpp"
#include "tensor/check.hpp"

namespace diffusion {

std::size_t Schedule::at(int t) const {
    require(t >= 0 && t <= steps(), "schedule ", name, ": t = ", t, " is outside 0..", steps());
    return static_cast<std::size_t>(t);
}

double Schedule::signal(int t) const {
    return std::sqrt(alpha_bar[at(t)]);
}  // (1.4)
double Schedule::noise(int t) const {
    return std::sqrt(1.0 - alpha_bar[at(t)]);
}  // (1.4)
double Schedule::sigma(int t) const {
    return noise(t) / signal(t);
}  // (1.8)

double Schedule::log_snr(int t) const {
    if (at(t) == 0) return std::numeric_limits<double>::infinity();
    // >>> exercise 1.5 points=1 hint="(1.10): log of the signal's power over the noise's power"
    const double abar = alpha_bar[at(t)];
    return std::log(abar) - std::log1p(-abar);  // (1.10)
    // <<<
}

std::vector<Moment> moments(const Schedule& schedule, std::span<const int> times) {
    std::vector<Moment> all;
    for (int t : times) all.push_back({static_cast<double>(t), level_at(schedule, t)});
    return all;
}

Schedule schedule_from_betas(std::string name, const std::vector<double>& betas) {
    require(!betas.empty(), "schedule ", name, ": needs at least one step");
    Schedule schedule{std::move(name), {0.0}, {1.0}};
    for (double beta : betas) {
        require(beta > 0.0 && beta <= 1.0, "schedule ", schedule.name, ": beta of step ",
                schedule.beta.size(), " is ", beta, ", expected above 0 and at most 1");
        schedule.beta.push_back(beta);
        schedule.alpha_bar.push_back(schedule.alpha_bar.back() * (1.0 - beta));  // (1.4)
    }
    return schedule;
}

Schedule schedule_from_alpha_bars(std::string name, const std::vector<double>& alpha_bars) {
    require(!alpha_bars.empty(), "schedule ", name, ": needs at least one step");
    Schedule schedule{std::move(name), {0.0}, {1.0}};
    for (double abar : alpha_bars) {
        const double before = schedule.alpha_bar.back();
        require(abar >= 0.0 && abar < before, "schedule ", schedule.name, ": alpha_bar of step ",
                schedule.beta.size(), " is ", abar, ", expected at least 0 and below ", before);
        schedule.beta.push_back(1.0 - abar / before);  // (1.17)
        schedule.alpha_bar.push_back(abar);
    }
    return schedule;
}

Schedule schedule_from_sigmas(std::string name, const std::vector<double>& sigmas) {
    std::vector<double> alpha_bars;
    double before = 0.0;
    for (double sigma : sigmas) {
        require(sigma > before, "schedule ", name, ": sigma of step ", alpha_bars.size() + 1,
                " is ", sigma, ", expected above ", before);
        alpha_bars.push_back(1.0 / (1.0 + sigma * sigma));  // (1.17)
        before = sigma;
    }
    return schedule_from_alpha_bars(std::move(name), alpha_bars);
}

Schedule zero_terminal_snr(const Schedule& schedule) {
    const int T = schedule.steps();
    require(T >= 2, "zero_terminal_snr: schedule ", schedule.name, " has ", T,
            " steps, expected at least 2");
    const double first = schedule.signal(1), last = schedule.signal(T);
    std::vector<double> alpha_bars;
    for (int t = 1; t <= T; ++t) {
        const double share = (schedule.signal(t) - last) / (first - last);
        alpha_bars.push_back(schedule.alpha_bar[1] * share * share);  // (1.18)
    }
    return schedule_from_alpha_bars(schedule.name + ", zero terminal SNR", alpha_bars);
}

namespace {

void require_steps(const char* name, int T) {
    require(T >= 1, "schedule ", name, ": T = ", T, ", expected at least 1 step");
}

/// first, ..., last in T equal strides; both ends are met exactly.
std::vector<double> ramp(double first, double last, int T) {
    std::vector<double> values;
    for (int i = 0; i < T; ++i)
        values.push_back(std::lerp(first, last, i / std::max(T - 1.0, 1.0)));
    return values;
}

/// f(u) of (1.13).
double squared_cosine(double u, double offset) {
    require(u + offset >= 0.0, "schedule cosine: offset = ", offset, ", expected 0 or more");
    // >>> exercise 1.6 points=2 hint="f(u) of (1.13); offset is the s of the paper"
    const double c = std::cos((u + offset) / (1.0 + offset) * std::numbers::pi / 2.0);
    return c * c;  // (1.13)
    // <<<
}

/// What the ends of a ramp are multiplied by.
double end_scale(const char* name, int T, double last, Ends ends) {
    if (ends == Ends::as_given) return 1.0;
    const double scale = 1000.0 / T;
    require(last * scale <= 1.0, "schedule ", name, ": with T = ", T, " the last beta would be ",
            last * scale, "; use at least ", std::ceil(1000.0 * last), " steps");
    return scale;
}

/// The betas whose product follows a given falling curve alpha_bar(u), u = t / T in [0, 1]. The
/// curve is divided by its own start, so that alpha_bar[0] = 1.
std::vector<double> betas_of_curve(const std::function<double(double)>& curve, int T,
                                   double max_beta) {
    std::vector<double> betas;
    for (int t = 1; t <= T; ++t) {
        const double before = curve(static_cast<double>(t - 1) / T);
        const double after = curve(static_cast<double>(t) / T);
        betas.push_back(std::min(1.0 - after / before, max_beta));  // (1.13), (1.14)
    }
    return betas;
}

}  // namespace

Schedule linear_schedule(int T, double first, double last, Ends ends) {
    require_steps("linear", T);
    const double scale = end_scale("linear", T, last, ends);
    return schedule_from_betas("linear", ramp(scale * first, scale * last, T));  // (1.11)
}

Schedule scaled_linear_schedule(int T, double first, double last, Ends ends) {
    require_steps("scaled_linear", T);
    const double scale = end_scale("scaled_linear", T, last, ends);
    std::vector<double> betas = ramp(std::sqrt(scale * first), std::sqrt(scale * last), T);
    for (double& beta : betas) beta *= beta;  // (1.12)
    return schedule_from_betas("scaled_linear", betas);
}

Schedule cosine_schedule(int T, double offset, double max_beta) {
    require_steps("cosine", T);
    const auto curve = [offset](double u) { return squared_cosine(u, offset); };
    return schedule_from_betas("cosine", betas_of_curve(curve, T, max_beta));
}

Schedule sigmoid_schedule(int T, double start, double end, double tau, double max_beta) {
    require_steps("sigmoid", T);
    require(start < end && tau > 0.0, "schedule sigmoid: expected start < end and tau > 0, got ",
            start, ", ", end, " and ", tau);
    const auto sigmoid = [](double x) { return 1.0 / (1.0 + std::exp(-x)); };
    const auto curve = [=](double u) {
        return sigmoid(end / tau) - sigmoid((start + u * (end - start)) / tau);  // (1.14)
    };
    return schedule_from_betas("sigmoid", betas_of_curve(curve, T, max_beta));
}

Schedule make_schedule(const std::string& name, int T) {
    if (name == "linear") return linear_schedule(T);
    if (name == "scaled_linear") return scaled_linear_schedule(T);
    if (name == "cosine") return cosine_schedule(T);
    if (name == "sigmoid") return sigmoid_schedule(T);
    std::string known;
    for (const char* each : kScheduleNames) known += std::string(known.empty() ? "" : ", ") + each;
    fail("schedule: there is no ", in_quotes(name), ", expected one of ", known);
}

}  // namespace diffusion
