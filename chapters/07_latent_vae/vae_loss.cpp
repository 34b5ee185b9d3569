#include "07_latent_vae/vae_loss.hpp"

#include <cmath>
#include <utility>

#include "02_gradients/ops.hpp"
#include "04_unet/weighted_mse.hpp"
#include "tensor/random.hpp"

namespace diffusion {

template <class T>
Var<T> autoencoder_loss(Var<T> decoded, Tensor<std::type_identity_t<T>> x, Var<T> kl,
                        double weight) {
    require(kl.shape() == Shape{x.size(0)}, "autoencoder_loss: x is ", x.shape(), ", the KL ",
            kl.shape());
    const Tensor<T> ones = decoded.tape().numbers().template make<T>({x.size(0)});
    fill(ones, T(1));
    const double numbers = static_cast<double>(x.numel());  // of all pictures: N D
    return add(weighted_mse(decoded, x, ones).loss,
               scale(sum(kl), static_cast<T>(weight / numbers)));  // (7.11)
}

template <class T>
Var<T> absolute_error(Var<T> decoded, Tensor<std::type_identity_t<T>> x) {
    require_same_shape("absolute_error", decoded.value(), x);
    const std::ptrdiff_t numbers = x.numel();
    const Var<T> error = decoded.tape().result({1}, decoded);
    double total = 0;
    for (std::ptrdiff_t i = 0; i < numbers; ++i)
        total += std::abs(static_cast<double>(decoded.value().data()[i] - x.data()[i]));
    error.value()(0) = static_cast<T>(total / static_cast<double>(numbers));  // (7.18)
    decoded.tape().record(error, [=] {
        const T step = error.grad()(0) / static_cast<T>(numbers);
        const Tensor<T> d = decoded.grad();
        for (std::ptrdiff_t i = 0; i < numbers; ++i) {
            const T difference = decoded.value().data()[i] - x.data()[i];
            d.data()[i] += difference > 0 ? step : difference < 0 ? -step : T(0);
        }
    });
    return error;
}

Trainer::Loss autoencoder_task(const Autoencoder& autoencoder, Source source, double weight,
                               std::uint64_t seed, double absolute) {
    return [=, &autoencoder, source = std::move(source)](Tape<float>& tape, std::int64_t step,
                                                         int first, int count) {
        const Tensor<float> x = source(tape.arena(), step, first, count).x0;
        const Posterior<float> posterior = autoencoder.encode(tape.constant(x));
        const Tensor<float> eps = tape.numbers().make<float>(posterior.mean.shape());
        for (int i = 0; i < count; ++i)
            fill_normal(eps[i], Random(seed, Purpose::noise, static_cast<std::uint32_t>(step),
                                       static_cast<std::uint32_t>(first + i)));
        const Var<float> decoded = autoencoder.decode(draw_latent<float>(posterior, eps));
        const Var<float> loss = autoencoder_loss(decoded, x, latent_kl(posterior), weight);
        if (absolute == 0) return loss;
        return add(loss, scale(absolute_error(decoded, x), static_cast<float>(absolute)));
    };
}

template Var<float> autoencoder_loss(Var<float>, Tensor<float>, Var<float>, double);
template Var<double> autoencoder_loss(Var<double>, Tensor<double>, Var<double>, double);
template Var<float> absolute_error(Var<float>, Tensor<float>);
template Var<double> absolute_error(Var<double>, Tensor<double>);

}  // namespace diffusion
