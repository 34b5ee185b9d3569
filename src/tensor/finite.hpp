#pragma once
// Numbers that are none.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>

#include "tensor/dtype.hpp"

namespace diffusion {

/// Whether no number is infinite or NaN.
template <class T>
bool all_finite(std::span<const T> x) {
    const T most = std::numeric_limits<T>::max();
    std::ptrdiff_t others = 0;
#pragma omp simd reduction(+ : others)
    for (std::size_t i = 0; i < x.size(); ++i) others += std::abs(x[i]) <= most ? 0 : 1;
    return others == 0;
}

inline bool all_finite(std::span<const Half> x) {
    constexpr int kExponent = 0x7c00;  // all ones where it is not
    return std::ranges::none_of(x, [](Half h) { return (h.bits & kExponent) == kExponent; });
}

}  // namespace diffusion
