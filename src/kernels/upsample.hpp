#pragma once
// Doubling channels-last images, and a convolution of images that are doubled, both with their
// vector-Jacobian products.
#include "kernels/conv.hpp"

namespace diffusion {

/// Nearest neighbour: row i of y [N,H,W,C] is row i / 2 of x [N,ceil(H/2),ceil(W/2),C], and so are
/// the columns. Its adjoint: dx (+)= the sum of the up to four gradients of its copies.
template <class T>
void upsample(Tensor<const T> x, Tensor<T> y);
template <class T>
void upsample_vjp(Tensor<const T> dy, bool add, Tensor<T> dx);

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

}  // namespace diffusion
