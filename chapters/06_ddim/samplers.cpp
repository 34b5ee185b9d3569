#include "06_ddim/samplers.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "03_reverse_process/posterior.hpp"
#include "tensor/array.hpp"
#include "tensor/check.hpp"
#include "tensor/flat.hpp"

namespace diffusion {

// In every step: `from` and `to` are the two levels, x0 is the guess (clipped), eps the noise that
// it implies, x = from.a x0 + from.s eps. All but ddpm, and ddim with fresh noise, solve the
// equation (6.5): dx = x0 da + eps ds.

template <class T>
void ddim_sample(const Denoiser<T>& denoiser, std::span<const Moment> path,
                 const SamplerOptions<T>& options, Tensor<T> x) {
    check_path("ddim", path);
    require(options.eta >= 0 && options.eta <= 1, "ddim: eta is ", options.eta, ", expected 0..1");
    Array<T> guess(x.shape()), noise(x.shape()), fresh(x.shape());
    const Tensor<T> x0 = guess.tensor(), eps = noise.tensor(), z = fresh.tensor();
    for (std::size_t i = 0; i + 1 < path.size(); ++i) {
        const LevelOf<T> from = path[i].level.as<T>(), to = path[i + 1].level.as<T>();
        const double variance = posterior(path[i].level, path[i + 1].level).small_variance;
        const T rho = static_cast<T>(options.eta * std::sqrt(variance));    // (6.4)
        const T rest = std::sqrt(std::max(T(0), to.s * to.s - rho * rho));  // (6.2)
        guess_x0<T>(denoiser, x, path[i], options.clip, x0);
        if (rho > 0) options.noise(static_cast<int>(i), z);
        // >>> exercise 6.1 points=2 hint="(6.3): the noise that the guess implies, then the guess at the new level, what is kept of its noise, and fresh noise"
        flat(eps) = (flat(x) - from.a * flat(x0)) / from.s;
        flat(x) = to.a * flat(x0) + rest * flat(eps);  // (6.1), (6.3)
        if (rho > 0) flat(x) += rho * flat(z);         // (6.3)
        // <<<
        if (options.observer) options.observer(path[i + 1], x);
    }
}

template <class T>
void euler_sample(const Denoiser<T>& denoiser, std::span<const Moment> path,
                  const SamplerOptions<T>& options, Tensor<T> x) {
    check_path("euler", path);
    require(path.front().level.a > 0, "euler: at t = ", path.front().t,
            " there is no picture, a = 0, and log a is not finite; begin later, or use ddim");
    Array<T> guess(x.shape()), noise(x.shape());
    const Tensor<T> x0 = guess.tensor(), eps = noise.tensor();
    for (std::size_t i = 0; i + 1 < path.size(); ++i) {
        const LevelOf<T> from = path[i].level.as<T>(), to = path[i + 1].level.as<T>();
        guess_x0<T>(denoiser, x, path[i], options.clip, x0);
        // >>> exercise 6.2 points=2 hint="(6.7): the noise that the guess implies, then L, then the step"
        flat(eps) = (flat(x) - from.a * flat(x0)) / from.s;
        const T step = std::log(to.a / from.a);
        flat(x) += step * flat(x) + (to.s - from.s - from.s * step) * flat(eps);  // (6.6), (6.7)
        // <<<
        if (options.observer) options.observer(path[i + 1], x);
    }
}

template <class T>
void heun_sample(const Denoiser<T>& denoiser, std::span<const Moment> path,
                 const SamplerOptions<T>& options, Tensor<T> x) {
    check_path("heun", path);
    Array<T> guess(x.shape()), noise(x.shape()), first(x.shape()), second(x.shape());
    const Tensor<T> x0 = guess.tensor(), eps = noise.tensor(), slope = first.tensor(),
                    there = second.tensor();
    for (std::size_t i = 0; i + 1 < path.size(); ++i) {
        const LevelOf<T> from = path[i].level.as<T>(), to = path[i + 1].level.as<T>();
        const T da = to.a - from.a, ds = to.s - from.s;
        guess_x0<T>(denoiser, x, path[i], options.clip, x0);
        // >>> exercise 6.3 points=4 hint="(6.8): the slope at the start; a step along it; if to.s > 0, ask the network there, and replace the slope by the mean of both"
        flat(eps) = (flat(x) - from.a * flat(x0)) / from.s;
        flat(slope) = da * flat(x0) + ds * flat(eps);
        flat(x) += flat(slope);  // the trial point, which is DDIM's
        if (to.s > 0) {
            guess_x0<T>(denoiser, x, path[i + 1], options.clip, x0);
            flat(eps) = (flat(x) - to.a * flat(x0)) / to.s;
            flat(there) = da * flat(x0) + ds * flat(eps);
            flat(x) += T(0.5) * (flat(there) - flat(slope));  // (6.8)
        }
        // <<<
        if (options.observer) options.observer(path[i + 1], x);
    }
}

template <class T>
void dpmpp2m_sample(const Denoiser<T>& denoiser, std::span<const Moment> path,
                    const SamplerOptions<T>& options, Tensor<T> x) {
    check_path("dpmpp2m", path);
    Array<T> guess(x.shape()), last(x.shape()), line(x.shape());
    const Tensor<T> x0 = guess.tensor(), before = last.tensor(), d = line.tensor();
    const auto clock = [](Level l) { return std::log(l.a / l.s); };  // infinite if s is 0
    double h_before = 0;
    for (std::size_t i = 0; i + 1 < path.size(); ++i) {
        const LevelOf<T> from = path[i].level.as<T>(), to = path[i + 1].level.as<T>();
        const double h = clock(path[i + 1].level) - clock(path[i].level);
        guess_x0<T>(denoiser, x, path[i], options.clip, x0);
        // >>> exercise 6.4 points=3 hint="(6.11): extrapolate the guess from the last two, then the exact step for it; (6.10) in the first step and in a last one to a level without noise"
        // A first step knows no earlier guess, and a last one to s = 0 is infinitely long: (6.10).
        const T weight = i > 0 && to.s > 0 ? static_cast<T>(h / (2 * h_before)) : T(0);
        flat(d) = flat(x0) + weight * (flat(x0) - flat(before));
        flat(x) =
            to.s / from.s * flat(x) - to.a * static_cast<T>(std::expm1(-h)) * flat(d);  // (6.11)
        // <<<
        flat(before) = flat(x0);
        h_before = h;
        if (options.observer) options.observer(path[i + 1], x);
    }
}

double flow_of_gaussian(Level from, Level to, double mean, double variance, double xt) {
    const auto deviation = [variance](Level l) {
        return std::sqrt(l.a * l.a * variance + l.s * l.s);
    };
    return to.a * mean + deviation(to) / deviation(from) * (xt - from.a * mean);  // (6.12)
}

std::vector<std::string> sampler_names() {
    std::vector<std::string> names;
    for (const auto& sampler : kSamplers<float>) names.emplace_back(sampler.name);
    return names;
}

template <class T>
const SamplerOf<T>& sampler_named(const std::string& name) {
    std::string known;
    for (const SamplerOf<T>& sampler : kSamplers<T>) {
        if (name == sampler.name) return sampler;
        known += (known.empty() ? "" : ", ") + std::string(sampler.name);
    }
    fail("sampler '", name, "': use one of ", known);
}

#define DIFFUSION_INSTANTIATE(T)                                              \
    template void ddim_sample(const Denoiser<T>&, std::span<const Moment>,    \
                              const SamplerOptions<T>&, Tensor<T>);           \
    template void euler_sample(const Denoiser<T>&, std::span<const Moment>,   \
                               const SamplerOptions<T>&, Tensor<T>);          \
    template void heun_sample(const Denoiser<T>&, std::span<const Moment>,    \
                              const SamplerOptions<T>&, Tensor<T>);           \
    template void dpmpp2m_sample(const Denoiser<T>&, std::span<const Moment>, \
                                 const SamplerOptions<T>&, Tensor<T>);        \
    template const SamplerOf<T>& sampler_named(const std::string&);
DIFFUSION_INSTANTIATE(float)
DIFFUSION_INSTANTIATE(double)
#undef DIFFUSION_INSTANTIATE

}  // namespace diffusion
