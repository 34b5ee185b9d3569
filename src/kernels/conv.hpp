#pragma once
// Convolution of channels-last images, and its two vector-Jacobian products.
//
// x [N,H,W,C], weight [K,K,C,O] with K = 1 or 3, padding (K - 1) / 2, stride 1 or 2, y
// [N,ceil(H/stride),ceil(W/stride),O]:
//     y(n,i,j,o) = sum over u, v, c of  x(n, stride i + u - pad, stride j + v - pad, c)
//     weight(u,v,c,o)
// where x is zero outside the image. As everywhere in this field the kernel is not flipped: this is
// a cross-correlation.
#include "tensor/arena.hpp"

namespace diffusion {

/// Shape of y; fails, naming both shapes, if x and weight do not fit together.
Shape conv2d_shape(const Shape& x, const Shape& weight, int stride);

/// What a convolution's sums are added to, before they are stored. Both may be absent.
template <class T>
struct Plus {
    const T* row = nullptr;     ///< one number for each channel of y
    int row_step = 0;           ///< from the row of one image to that of the next; 0: one for all
    const T* pixels = nullptr;  ///< laid out like y; may be y itself

    const T* row_of(int image) const { return row == nullptr ? nullptr : row + image * row_step; }
};

template <class T>
void conv2d(Tensor<const T> x, Tensor<const T> weight, int stride, Tensor<T> y, Arena& scratch,
            Plus<T> plus = {});

/// dx += (or =, without `add`) the adjoint of y = conv2d(x) applied to dy: every dy goes back to
/// the x that it was made of.
template <class T>
void conv2d_data_vjp(Tensor<const T> dy, Tensor<const T> weight, int stride, bool add, Tensor<T> dx,
                     Arena& scratch);

/// dweight += the same with respect to the weight.
template <class T>
void conv2d_weight_vjp(Tensor<const T> x, Tensor<const T> dy, int stride, Tensor<T> dweight,
                       Arena& scratch);

/// Nearest neighbour: row i of y [N,H,W,C] is row i / 2 of x [N,ceil(H/2),ceil(W/2),C], and so are
/// the columns. Its adjoint: dx (+)= the sum of the up to four gradients of its copies.
template <class T>
void upsample(Tensor<const T> x, Tensor<T> y);
template <class T>
void upsample_vjp(Tensor<const T> dy, bool add, Tensor<T> dx);

// conv2d without Winograd: windows as overlapping rows of memory, and matrix products. For what
// Winograd's way does not do, and to compare.
template <class T>
void conv2d_direct(Tensor<const T> x, Tensor<const T> weight, int stride, Tensor<T> y,
                   Arena& scratch, Plus<T> plus = {});
template <class T>
void conv2d_data_vjp_direct(Tensor<const T> dy, Tensor<const T> weight, int stride, bool add,
                            Tensor<T> dx, Arena& scratch);
template <class T>
void conv2d_weight_vjp_direct(Tensor<const T> x, Tensor<const T> dy, int stride, Tensor<T> dweight,
                              Arena& scratch);

// The same by obvious loops: the oracles.
template <class T>
void conv2d_obvious(Tensor<const T> x, Tensor<const T> weight, int stride, Tensor<T> y);
template <class T>
void conv2d_data_vjp_obvious(Tensor<const T> dy, Tensor<const T> weight, int stride, Tensor<T> dx);
template <class T>
void conv2d_weight_vjp_obvious(Tensor<const T> x, Tensor<const T> dy, int stride,
                               Tensor<T> dweight);

}  // namespace diffusion
