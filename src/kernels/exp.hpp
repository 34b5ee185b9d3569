#pragma once
// The exponential as a polynomial, so that loops that use it become SIMD code.
#include <bit>
#include <cmath>
#include <cstdint>
#include <numbers>

#include "kernels/simd.hpp"

namespace diffusion {

/// e^x with a relative error below 2e-7 for x in [-87, 88]; below it is at most e^-87, above at
/// least 1e38. For NaN it is some number. x = n ln 2 + r with |r| <= ln 2 / 2; e^r is a polynomial
/// with a largest relative error of 3e-9, and n is added to the exponent bits of its value. F is
/// float or a register of them, Bits the unsigned integers of its size.
template <class Bits, class F>
F exp_of_number(F x) {
    constexpr float kLog2E = 1.44269504f;
    constexpr float kLn2High = 0.693359375f,
                    kLn2Low = -2.12194440e-4f;  // their sum is ln 2 to 33 bits
    // 1.5 * 2^23: added to a number it leaves no room for a fraction, and the last bits of the sum
    // are the integer.
    constexpr float kRound = 12582912.0f;
    const F lowest = F() - 87.33f, highest = F() + 88.37f;  // 2^n is a normal number between them
    F y = x > lowest ? x : lowest;
    y = y < highest ? y : highest;
    const F rounded = y * kLog2E + kRound, n = rounded - kRound;
    const F r = y - n * kLn2High - n * kLn2Low;
    F p = r * 1.38144669e-3f + 8.36878051e-3f;
    p = p * r + 4.16683942e-2f;
    p = p * r + 1.66665201e-1f;
    p = p * r + 4.99999934e-1f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return std::bit_cast<F>(std::bit_cast<Bits>(p) + (std::bit_cast<Bits>(rounded) << 23));
}
inline float exp_of_number(float x) {
    return exp_of_number<std::uint32_t>(x);
}
inline Simd<float>::Vector exp_of_number(Simd<float>::Vector x) {
    typedef std::uint32_t Bits __attribute__((vector_size(kSimdBytes)));
    return exp_of_number<Bits>(x);
}
/// In double, where gradients are checked, the library's own.
inline double exp_of_number(double x) {
    return std::exp(x);
}
inline Simd<double>::Vector exp_of_number(Simd<double>::Vector x) {
    for (int i = 0; i < Simd<double>::width; ++i) x[i] = std::exp(x[i]);
    return x;
}

/// 2^x for x in [-126, 1], with a relative error below 2e-7; below it is at most 2^-126, and NaN
/// stays NaN. For softmax, whose x are never above 0, and may come with the factor of log2 e.
template <class Bits, class F>
F power_of_two(F x) {
    constexpr float kRound = 12582912.0f;  // as above
    const F lowest = F() - 126.0f;
    const F y = x > lowest ? x : lowest;
    const F rounded = y + kRound, r = y - (rounded - kRound);
    F p = r * 1.53458212e-4f + 1.33999309e-3f;  // its largest relative error is 2e-9
    p = p * r + 9.61848907e-3f;
    p = p * r + 5.55032864e-2f;
    p = p * r + 2.40226462e-1f;
    p = p * r + 6.93147182e-1f;
    p = p * r + 1.0f;
    const F power = std::bit_cast<F>(std::bit_cast<Bits>(p) + (std::bit_cast<Bits>(rounded) << 23));
    return x == x ? power : x;  // NOLINT(misc-redundant-expression): false for NaN
}
inline Simd<float>::Vector power_of_two(Simd<float>::Vector x) {
    typedef std::uint32_t Bits __attribute__((vector_size(kSimdBytes)));
    return power_of_two<Bits>(x);
}
inline Simd<double>::Vector power_of_two(Simd<double>::Vector x) {
    for (int i = 0; i < Simd<double>::width; ++i) x[i] = std::exp2(x[i]);
    return x;
}

/// e^x as above, and NaN stays NaN. V is a number or a register of them, here and below.
template <class V>
V fast_exp(V x) {
    const V power = exp_of_number(x);
    return x == x ? power : x;  // NOLINT(misc-redundant-expression): false for NaN
}

/// The logistic function sigma(z) = 1 / (1 + e^-z).
template <class V>
V logistic(V z) {
    return 1 / (1 + exp_of_number(-z));
}
/// SiLU: z sigma(z).
template <class V>
V silu(V z) {
    return z / (1 + exp_of_number(-z));
}
/// The standard normal distribution at z: its distribution function Phi and its density.
template <class V>
struct Normal {
    V cdf, density;
};
/// In float, Phi with an error below 1.5e-7 (Abramowitz, Stegun 1964, 7.1.26).
template <class V>
Normal<V> normal_at(V z) {
    const V a = z < 0 ? -z : z, t = 1 / (1 + 0.231641888f * a), bell = fast_exp(-a * a / 2);
    V p = 1.061405429f * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    const V tail = 0.5f * p * t * bell;
    return {z < 0 ? tail : 1 - tail, 0.398942280f * bell};  // 1 / sqrt(2 pi)
}
/// In double, exactly.
inline Normal<double> normal_at(double z) {
    return {0.5 * std::erfc(-z / std::numbers::sqrt2),
            std::exp(-z * z / 2) * std::numbers::inv_sqrtpi / std::numbers::sqrt2};
}
inline Normal<Simd<double>::Vector> normal_at(Simd<double>::Vector z) {
    Normal<Simd<double>::Vector> result{};
    for (int i = 0; i < Simd<double>::width; ++i) {
        const Normal<double> one = normal_at(z[i]);
        result.cdf[i] = one.cdf;
        result.density[i] = one.density;
    }
    return result;
}

}  // namespace diffusion
