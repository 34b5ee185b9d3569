#include "02_gradients/muon.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/gemm.hpp"
#include "kernels/threads.hpp"

namespace diffusion {

template <class T>
void orthogonalize(Tensor<T> x, Arena& scratch) {
    require(x.rank() == 2, "orthogonalize: expected a matrix, got ", x.shape());
    constexpr T a = T(3.4445), b = T(-4.7750), c = T(2.0315);
    constexpr int kRounds = 5;
    Arena::Scope scope(scratch);
    const int rows = x.size(0), columns = x.size(1), k = std::min(rows, columns);
    double square = 0;
    for (T value : x) square += static_cast<double>(value) * static_cast<double>(value);
    if (square == 0) return;
    const double factor = 1 / std::sqrt(square);  // in double, for it may be huge
    for (T& value : x)                            // now no singular value exceeds 1
        value = static_cast<T>(static_cast<double>(value) * factor);
    const Strided<T> plain = by_rows<T>(x.data(), columns),
                     turned = transposed<T>(x.data(), columns);
    const Tensor<T> gram = scratch.make<T>({k, k}), poly = scratch.make<T>({k, k}),
                    next = scratch.make<T>({rows, columns});
    // >>> exercise 2.6 points=3 hint="(2.23), kRounds times: the gram matrix, the polynomial poly = b G + c G^2, then x = a x + poly times x, on the gram matrix's side"
    for (int round = 0; round < kRounds; ++round) {
        // The smaller of X X^T and X^T X; (2.23) holds with either, on its own side.
        if (rows < columns) {
            gemm(k, k, columns, plain, turned, gram.data(), false, scratch);
        } else {
            gemm(k, k, rows, turned, plain, gram.data(), false, scratch);
        }
        const Strided<T> g = by_rows<T>(gram.data(), k), p = by_rows<T>(poly.data(), k);
        gemm(k, k, k, g, g, poly.data(), false, scratch);
        for (std::ptrdiff_t i = 0; i < poly.numel(); ++i) {
            poly.data()[i] = b * gram.data()[i] + c * poly.data()[i];
        }
        if (rows < columns) {
            gemm(rows, columns, k, p, plain, next.data(), false, scratch);
        } else {
            gemm(rows, columns, k, plain, p, next.data(), false, scratch);
        }
        for (std::ptrdiff_t i = 0; i < x.numel(); ++i)
            x.data()[i] = a * x.data()[i] + next.data()[i];  // (2.23)
    }
    // <<<
}

template <class T>
Muon<T>::Muon(std::vector<Parameter> matrices, std::size_t count, Options options)
    : matrices_(std::move(matrices)), options_(options), momentum_(count) {
    for (int i = 0; i < std::max(1, thread_count()); ++i)
        arenas_.push_back(std::make_unique<Arena>());
    // The largest ones first: dealt out in this order, the work is about the same for each thread.
    std::ranges::stable_sort(matrices_, [](const Parameter& x, const Parameter& y) {
        return x.shape.numel() > y.shape.numel();
    });
}

template <class T>
void Muon<T>::step(std::span<T> values, std::span<T> gradient, double learning_rate,
                   double factor) {
    require(values.size() == momentum_.size() && gradient.size() == momentum_.size(),
            "muon: made for ", momentum_.size(), " parameters, got ", values.size(), " values and ",
            gradient.size(), " gradients");
    parallel_for(static_cast<int>(matrices_.size()), static_cast<int>(arenas_.size()), [&](int i) {
        step_matrix(matrices_[static_cast<std::size_t>(i)], values, gradient, learning_rate, factor,
                    *arenas_[thread_number()]);
    });
}

template <class T>
void Muon<T>::step_matrix(const Parameter& matrix, std::span<T> values, std::span<T> gradient,
                          double learning_rate, double factor, Arena& arena) {
    const std::ptrdiff_t n = matrix.shape.numel();
    const int columns = matrix.shape.back(), rows = static_cast<int>(n / columns);
    const Tensor<T> direction = arena.make<T>({rows, columns});
    T *x = values.data() + matrix.offset, *g = gradient.data() + matrix.offset;
    T *m = momentum_.data() + matrix.offset, *d = direction.data();
    const T keep = static_cast<T>(options_.momentum), take = static_cast<T>(1 - options_.momentum);
    const T scale = static_cast<T>(factor);
    for (std::ptrdiff_t i = 0; i < n; ++i) {
        const T gradient_i = scale * g[i];
        m[i] = keep * m[i] + take * gradient_i;  // (2.24)
        d[i] = keep * m[i] + take * gradient_i;  // (2.24) one step further on: Nesterov
        g[i] = 0;
    }
    orthogonalize(direction, arena);
    const T rate = static_cast<T>(learning_rate * options_.scale *
                                  std::sqrt(static_cast<double>(std::max(rows, columns))));
    for (std::ptrdiff_t i = 0; i < n; ++i) x[i] -= rate * d[i];  // (2.24)
    arena.reset();
}

template void orthogonalize(Tensor<float>, Arena&);
template void orthogonalize(Tensor<double>, Arena&);
template class Muon<float>;
template class Muon<double>;

}  // namespace diffusion
