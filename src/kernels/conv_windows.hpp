#pragma once
// A convolution with many channels as one matrix product, windows [N H W, K K C] times weights
// [K K C, O]. The windows are copied a block at a time and never all: every weight is read once for
// all images, and Winograd's form of the weights, four times as large, is not needed.
#include "kernels/conv.hpp"

namespace diffusion {

/// y = conv2d(x, weight) + plus.
template <class T>
void conv2d_windows(Tensor<const T> x, Tensor<const T> weight, ConvOptions options, Plus<T> plus,
                    Tensor<T> y);

}  // namespace diffusion
