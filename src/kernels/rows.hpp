#pragma once
// Loops over a row of numbers that compilers do not turn into SIMD code by themselves.
#include <algorithm>
#include <numeric>

#include "kernels/exp.hpp"
#include "kernels/simd.hpp"

namespace diffusion {

/// The largest of x_0 .. x_{n-1}: clang++ leaves a loop with a maximum scalar.
template <class T>
T largest_of(const T* x, int n) {
    using S = Simd<T>;
    typename S::Vector most = S::fill(x[0]);
    int i = 0;
    for (; i + S::width <= n; i += S::width) {
        const typename S::Vector v = S::load(x + i);
        most = v > most ? v : most;
    }
    T largest = x[0];
    for (int k = 0; k < S::width; ++k) largest = std::max<T>(largest, most[k]);
    return std::accumulate(x + i, x + n, largest, [](T a, T b) { return std::max(a, b); });
}

/// y_i = exp(x_i - from).
template <class T>
void exp_of_differences(const T* x, T from, T* y, int n) {
    for_each_register<T>(n, [=](int i, auto load, auto store) {
        store(y + i, fast_exp(load(x + i) - Simd<T>::fill(from)));
    });
}

/// sum_i f(a_i, b_i, ..). f takes numbers or registers of them.
template <class T, class F, class... Rows>
T sum_over(int n, F f, const Rows*... rows) {
    using S = Simd<T>;
    const int registers = n / S::width;
    T sum = sum_of_elements<T>(sum_of_terms<typename S::Vector>(
        registers, [=](int k) { return f(S::load(rows + k * S::width)...); }));
    for (int i = registers * S::width; i < n; ++i) sum += f(rows[i]...);
    return sum;
}

/// sum_i a_i b_i
template <class T>
T dot(const T* a, const T* b, int n) {
    return sum_over<T>(
        n, [](auto x, auto y) { return x * y; }, a, b);
}

}  // namespace diffusion
