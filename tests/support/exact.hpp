#pragma once
// Copies in double of what a kernel is given, for the plain loops; and how far a result is from
// theirs.
#include <algorithm>
#include <cmath>
#include <limits>

#include "tensor/arena.hpp"

namespace diffusion {

template <class T>
Tensor<double> exactly(Tensor<T> x, Arena& memory) {
    const Tensor<double> y = memory.make<double>(x.shape());
    std::copy(x.begin(), x.end(), y.begin());
    return y;
}

/// |a - b| / |b| in units of T's epsilon, in the Euclidean norm.
template <class T>
double epsilons(Tensor<T> a, Tensor<double> b) {
    double error = 0, norm = 0;
    for (std::ptrdiff_t i = 0; i < b.numel(); ++i) {
        const double off = static_cast<double>(a.data()[i]) - b.data()[i];
        error += off * off;
        norm += b.data()[i] * b.data()[i];
    }
    return std::sqrt(error / norm) / static_cast<double>(std::numeric_limits<T>::epsilon());
}

}  // namespace diffusion
