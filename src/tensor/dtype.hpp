#pragma once
// Numbers as files of weights hold them, and the way from there to ours.
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

namespace diffusion {

/// The kinds of numbers that files of weights hold.
enum class Dtype { f64, f32, f16, bf16, i64 };

/// Bytes of one number.
constexpr std::size_t width_of(Dtype dtype) {
    switch (dtype) {
        case Dtype::f64:
        case Dtype::i64:
            return 8;
        case Dtype::f32:
            return 4;
        case Dtype::f16:
        case Dtype::bf16:
            return 2;
    }
    return 0;
}

/// Fills `to` with the numbers that lie at `from`, at any address. T is float, double, Half or
/// std::int64_t. A wider type takes every number exactly: subnormal ones, infinities and NaN
/// included. A narrower one rounds to nearest, a double to Half by way of float. Fails if an
/// integer is to be read from anything but i64.
template <class T>
void convert(Dtype dtype, const std::byte* from, std::span<T> to);

/// The bits of the half-precision number nearest to x, of two as near the even one. Above 65,504
/// lies infinity, from 65,520 on.
std::uint16_t to_half(float x);
/// The number that has these bits.
float from_half(std::uint16_t bits);

/// A number in half precision, to be kept and not to be computed with: 11 bits of mantissa, from
/// 6e-8 to 65,504.
struct Half {
    std::uint16_t bits;

    Half() = default;
    template <class N>
    requires std::is_arithmetic_v<N>
    explicit Half(N x) : bits(to_half(static_cast<float>(x))) {}
    explicit operator float() const { return from_half(bits); }
};

}  // namespace diffusion
