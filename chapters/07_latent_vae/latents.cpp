#include "07_latent_vae/latents.hpp"

#include <algorithm>
#include <cmath>

#include "04_unet/image_ops.hpp"

namespace diffusion {
namespace {

/// x between the bounds of a log-variance.
template <class T>
Var<T> clamped(Var<T> x) {
    constexpr T kLeast = T(kLeastLogVariance), kMost = T(kMostLogVariance);
    Var<T> y = x.tape().result(x.shape(), x);
    const std::ptrdiff_t n = x.value().numel();
    for (std::ptrdiff_t i = 0; i < n; ++i)
        y.value().data()[i] = std::clamp(x.value().data()[i], kLeast, kMost);
    x.tape().record(y, [=] {
        const T *xs = x.value().data(), *dy = y.grad().data();
        T* dx = x.grad().data();
        for (std::ptrdiff_t i = 0; i < n; ++i)
            if (xs[i] >= kLeast && xs[i] <= kMost) dx[i] += dy[i];
    });
    return y;
}

}  // namespace

int latent_channels_of(const Shape& moments) {
    const int channels = moments.rank == 4 ? moments[3] / 2 : 0;
    require(channels > 0 && moments[3] == 2 * channels, "posterior: the moments are ", moments,
            ", expected [N,h,w,2C]");
    return channels;
}

template <class T>
Posterior<T> posterior_of(Var<T> moments) {
    const int channels = latent_channels_of(moments.shape());
    return {slice_channels(moments, 0, channels),
            clamped(slice_channels(moments, channels, channels))};
}

template <class T>
Var<T> draw_latent(const Posterior<T>& posterior, Tensor<const std::type_identity_t<T>> eps) {
    const Var<T> mean = posterior.mean, log_variance = posterior.log_variance;
    require_same_shape("draw_latent", mean.value(), log_variance.value(), eps);
    const Var<T> z = mean.tape().result(mean.shape(), mean, log_variance);
    const std::ptrdiff_t n = z.value().numel();
    // >>> exercise 7.1 points=2 hint="(7.6): the deviation is the root of the variance"
    for (std::ptrdiff_t i = 0; i < n; ++i) {
        const T deviation = std::exp(log_variance.value().data()[i] / 2);
        z.value().data()[i] = mean.value().data()[i] + deviation * eps.data()[i];  // (7.6)
    }
    // <<<
    mean.tape().record(z, [=] {
        const T* dz = z.grad().data();
        // >>> exercise 7.2 points=2 hint="(7.7): z moves with the mean, and with half of its own noise"
        if (mean.needs_grad()) mean.add_to_grad(z.grad());  // (7.7)
        if (log_variance.needs_grad()) {
            T* d = log_variance.grad().data();
            for (std::ptrdiff_t i = 0; i < n; ++i) {
                const T deviation = std::exp(log_variance.value().data()[i] / 2);
                d[i] += dz[i] * deviation * eps.data()[i] / 2;  // (7.7)
            }
        }
        // <<<
    });
    return z;
}

template <class T>
Var<T> latent_kl(const Posterior<T>& posterior) {
    const Var<T> mean = posterior.mean, log_variance = posterior.log_variance;
    require_same_shape("latent_kl", mean.value(), log_variance.value());
    const int pictures = mean.size(0);
    const std::ptrdiff_t numbers = mean.value().numel() / pictures;
    const Var<T> kl = mean.tape().result({pictures}, mean, log_variance);
    // >>> exercise 7.3 points=3 hint="(7.8), for each picture a sum over all numbers of its latent; (7.9) is its VJP"
    for (int n = 0; n < pictures; ++n) {
        const T *m = mean.value()[n].data(), *l = log_variance.value()[n].data();
        double sum = 0;
        for (std::ptrdiff_t i = 0; i < numbers; ++i) {
            const double mu = static_cast<double>(m[i]), log_v = static_cast<double>(l[i]);
            sum += 0.5 * (mu * mu + std::exp(log_v) - log_v - 1);  // (7.8)
        }
        kl.value()(n) = static_cast<T>(sum);
    }
    mean.tape().record(kl, [=] {
        for (int n = 0; n < pictures; ++n) {
            const T dkl = kl.grad()(n);
            const T *m = mean.value()[n].data(), *l = log_variance.value()[n].data();
            if (mean.needs_grad()) {
                T* d = mean.grad()[n].data();
                for (std::ptrdiff_t i = 0; i < numbers; ++i) d[i] += dkl * m[i];  // (7.9)
            }
            if (log_variance.needs_grad()) {
                T* d = log_variance.grad()[n].data();
                for (std::ptrdiff_t i = 0; i < numbers; ++i)
                    d[i] += dkl * std::expm1(l[i]) / 2;  // (7.9): e^l - 1
            }
        }
    });
    // <<<
    return kl;
}

#define DIFFUSION_INSTANTIATE(T)                                       \
    template Posterior<T> posterior_of(Var<T>);                        \
    template Var<T> draw_latent(const Posterior<T>&, Tensor<const T>); \
    template Var<T> latent_kl(const Posterior<T>&);
DIFFUSION_INSTANTIATE(float)
DIFFUSION_INSTANTIATE(double)
#undef DIFFUSION_INSTANTIATE

}  // namespace diffusion
