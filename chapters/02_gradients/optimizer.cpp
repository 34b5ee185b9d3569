#include "02_gradients/optimizer.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/threads.hpp"
#include "tensor/check.hpp"

namespace diffusion {

template <class T>
AdamW<T>::AdamW(std::size_t count, Options options)
    : options_(options), mean_(count), square_(count) {}

template <class T>
AdamWStep<T> AdamW<T>::numbers(const Options& options, std::int64_t k, double learning_rate) {
    const auto correction = [k](double beta) {
        return static_cast<T>(1 / (1 - std::pow(beta, static_cast<double>(k))));  // (2.17)
    };
    return {.beta1 = static_cast<T>(options.beta1),
            .beta2 = static_cast<T>(options.beta2),
            .take1 = static_cast<T>(1 - options.beta1),
            .take2 = static_cast<T>(1 - options.beta2),
            .eps = static_cast<T>(options.eps),
            .correction1 = correction(options.beta1),
            .correction2 = correction(options.beta2),
            .keep = static_cast<T>(1 - learning_rate * options.weight_decay),
            .rate = static_cast<T>(learning_rate)};
}

template <class T>
void AdamW<T>::step(std::span<T> values, std::span<const T> gradient, double learning_rate,
                    const Also& also) {
    require(values.size() == mean_.size() && gradient.size() == mean_.size(), "adamw: made for ",
            mean_.size(), " parameters, got ", values.size(), " values and ", gradient.size(),
            " gradients");
    require(also.average.empty() || also.average.size() == mean_.size(),
            "adamw: ", also.average.size(), " averages for ", mean_.size(), " parameters");
    ++steps_;
    const AdamWStep<T> numbers_of_step = numbers(options_, steps_, learning_rate);
    const T factor = static_cast<T>(also.factor);
    T *x = values.data(), *m = mean_.data(), *v = square_.data();
    const T* g = gradient.data();
    const std::ptrdiff_t n = static_cast<std::ptrdiff_t>(values.size());
    // Elements do not depend on each other: any number of threads gives the same bits.
    for_each_block(n, [&](std::ptrdiff_t begin, std::ptrdiff_t end) {
        // No `omp simd`: the body of such a loop must not throw, and an open exercise does.
        for (std::ptrdiff_t i = begin; i < end; ++i)
            adamw_update(numbers_of_step, factor * g[i], x[i], m[i], v[i]);
        if (also.average.empty()) return;
        const auto part = [&](auto all) {
            return all.subspan(static_cast<std::size_t>(begin),
                               static_cast<std::size_t>(end - begin));
        };
        ema_update<T>(part(also.average), part(values), also.ema_rate);
    });
}

template <class T>
double sum_of_squares(std::span<const T> x) {
    const std::ptrdiff_t n = std::ssize(x);
    double total = 0;
    // Blocks of one size, whoever does them, and their sums added in order.
    std::array<double, 64> sums{};
    constexpr std::ptrdiff_t kRound = kBlock * std::ssize(sums);
    for (std::ptrdiff_t first = 0; first < n; first += kRound) {
        const std::ptrdiff_t count = std::min(kRound, n - first);
        for_each_block(count, [&](std::ptrdiff_t begin, std::ptrdiff_t end) {
            double sum = 0;
#pragma omp simd reduction(+ : sum)
            for (std::ptrdiff_t i = begin; i < end; ++i) {
                const double v = static_cast<double>(x.data()[first + i]);
                sum += v * v;
            }
            sums.at(static_cast<std::size_t>(begin / kBlock)) = sum;
        });
        const std::ptrdiff_t blocks = (count + kBlock - 1) / kBlock;
        for (std::ptrdiff_t i = 0; i < blocks; ++i) total += sums.at(static_cast<std::size_t>(i));
    }
    return total;
}

template <class T>
double clip_gradient(std::span<T> gradient, double max_norm) {
    require(max_norm > 0, "clip_gradient: max_norm must be positive, got ", max_norm);
    const double norm = std::sqrt(sum_of_squares<T>(gradient));
    if (norm > max_norm) {  // (2.19)
        const T factor = static_cast<T>(max_norm / norm);
        for (T& g : gradient) g *= factor;
    }
    return norm;
}

double ema_rate(std::int64_t k, double rate) {
    require(k >= 1, "ema_rate: updates count from 1, got ", k);
    const double count = static_cast<double>(k);
    return std::min(rate, (1 + count) / (10 + count));  // (2.21)
}

template <class T>
void ema_update(std::span<T> average, std::span<const T> values, double rate) {
    require(average.size() == values.size(), "ema_update: ", average.size(), " averages and ",
            values.size(), " values");
    const T take = static_cast<T>(1 - rate);
    T* a = average.data();
    const T* x = values.data();
    const std::ptrdiff_t n = static_cast<std::ptrdiff_t>(values.size());
#pragma omp simd
    for (std::ptrdiff_t i = 0; i < n; ++i) a[i] += take * (x[i] - a[i]);  // (2.20)
}

template class AdamW<float>;
template class AdamW<double>;
template double sum_of_squares(std::span<const float>);
template double sum_of_squares(std::span<const double>);
template double clip_gradient(std::span<float>, double);
template double clip_gradient(std::span<double>, double);
template void ema_update(std::span<float>, std::span<const float>, double);
template void ema_update(std::span<double>, std::span<const double>, double);

}  // namespace diffusion
