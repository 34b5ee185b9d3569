#include "04_unet/weighted_mse.hpp"

namespace diffusion {

template <class T>
WeightedError<T> weighted_mse(Var<T> x, Tensor<T> target, Tensor<T> weight) {
    require_same_shape("weighted_mse", x.value(), target);
    const int samples = x.size(0);
    require(weight.shape() == Shape{samples}, "weighted_mse: x is ", x.shape(),
            ", the weights are ", weight.shape());
    const std::ptrdiff_t numbers = x.value().numel() / samples;
    const Var<T> loss = x.tape().result({1}, x);
    const Tensor<T> of_sample = x.tape().aside({samples});
    double total = 0;
    for (int n = 0; n < samples; ++n) {
        const T *y = x.value()[n].data(), *wanted = target[n].data();
        double square = 0;
        for (std::ptrdiff_t k = 0; k < numbers; ++k) {
            const double difference = static_cast<double>(y[k] - wanted[k]);
            square += difference * difference;
        }
        of_sample(n) = static_cast<T>(square / static_cast<double>(numbers));
        total += static_cast<double>(weight(n)) * square / static_cast<double>(numbers);
    }
    loss.value()(0) = static_cast<T>(total / samples);  // (4.15)
    x.tape().record(loss, [=] {
        const Tensor<T> dx = x.grad();
        for (int n = 0; n < samples; ++n) {
            const T *y = x.value()[n].data(), *wanted = target[n].data();
            T* d = dx[n].data();
            const T factor = 2 * weight(n) * loss.grad()(0) / static_cast<T>(samples * numbers);
#pragma omp simd
            for (std::ptrdiff_t k = 0; k < numbers; ++k) d[k] += factor * (y[k] - wanted[k]);
        }
    });
    return {loss, of_sample};
}

template WeightedError<float> weighted_mse(Var<float>, Tensor<float>, Tensor<float>);
template WeightedError<double> weighted_mse(Var<double>, Tensor<double>, Tensor<double>);

}  // namespace diffusion
