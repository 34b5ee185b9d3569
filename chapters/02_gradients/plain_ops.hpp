#pragma once
// The linear layer and the row operations of this chapter as plain loops in double: what the
// equations say and nothing else. The tape's operations compute the same with SIMD registers, and
// the tests hold them against these. What is read comes first, what is written last; a row is the
// last axis.
#include <algorithm>
#include <cmath>

#include "tensor/tensor.hpp"

namespace diffusion::plain {

using In = Tensor<const double>;
using Out = Tensor<double>;

/// (2.8) x [N,I], weight [I,O], bias [O]; y [N,O].
inline void linear(In x, In weight, In bias, Out y) {
    for (int r = 0; r < y.size(0); ++r) {
        for (int o = 0; o < y.size(1); ++o) {
            y(r, o) = bias(o);
            for (int i = 0; i < x.size(1); ++i) y(r, o) += x(r, i) * weight(i, o);
        }
    }
}

/// (2.10) x and y [N,C].
inline void softmax(In x, Out y) {
    for (int r = 0; r < x.size(0); ++r) {
        const double largest = *std::max_element(x[r].begin(), x[r].end());
        double sum = 0;
        for (int i = 0; i < x.size(1); ++i) sum += y(r, i) = std::exp(x(r, i) - largest);
        for (int i = 0; i < x.size(1); ++i) y(r, i) /= sum;
    }
}

/// (2.11) x and y [N,C], gain and bias [C].
inline void layer_norm(In x, In gain, In bias, double eps, Out y) {
    const int n = x.size(1);
    for (int r = 0; r < x.size(0); ++r) {
        double mean = 0, variance = 0;
        for (int i = 0; i < n; ++i) mean += x(r, i) / n;
        for (int i = 0; i < n; ++i) variance += (x(r, i) - mean) * (x(r, i) - mean) / n;
        const double deviation = std::sqrt(variance + eps);
        for (int i = 0; i < n; ++i) y(r, i) = gain(i) * (x(r, i) - mean) / deviation + bias(i);
    }
}

/// (2.12) x and y [N,C], gain [C].
inline void rms_norm(In x, In gain, double eps, Out y) {
    const int n = x.size(1);
    for (int r = 0; r < x.size(0); ++r) {
        double square = 0;
        for (int i = 0; i < n; ++i) square += x(r, i) * x(r, i) / n;
        const double root = std::sqrt(square + eps);
        for (int i = 0; i < n; ++i) y(r, i) = gain(i) * x(r, i) / root;
    }
}

}  // namespace diffusion::plain
