#include "03_reverse_process/ancestral.hpp"

#include <algorithm>
#include <cmath>

#include "03_reverse_process/posterior.hpp"
#include "kernels/threads.hpp"
#include "tensor/array.hpp"
#include "tensor/check.hpp"
#include "tensor/flat.hpp"
#include "tensor/random.hpp"

namespace diffusion {
namespace {

/// Standard deviation of the fresh noise of a step: none where the picture is to be clean.
double step_sigma(const Posterior& q, Variance variance, Level to) {
    if (to.s == 0) return 0.0;
    return std::sqrt(variance == Variance::small ? q.small_variance : q.large_variance);
}

/// Every sample of x from a stream of its own.
template <class T>
void fill_samples(std::uint64_t seed, Purpose purpose, int step, std::uint32_t first, Tensor<T> x) {
    parallel_for(x.size(0), in_parallel() ? 1 : thread_count(), [&](int n) {
        fill_normal(x[n], Random(seed, purpose, static_cast<std::uint32_t>(step),
                                 first + static_cast<std::uint32_t>(n)));
    });
}

}  // namespace

std::vector<int> even_times(int T, int steps) {
    require(steps >= 1 && steps <= T, "sampling: steps is ", steps, ", expected 1..", T);
    std::vector<int> times;
    for (int i = steps; i >= 0; --i)
        times.push_back(static_cast<int>((static_cast<std::int64_t>(T) * i + steps / 2) / steps));
    return times;
}

std::vector<int> all_times(const Schedule& schedule) {
    return even_times(schedule.steps(), schedule.steps());
}

void check_path(const char* sampler, std::span<const Moment> path) {
    require(path.size() >= 2, sampler, ": a path of ", path.size(),
            " moments, expected at least two");
    for (std::size_t i = 0; i < path.size(); ++i) {
        const Level l = path[i].level;
        require(l.a >= 0 && l.s >= 0 && l.a + l.s > 0 && std::isfinite(l.a + l.s), sampler,
                ": t = ", path[i].t, " has the level a = ", l.a, ", s = ", l.s);
        if (i == 0) continue;
        const Level before = path[i - 1].level;
        require(l.s * before.a < before.s * l.a, sampler,
                ": times must fall, and the noise with them, but t = ", path[i - 1].t,
                " is followed by t = ", path[i].t);
    }
}

template <class T>
Noise<T> fresh_noise(std::uint64_t seed, std::uint32_t first_sample, Purpose purpose) {
    return [=](int step, Tensor<T> z) { fill_samples(seed, purpose, step, first_sample, z); };
}

template <class T>
void start_noise(std::uint64_t seed, Tensor<T> x, std::uint32_t first_sample) {
    fill_samples(seed, Purpose::start_noise, 0, first_sample, x);
}

template <class T>
void guess_x0(const Denoiser<T>& denoiser, Tensor<const T> xt, const Moment& at, double clip,
              Tensor<T> x0) {
    denoiser(xt, at, x0);
    const T most = static_cast<T>(clip);
    if (clip > 0)
        for (T& v : x0) v = std::clamp(v, -most, most);  // (3.18); what is not a number stays so
}

template <class T>
void ancestral_sample(const Denoiser<T>& denoiser, std::span<const Moment> path,
                      const SamplerOptions<T>& options, Tensor<T> x) {
    check_path("ancestral sampling", path);
    Array<T> guess(x.shape()), fresh(x.shape());
    const Tensor<T> x0 = guess.tensor(), z = fresh.tensor();
    for (std::size_t i = 0; i + 1 < path.size(); ++i) {
        const Level from = path[i].level, to = path[i + 1].level;
        const Posterior q = posterior(from, to);
        const T of_x0 = static_cast<T>(q.x0), of_xt = static_cast<T>(q.xt),
                sigma = static_cast<T>(step_sigma(q, options.variance, to));
        guess_x0<T>(denoiser, x, path[i], options.clip, x0);
        if (sigma > 0) options.noise(static_cast<int>(i), z);
        // >>> exercise 3.3 points=2 hint="(3.17): the posterior with the guess for x_0"
        flat(x) = of_x0 * flat(x0) + of_xt * flat(x);  // (3.17)
        if (sigma > 0) flat(x) += sigma * flat(z);     // a draw from (3.1)
        // <<<
        if (options.observer) options.observer(path[i + 1], x);
    }
}

MeanAndVariance ancestral_moments(std::span<const Moment> path, Variance variance,
                                  MeanAndVariance data) {
    check_path("ancestral_moments", path);
    require(data.variance >= 0.0, "ancestral_moments: negative variance: ", data.variance);
    MeanAndVariance x{0, 1};
    for (std::size_t i = 0; i + 1 < path.size(); ++i) {
        const Level from = path[i].level, to = path[i + 1].level;
        const Posterior q = posterior(from, to);
        const double sigma = step_sigma(q, variance, to);
        const double total = from.a * from.a * data.variance + from.s * from.s;  // of q(x_t)
        const double factor = q.x0 * from.a * data.variance / total + q.xt;      // (3.22)
        x.mean = to.a * data.mean + factor * (x.mean - from.a * data.mean);      // (3.23)
        x.variance = factor * factor * x.variance + sigma * sigma;               // (3.23)
    }
    return x;
}

#define DIFFUSION_INSTANTIATE(T)                                                                   \
    template Noise<T> fresh_noise(std::uint64_t, std::uint32_t, Purpose);                          \
    template void start_noise(std::uint64_t, Tensor<T>, std::uint32_t);                            \
    template void guess_x0(const Denoiser<T>&, Tensor<const T>, const Moment&, double, Tensor<T>); \
    template void ancestral_sample(const Denoiser<T>&, std::span<const Moment>,                    \
                                   const SamplerOptions<T>&, Tensor<T>);
DIFFUSION_INSTANTIATE(float)
DIFFUSION_INSTANTIATE(double)
#undef DIFFUSION_INSTANTIATE

}  // namespace diffusion
