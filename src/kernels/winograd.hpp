#pragma once
// Convolution with a 3x3 kernel and stride 1 in fewer multiplications: Winograd's F(4x4, 3x3)
// (Lavin, Gray 2015, arXiv:1509.09308).
//
// The output is cut into tiles of 4x4 pixels. A tile depends on 6x6 pixels d of the input; with
// fixed matrices B, G and A
//     y = A^T [ (G w G^T) * (B^T d B) ] A,     * element by element (4.18),
// so that a tile takes 36 multiplications for each pair of channels in place of 144. Over all tiles
// and channels the 36 element-wise products are 36 matrix products. The price is rounding: about
// five times that of the direct sum in float.
#include "kernels/conv.hpp"

namespace diffusion {

/// y = conv2d(x, weight) + plus for weight [3,3,C,O], stride 1.
template <class T>
void winograd(Tensor<const T> x, Tensor<const T> weight, Plus<T> plus, Tensor<T> y, Arena& scratch);

/// The same for one image that is made row by row (conv.hpp).
template <class T>
void winograd_of_rows(const Shape& x, const Rows<T>& rows, Tensor<const T> weight, Plus<T> plus,
                      Tensor<T> y, Arena& scratch);

/// dx (+)= the data VJP: the same with the kernel turned and its channels exchanged.
template <class T>
void winograd_data_vjp(Tensor<const T> dy, Tensor<const T> weight, bool accumulate, Tensor<T> dx,
                       Arena& scratch);

/// dweight += the weight VJP: the adjoint of every factor, in reverse order (4.19).
template <class T>
void winograd_weight_vjp(Tensor<const T> x, Tensor<const T> dy, Tensor<T> dweight, Arena& scratch);

}  // namespace diffusion
