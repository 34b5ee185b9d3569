#pragma once
// GELU in its three forms, and GEGLU, the product of one half of the channels and the GELU of the
// other, with their VJPs.
#include "tensor/tensor.hpp"

namespace diffusion {

/// z times a gate g(z) that goes from 0 to 1 (Hendrycks, Gimpel 2016, arXiv:1606.08415). Models are
/// trained with one of these gates and must be run with the same.
enum class Gelu {
    erf,   ///< Phi(z), the distribution function of the standard normal: the definition
    tanh,  ///< 1 / (1 + e^-2u) with u = sqrt(2 / pi) (z + 0.044715 z^3), which is (1 + tanh u) / 2
    quick  ///< 1 / (1 + e^-1.702 z)
};

/// y = z g(z) for all z of x; y may be x.
template <class T>
void gelu_forward(Gelu kind, Tensor<const T> x, Tensor<T> y);
/// dx = or += (g(z) + z g'(z)) dy.
template <class T>
void gelu_vjp(Gelu kind, Tensor<const T> x, Tensor<const T> dy, bool add, Tensor<T> dx);

/// (Shazeer 2020, arXiv:2002.05202) y = a z g(z) for the rows of x [R,2C], which hold C numbers a
/// and then C numbers z; y is [R,C].
template <class T>
void geglu_forward(Gelu kind, Tensor<const T> x, Tensor<T> y);
template <class T>
void geglu_vjp(Gelu kind, Tensor<const T> x, Tensor<const T> dy, bool add, Tensor<T> dx);

}  // namespace diffusion
