#pragma once
// Group norm, and SiLU after it, on numbers: what the operations group_norm and conv2d share.
#include "04_unet/image_ops.hpp"

namespace diffusion {

/// What the way back needs. Normalising and then scaling is one line per channel and image,
/// z = scale x + shift.
template <class T>
struct NormLines {
    Tensor<T> scale, shift;   ///< [N,C]
    Tensor<T> mean, inverse;  ///< [N,groups]; inverse = 1 / sqrt(variance + eps)
};

/// Writes y. (4.5)
template <class T>
NormLines<T> group_norm_forward(const Normed<T>& norm, Tensor<T> y);

/// Adds dy's share to the gradients of x, gain and bias. (4.6) With SiLU, y is written once more on
/// the way, and dy is lost: it becomes the gradient before SiLU.
template <class T>
void group_norm_vjp(const Normed<T>& norm, const NormLines<T>& lines, Tensor<T> dy, Tensor<T> y);

}  // namespace diffusion
