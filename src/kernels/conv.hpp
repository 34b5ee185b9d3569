#pragma once
// Convolution of channels-last images, and its two vector-Jacobian products.
//
// x [N,H,W,C], weight [K,K,C,O] with K = 1 or 3, stride 1 or 2:
//     y(n,i,j,o) = sum over u, v, c of  x(n, stride i + u - pad, stride j + v - pad, c)
//     weight(u,v,c,o)
// where x is zero outside the image. As everywhere in this field the kernel is not flipped: this is
// a cross-correlation. chapters/04_unet/plain_ops.cpp has the same as plain loops.
#include <algorithm>
#include <functional>

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
    /// y = this; false, and nothing is written, if there is nothing to add to.
    bool start(Tensor<T> y) const {
        if (pixels != nullptr && pixels != y.data()) std::copy_n(pixels, y.numel(), y.data());
        const int pixels_of_image = pixels_of(y.shape()), channels = y.size(3);
        for (int p = 0; row != nullptr && p < y.size(0) * pixels_of_image; ++p) {
            const T* from = row_of(p / pixels_of_image);
            T* to = y.data() + static_cast<std::ptrdiff_t>(p) * channels;
            if (pixels == nullptr) {
                std::copy_n(from, channels, to);
                continue;
            }
#pragma omp simd
            for (int c = 0; c < channels; ++c) to[c] += from[c];
        }
        return row != nullptr || pixels != nullptr;
    }
};

template <class T>
void conv2d(Tensor<const T> x, Tensor<const T> weight, ConvOptions options, Tensor<T> y,
            Arena& scratch, Plus<T> plus = {});

/// Writes rows first .. first + count - 1 of an image to memory [count,W,C].
template <class T>
using Rows = std::function<void(int first, int count, T* to)>;

/// y = conv2d(x) + plus for one image of shape x [1,H,W,C] that need not lie in memory: its rows
/// are made where they are read, some of them twice, and by several cores at a time.
template <class T>
void conv2d_of_rows(const Shape& x, const Rows<T>& rows, Tensor<const T> weight,
                    ConvOptions options, Tensor<T> y, Arena& scratch, Plus<T> plus = {});

/// dx += (or =, without `add`) the adjoint of y = conv2d(x) applied to dy: every dy goes back to
/// each x from which its y was made.
template <class T>
void conv2d_data_vjp(Tensor<const T> dy, Tensor<const T> weight, ConvOptions options, bool add,
                     Tensor<T> dx, Arena& scratch);

/// dweight += the same with respect to the weight.
template <class T>
void conv2d_weight_vjp(Tensor<const T> x, Tensor<const T> dy, ConvOptions options,
                       Tensor<T> dweight, Arena& scratch);

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
