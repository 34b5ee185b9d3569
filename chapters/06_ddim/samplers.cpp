#include "06_ddim/samplers.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "03_reverse_process/posterior.hpp"
#include "03_reverse_process/prediction.hpp"
#include "tensor/check.hpp"
#include "tensor/random.hpp"

namespace diffusion {
namespace {

void check_times(const Schedule& schedule, std::span<const int> times) {
    require(times.size() >= 2, "sampler: ", times.size(), " times, expected at least two");
    for (std::size_t i = 0; i + 1 < times.size(); ++i) {
        require(times[i] > times[i + 1], "sampler: times must fall, but ", times[i],
                " is followed by ", times[i + 1]);
    }
    schedule.at(times.front());
    schedule.at(times.back());
}

/// Memory for a guess or a slope of the shape of x.
template <class T>
struct Like {
    std::vector<T> memory;
    Tensor<T> tensor;
    explicit Like(Tensor<T> x)
        : memory(static_cast<std::size_t>(x.numel())), tensor(memory.data(), x.shape()) {}
};

/// The denoiser's guess of x_0, clipped (3.18).
template <class T>
void guess_x0(const Denoiser<T>& denoiser, Tensor<const T> x, int t, double clip, Tensor<T> x0) {
    denoiser(x, t, x0);
    if (clip <= 0) return;
    for (T& v : x0) v = std::clamp(v, static_cast<T>(-clip), static_cast<T>(clip));
}

/// f(number of the element) for all elements, in double: new values of x.
template <class T, class F>
void update(Tensor<T> x, F f) {
    for (std::ptrdiff_t k = 0; k < x.numel(); ++k) x.data()[k] = static_cast<T>(f(k));
}

template <class T>
double at(Tensor<T> x, std::ptrdiff_t k) {
    return static_cast<double>(x.data()[k]);
}

}  // namespace

template <class T>
void ddim_sample(const Denoiser<T>& denoiser, const Schedule& schedule, std::span<const int> times,
                 const DdimOptions& options, Tensor<T> x, const Observer<T>& observer) {
    check_times(schedule, times);
    require(options.eta >= 0 && options.eta <= 1, "ddim: eta is ", options.eta, ", expected 0..1");
    const Like<T> guess(x);
    for (std::size_t i = 0; i + 1 < times.size(); ++i) {
        const int t = times[i], s = times[i + 1];
        const Level from = level_at(schedule, t), to = level_at(schedule, s);
        const double rho =
            options.eta * std::sqrt(posterior(schedule, t, s).small_variance);  // (6.4)
        const double rest = std::sqrt(std::max(0.0, to.s * to.s - rho * rho));  // (6.2)
        guess_x0<T>(denoiser, x, t, options.clip, guess.tensor);
        for (int n = 0; n < x.size(0); ++n) {
            Random random(options.seed, Purpose::ancestral_noise, static_cast<std::uint32_t>(t),
                          options.first_sample + static_cast<std::uint32_t>(n));
            const Tensor<T> x0 = guess.tensor[n], xn = x[n];
            update(xn, [&](std::ptrdiff_t k) -> double {
                // >>> exercise 6.1 points=2 hint="(6.3): the guess at the new level, what is kept of its noise, and fresh noise"
                const double eps = eps_from_x0(from, at(xn, k), at(x0, k));
                const double xs = to.a * at(x0, k) + rest * eps;   // (6.1), (6.3)
                return rho > 0 ? xs + rho * random.normal() : xs;  // (6.3)
                // <<<
            });
        }
        if (observer) observer(s, x);
    }
}

template <class T>
void euler_sample(const Denoiser<T>& denoiser, const Schedule& schedule, std::span<const int> times,
                  double clip, Tensor<T> x, const Observer<T>& observer) {
    check_times(schedule, times);
    const Like<T> guess(x);
    for (std::size_t i = 0; i + 1 < times.size(); ++i) {
        const int t = times[i], s = times[i + 1];
        const Level from = level_at(schedule, t), to = level_at(schedule, s);
        const double step = std::log(to.a / from.a);
        guess_x0<T>(denoiser, x, t, clip, guess.tensor);
        update(x, [&](std::ptrdiff_t k) -> double {
            // >>> exercise 6.2 points=2 hint="(6.6): the slope is x plus the score"
            const double eps = eps_from_x0(from, at(x, k), at(guess.tensor, k));
            return at(x, k) + step * (at(x, k) + score_from_eps(from, eps));  // (6.6), (6.7)
            // <<<
        });
        if (observer) observer(s, x);
    }
}

template <class T>
void heun_sample(const Denoiser<T>& denoiser, const Schedule& schedule, std::span<const int> times,
                 double clip, Tensor<T> x, const Observer<T>& observer) {
    check_times(schedule, times);
    const Like<T> guess(x), slope(x), start(x);
    for (std::size_t i = 0; i + 1 < times.size(); ++i) {
        const int t = times[i], s = times[i + 1];
        const Level from = level_at(schedule, t), to = level_at(schedule, s);
        const double step = to.s / to.a - from.s / from.a;  // of sigma
        // >>> exercise 6.3 points=4 hint="(6.8): keep the start and the slope there; go to the trial point; if s > 0, ask the network there and go again from the start, with the mean of both slopes"
        // In the coordinates y = x / a the slope is eps (6.5).
        guess_x0<T>(denoiser, x, t, clip, guess.tensor);
        std::copy(x.begin(), x.end(), start.tensor.begin());
        update(slope.tensor,
               [&](std::ptrdiff_t k) { return eps_from_x0(from, at(x, k), at(guess.tensor, k)); });
        update(x, [&](std::ptrdiff_t k) {
            return to.a * (at(start.tensor, k) / from.a + step * at(slope.tensor, k));
        });
        if (s > 0) {
            guess_x0<T>(denoiser, x, s, clip, guess.tensor);
            update(x, [&](std::ptrdiff_t k) -> double {
                const double there = eps_from_x0(to, at(x, k), at(guess.tensor, k));
                const double mean = 0.5 * (at(slope.tensor, k) + there);
                return to.a * (at(start.tensor, k) / from.a + step * mean);  // (6.8)
            });
        }
        // <<<
        if (observer) observer(s, x);
    }
}

template <class T>
void dpmpp2m_sample(const Denoiser<T>& denoiser, const Schedule& schedule,
                    std::span<const int> times, double clip, Tensor<T> x,
                    const Observer<T>& observer) {
    check_times(schedule, times);
    const Like<T> guess(x), before(x);
    double h_before = 0;
    for (std::size_t i = 0; i + 1 < times.size(); ++i) {
        const int t = times[i], s = times[i + 1];
        const Level from = level_at(schedule, t), to = level_at(schedule, s);
        const double h = (schedule.log_snr(s) - schedule.log_snr(t)) / 2;  // infinite if s is 0
        guess_x0<T>(denoiser, x, t, clip, guess.tensor);
        // >>> exercise 6.4 points=3 hint="(6.11): extrapolate the guess from the last two, then the exact step for it; (6.10) in the first step and in a last one to 0"
        // A first step knows no earlier guess, and a last one to 0 is infinitely long: (6.10).
        const double weight = i > 0 && s > 0 ? h / (2 * h_before) : 0;
        update(x, [&](std::ptrdiff_t k) {
            const double d =
                at(guess.tensor, k) + weight * (at(guess.tensor, k) - at(before.tensor, k));
            return to.s / from.s * at(x, k) - to.a * std::expm1(-h) * d;  // (6.11)
        });
        // <<<
        std::copy(guess.tensor.begin(), guess.tensor.end(), before.tensor.begin());
        h_before = h;
        if (observer) observer(s, x);
    }
}

double flow_of_gaussian(Level from, Level to, double mean, double variance, double xt) {
    const auto deviation = [variance](Level l) {
        return std::sqrt(l.a * l.a * variance + l.s * l.s);
    };
    return to.a * mean + deviation(to) / deviation(from) * (xt - from.a * mean);  // (6.12)
}

#define DIFFUSION_INSTANTIATE(T)                                                                  \
    template void ddim_sample(const Denoiser<T>&, const Schedule&, std::span<const int>,          \
                              const DdimOptions&, Tensor<T>, const Observer<T>&);                 \
    template void euler_sample(const Denoiser<T>&, const Schedule&, std::span<const int>, double, \
                               Tensor<T>, const Observer<T>&);                                    \
    template void heun_sample(const Denoiser<T>&, const Schedule&, std::span<const int>, double,  \
                              Tensor<T>, const Observer<T>&);                                     \
    template void dpmpp2m_sample(const Denoiser<T>&, const Schedule&, std::span<const int>,       \
                                 double, Tensor<T>, const Observer<T>&);
DIFFUSION_INSTANTIATE(float)
DIFFUSION_INSTANTIATE(double)
#undef DIFFUSION_INSTANTIATE

}  // namespace diffusion
