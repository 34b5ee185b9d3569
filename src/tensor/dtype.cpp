#include "tensor/dtype.hpp"

#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "tensor/check.hpp"

namespace diffusion {
namespace {

static_assert(std::endian::native == std::endian::little,
              "numbers are copied as they lie in memory");

constexpr int kMantissa = 23;  // bits of a float's mantissa; the exponent stands above it

/// The upper half of a float.
float from_bfloat16(std::uint16_t bits) {
    return std::bit_cast<float>(std::uint32_t{bits} << 16);
}

template <class Stored, class T, class Convert>
void for_each_stored(const std::byte* from, std::span<T> to, Convert convert_one) {
    T* const result = to.data();
    const auto n = static_cast<std::ptrdiff_t>(to.size());
    for (std::ptrdiff_t i = 0; i < n; ++i) {
        Stored stored;
        std::memcpy(&stored, from + i * static_cast<std::ptrdiff_t>(sizeof(Stored)), sizeof stored);
        result[i] = static_cast<T>(convert_one(stored));
    }
}

}  // namespace

/// Sign, 5 bits of exponent with a bias of 15 (a float's is 127), 10 bits of mantissa.
float from_half(std::uint16_t bits) {
    constexpr std::uint32_t kOne = 1u << kMantissa, kBias = (127u - 15u) << kMantissa;
    const std::uint32_t sign = (bits & 0x8000u) << 16,
                        rest = (bits & 0x7fffu) << (kMantissa - 10);  // mantissa where a float's is
    const std::uint32_t normal = rest + kBias;
    const std::uint32_t infinite = rest | (255u << kMantissa);  // or NaN, which keeps its mantissa
    // A subnormal number m / 1024 * 2^-14 has no leading one: (1 + m / 1024) * 2^-14 - 2^-14.
    const float subnormal =
        std::bit_cast<float>(normal + kOne) - std::bit_cast<float>(kBias + kOne);
    const std::uint32_t magnitude = rest < kOne ? std::bit_cast<std::uint32_t>(subnormal)
                                    : rest < (31u << kMantissa) ? normal
                                                                : infinite;
    return std::bit_cast<float>(sign | magnitude);
}

template <class T>
void convert(Dtype dtype, const std::byte* from, std::span<T> to) {
    const auto as_it_is = [](auto stored) { return stored; };
    if constexpr (std::is_integral_v<T>) {
        require(dtype == Dtype::i64, "numbers with a fraction cannot be read as integers");
        for_each_stored<std::int64_t>(from, to, as_it_is);
    } else {
        switch (dtype) {
            case Dtype::f64:
                return for_each_stored<double>(from, to, as_it_is);
            case Dtype::f32:
                return for_each_stored<float>(from, to, as_it_is);
            case Dtype::f16:
                return for_each_stored<std::uint16_t>(from, to, from_half);
            case Dtype::bf16:
                return for_each_stored<std::uint16_t>(from, to, from_bfloat16);
            case Dtype::i64:
                return for_each_stored<std::int64_t>(from, to, as_it_is);
        }
    }
}

std::uint16_t to_half(float x) {
    constexpr std::uint32_t kNone = (127u - 15u) << kMantissa;  // between the exponents' biases
    const auto bits = std::bit_cast<std::uint32_t>(x), magnitude = bits & 0x7fffffffu;
    const auto with_sign = [bits](std::uint32_t half) {
        return static_cast<std::uint16_t>(half | (bits >> 16 & 0x8000u));
    };
    if (magnitude > 255u << kMantissa) return with_sign(0x7e00u);  // NaN
    if (magnitude >= std::bit_cast<std::uint32_t>(65520.0f)) return with_sign(0x7c00u);
    if (magnitude < kNone + (1u << kMantissa)) {
        // A subnormal half is a multiple of 2^-24, the distance of floats from 0.5 on: the sum is
        // rounded to it.
        const float sum = std::bit_cast<float>(magnitude) + 0.5f;
        return with_sign(std::bit_cast<std::uint32_t>(sum) - std::bit_cast<std::uint32_t>(0.5f));
    }
    constexpr int kLost = kMantissa - 10;
    const std::uint32_t even = magnitude >> kLost & 1u;
    return with_sign((magnitude - kNone + (1u << (kLost - 1)) - 1 + even) >> kLost);
}

template void convert(Dtype, const std::byte*, std::span<float>);
template void convert(Dtype, const std::byte*, std::span<double>);
template void convert(Dtype, const std::byte*, std::span<Half>);
template void convert(Dtype, const std::byte*, std::span<std::int64_t>);

}  // namespace diffusion
