#pragma once
// The exponential as a polynomial, so that loops that use it become SIMD code.
#include <bit>
#include <cmath>
#include <cstdint>

#include "kernels/simd.hpp"

namespace diffusion {

/// e^x with a relative error below 2e-7 for x in [-87, 88]; below it is at most e^-87, above at
/// least 1e38, and NaN stays NaN. x = n ln 2 + r with |r| <= ln 2 / 2; e^r is a polynomial, 2^n is
/// written into the exponent bits. F is float or a register of them.
template <class F, class ToInt, class ToFloatBits>
F exp_polynomial(F x, ToInt to_int, ToFloatBits to_bits) {
    constexpr float kLog2E = 1.44269504f;
    constexpr float kLn2High = 0.693359375f,
                    kLn2Low = -2.12194440e-4f;  // their sum is ln 2 to 33 bits
    constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves no room for a fraction
    const F lowest = F() - 87.33f, highest = F() + 88.37f;  // 2^n is a normal number between them
    F y = x > lowest ? x : lowest;                          // a NaN becomes `lowest` here
    y = y < highest ? y : highest;
    const F n = (y * kLog2E + kRound) - kRound;
    const F r = y - n * kLn2High - n * kLn2Low;
    F p = r * (1.0f / 5040) + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    const F power = p * to_bits((to_int(n) + 127) << 23);
    return x == x ? power : x;  // NOLINT(misc-redundant-expression): false for NaN
}

inline float fast_exp(float x) {
    return exp_polynomial<float>(
        x, [](float n) { return static_cast<std::int32_t>(n); },
        [](std::int32_t bits) { return std::bit_cast<float>(bits); });
}

/// The same for a whole register.
inline Simd<float>::Vector fast_exp(Simd<float>::Vector x) {
    using V = Simd<float>::Vector;
    typedef std::int32_t I __attribute__((vector_size(kSimdBytes)));
    return exp_polynomial<V>(
        x, [](V n) { return __builtin_convertvector(n, I); },
        [](I bits) { return std::bit_cast<V>(bits); });
}

/// In double, where gradients are checked, the library's own.
inline double fast_exp(double x) {
    return std::exp(x);
}
inline Simd<double>::Vector fast_exp(Simd<double>::Vector x) {
    for (int i = 0; i < Simd<double>::width; ++i) x[i] = std::exp(x[i]);
    return x;
}

/// The logistic function 1 / (1 + e^-x), of a number or of a register.
template <class V>
V logistic(V x) {
    return 1 / (1 + fast_exp(-x));
}

}  // namespace diffusion
