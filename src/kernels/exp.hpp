#pragma once
// The exponential as a polynomial, so that loops that use it become SIMD code.
#include <bit>
#include <cmath>
#include <cstdint>

namespace diffusion {

/// e^x with a relative error below 2e-7 for x in [-87, 88]; 0 or about 1e38 beyond, down and up to
/// 4e6 in size. x = n ln 2 + r with |r| <= ln 2 / 2; e^r is a polynomial, 2^n is written into the
/// exponent bits. The integer n is clamped, not x: compilers turn the one into SIMD code and not
/// always the other.
inline float fast_exp(float x) {
    constexpr float kLog2E = 1.44269504f;
    constexpr float kLn2High = 0.693359375f,
                    kLn2Low = -2.12194440e-4f;  // their sum is ln 2 to 33 bits
    constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves no room for a fraction
    const float n = (x * kLog2E + kRound) - kRound;
    const float r = x - n * kLn2High - n * kLn2Low;
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    std::int32_t exponent = static_cast<std::int32_t>(n) + 127;
    exponent = exponent < 0 ? 0 : exponent;
    exponent = exponent > 254 ? 254 : exponent;
    return p * std::bit_cast<float>(exponent << 23);
}

/// In double, where gradients are checked, the library's own.
inline double fast_exp(double x) {
    return std::exp(x);
}

}  // namespace diffusion
