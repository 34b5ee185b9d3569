#pragma once
// Numbers that are none.
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>

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

}  // namespace diffusion
