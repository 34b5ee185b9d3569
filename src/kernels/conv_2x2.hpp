#pragma once
// A 3x3 convolution of images of 2x2 pixels, the lowest level of many a UNet.
//
// There every output meets every pixel: pixel (i,j) of x goes into pixel (a,b) of y with
// weight(i - a + 1, j - b + 1). So the convolution (4.2) is a single product of the images, as rows
// of 4 C numbers, with a matrix [4 C, 4 O]: 16 multiplications for each pair of channels, where
// Winograd's tile takes 25 and its maps besides.
#include "kernels/conv.hpp"

namespace diffusion {

/// y = conv2d(x, weight) + plus for x [N,2,2,C], weight [3,3,C,O], stride 1.
template <class T>
void conv2d_2x2(Tensor<const T> x, Tensor<const T> weight, Plus<T> plus, Tensor<T> y,
                Arena& scratch);

/// dx (+)= the data VJP: dy times the transposed matrix.
template <class T>
void conv2d_2x2_data_vjp(Tensor<const T> dy, Tensor<const T> weight, bool add, Tensor<T> dx,
                         Arena& scratch);

/// dweight += the weight VJP: each weight gets the sum of the matrix's gradient where it stands.
template <class T>
void conv2d_2x2_weight_vjp(Tensor<const T> x, Tensor<const T> dy, Tensor<T> dweight,
                           Arena& scratch);

}  // namespace diffusion
