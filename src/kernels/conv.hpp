#pragma once
// Convolution of channels-last images, and its two vector-Jacobian products.
//
// x [N,H,W,C], weight [K,K,C,O] with K = 1 or 3, stride 1 or 2:
//     y(n,i,j,o) = sum over u, v, c of  x(n, stride i + u - pad, stride j + v - pad, c)
//     weight(u,v,c,o)
// where x is zero outside the image. As everywhere in this field the kernel is not flipped: this is
// a cross-correlation. chapters/04_unet/plain_ops.cpp has the same as plain loops.
#include "tensor/arena.hpp"

namespace diffusion {

/// Where a convolution's zeros lie around the image.
enum class Padding {
    around,  ///< (K - 1) / 2 on all sides: y has ceil(H / stride) rows
    after    ///< one below and one to the right, for K = 3 and stride 2: y has floor(H / 2) rows
};

struct ConvOptions {
    int stride = 1;
    Padding padding = Padding::around;

    ConvOptions() = default;
    ConvOptions(int stride_, Padding padding_ = Padding::around)  // NOLINT: a stride says enough
        : stride(stride_), padding(padding_) {}
    /// Rows of zeros above the image, and columns to its left.
    int before(int kernel) const { return padding == Padding::around ? (kernel - 1) / 2 : 0; }
};

/// Shape of y; fails, naming both shapes, if x and weight do not fit together.
Shape conv2d_shape(const Shape& x, const Shape& weight, ConvOptions options = {});

/// What a convolution's sums are added to, before they are stored. Both may be absent.
template <class T>
struct Plus {
    const T* row = nullptr;     ///< one number for each channel of y
    int row_step = 0;           ///< from the row of one image to that of the next; 0: one for all
    const T* pixels = nullptr;  ///< laid out like y; may be y itself

    const T* row_of(int image) const { return row == nullptr ? nullptr : row + image * row_step; }
};

template <class T>
void conv2d(Tensor<const T> x, Tensor<const T> weight, ConvOptions options, Tensor<T> y,
            Arena& scratch, Plus<T> plus = {});

/// dx += (or =, without `add`) the adjoint of y = conv2d(x) applied to dy: every dy goes back to
/// each x from which its y was made.
template <class T>
void conv2d_data_vjp(Tensor<const T> dy, Tensor<const T> weight, ConvOptions options, bool add,
                     Tensor<T> dx, Arena& scratch);

/// dweight += the same with respect to the weight.
template <class T>
void conv2d_weight_vjp(Tensor<const T> x, Tensor<const T> dy, ConvOptions options,
                       Tensor<T> dweight, Arena& scratch);

/// y = conv2d of x doubled to the size of y, as `upsample` doubles it, with stride 1.
template <class T>
void conv2d_doubled(Tensor<const T> x, Tensor<const T> weight, Tensor<T> y, Arena& scratch,
                    Plus<T> plus = {});

/// Where the gradients of a convolution of a doubled image belong; what is not wanted is absent.
template <class T>
struct DoubledGradients {
    Tensor<T> x;
    bool add_x = true;  ///< or it is written
    Tensor<T> weight;   ///< is always added to
};
template <class T>
void conv2d_doubled_vjp(Tensor<const T> x, Tensor<const T> weight, Tensor<const T> dy,
                        const DoubledGradients<T>& to, Arena& scratch);

/// Nearest neighbour: row i of y [N,H,W,C] is row i / 2 of x [N,ceil(H/2),ceil(W/2),C], and so are
/// the columns. Its adjoint: dx (+)= the sum of the up to four gradients of its copies.
template <class T>
void upsample(Tensor<const T> x, Tensor<T> y);
template <class T>
void upsample_vjp(Tensor<const T> dy, bool add, Tensor<T> dx);

// The same by writing the doubled image: for sides that do not fit the fast way, and for a GPU.
template <class T>
void conv2d_doubled_copy(Tensor<const T> x, Tensor<const T> weight, Tensor<T> y, Arena& scratch,
                         Plus<T> plus) {
    Arena::Scope scope(scratch);
    const Tensor<T> doubled =
        scratch.template make<T>({x.size(0), y.size(1), y.size(2), x.size(3)});
    upsample<T>(x, doubled);
    conv2d<T>(doubled, weight, 1, y, scratch, plus);
}
template <class T>
void conv2d_doubled_copy_vjp(Tensor<const T> x, Tensor<const T> weight, Tensor<const T> dy,
                             const DoubledGradients<T>& to, Arena& scratch) {
    Arena::Scope scope(scratch);
    const Tensor<T> doubled =
        scratch.template make<T>({x.size(0), dy.size(1), dy.size(2), x.size(3)});
    if (to.x) {
        conv2d_data_vjp<T>(dy, weight, 1, false, doubled, scratch);
        upsample_vjp<T>(doubled, to.add_x, to.x);
    }
    if (to.weight) {
        upsample<T>(x, doubled);
        conv2d_weight_vjp<T>(doubled, dy, 1, to.weight, scratch);
    }
}

// conv2d without Winograd: windows as overlapping rows of memory, and matrix products. For what
// Winograd's way does not do, and to compare.
template <class T>
void conv2d_direct(Tensor<const T> x, Tensor<const T> weight, ConvOptions options, Tensor<T> y,
                   Arena& scratch, Plus<T> plus = {});
template <class T>
void conv2d_data_vjp_direct(Tensor<const T> dy, Tensor<const T> weight, ConvOptions options,
                            bool add, Tensor<T> dx, Arena& scratch);
template <class T>
void conv2d_weight_vjp_direct(Tensor<const T> x, Tensor<const T> dy, ConvOptions options,
                              Tensor<T> dweight, Arena& scratch);

}  // namespace diffusion
