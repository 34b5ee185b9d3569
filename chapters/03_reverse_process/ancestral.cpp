#include "03_reverse_process/ancestral.hpp"

#include <algorithm>
#include <cmath>

#include "03_reverse_process/posterior.hpp"
#include "03_reverse_process/prediction.hpp"
#include "tensor/check.hpp"
#include "tensor/random.hpp"

namespace diffusion {
namespace {

void check_times(const Schedule& schedule, std::span<const int> times) {
    require(times.size() >= 2 && times.back() == 0,
            "ancestral sampling: times must fall to 0 and hold at least two entries");
    for (std::size_t i = 0; i + 1 < times.size(); ++i) {
        require(times[i] > times[i + 1], "ancestral sampling: times must fall, but ", times[i],
                " is followed by ", times[i + 1]);
        schedule.at(times[i]);  // fails outside 0..T
    }
}

// Standard deviation of the fresh noise of the step from t to s: none on the last step.
double step_sigma(const Posterior& q, Variance variance, int s) {
    if (s == 0) return 0.0;
    return std::sqrt(variance == Variance::small ? q.small_variance : q.large_variance);
}

}  // namespace

std::vector<int> all_times(const Schedule& schedule) {
    std::vector<int> times;
    for (int t = schedule.steps(); t >= 0; --t) times.push_back(t);
    return times;
}

template <class T>
void start_noise(std::uint64_t seed, Tensor<T> x, std::uint32_t first_sample) {
    for (int n = 0; n < x.size(0); ++n) {
        const auto sample = first_sample + static_cast<std::uint32_t>(n);
        fill_normal(x[n], Random(seed, Purpose::start_noise, 0, sample));
    }
}

template <class T>
void ancestral_sample(const Denoiser<T>& denoiser, const Schedule& schedule,
                      std::span<const int> times, const AncestralOptions& options, Tensor<T> x,
                      const Observer<T>& observer) {
    check_times(schedule, times);
    require(options.clip >= 0.0, "ancestral sampling: clip must not be negative: ", options.clip);
    std::vector<T> memory(static_cast<std::size_t>(x.numel()));
    const Tensor<T> guess(memory.data(), x.shape());
    for (std::size_t i = 0; i + 1 < times.size(); ++i) {
        const int t = times[i], s = times[i + 1];
        const Posterior q = posterior(schedule, t, s);
        const double sigma = step_sigma(q, options.variance, s);
        denoiser(x, t, guess);
        for (int n = 0; n < x.size(0); ++n) {
            Random random(options.seed, Purpose::ancestral_noise, static_cast<std::uint32_t>(t),
                          options.first_sample + static_cast<std::uint32_t>(n));
            const Tensor<T> xn = x[n], gn = guess[n];
            for (std::ptrdiff_t k = 0; k < xn.numel(); ++k) {
                const double xt = static_cast<double>(xn.data()[k]);
                double x0 = static_cast<double>(gn.data()[k]);
                if (options.clip > 0.0) x0 = std::clamp(x0, -options.clip, options.clip);  // (3.18)
                // >>> exercise 3.3 points=2 hint="(3.17): the posterior with the guess for x_0"
                double xs = q.x0 * x0 + q.xt * xt;               // (3.17)
                if (sigma > 0.0) xs += sigma * random.normal();  // (3.17)
                xn.data()[k] = static_cast<T>(xs);  // a draw from (3.1)
                // <<<
            }
        }
        if (observer) observer(s, x);
    }
}

PixelMoments ancestral_moments(const Schedule& schedule, std::span<const int> times,
                               Variance variance, PixelMoments data) {
    check_times(schedule, times);
    require(data.variance >= 0.0, "ancestral_moments: negative variance: ", data.variance);
    PixelMoments x{0.0, 1.0};
    for (std::size_t i = 0; i + 1 < times.size(); ++i) {
        const int t = times[i], s = times[i + 1];
        const double a = schedule.signal(t), noise = schedule.noise(t);
        const Posterior q = posterior(schedule, t, s);
        const double sigma = step_sigma(q, variance, s);
        const double total = a * a * data.variance + noise * noise;     // variance of q(x_t)
        const double factor = q.x0 * a * data.variance / total + q.xt;  // (3.22)
        x.mean = schedule.signal(s) * data.mean + factor * (x.mean - a * data.mean);  // (3.23)
        x.variance = factor * factor * x.variance + sigma * sigma;                    // (3.23)
    }
    return x;
}

template void start_noise(std::uint64_t, Tensor<float>, std::uint32_t);
template void start_noise(std::uint64_t, Tensor<double>, std::uint32_t);
template void ancestral_sample(const Denoiser<float>&, const Schedule&, std::span<const int>,
                               const AncestralOptions&, Tensor<float>, const Observer<float>&);
template void ancestral_sample(const Denoiser<double>&, const Schedule&, std::span<const int>,
                               const AncestralOptions&, Tensor<double>, const Observer<double>&);

}  // namespace diffusion
