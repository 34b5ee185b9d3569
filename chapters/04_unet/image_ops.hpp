#pragma once
// Operations of the UNet on the tape. Images are [N,H,W,C].
#include <type_traits>

#include "02_gradients/tape.hpp"
#include "kernels/conv.hpp"

namespace diffusion {

/// (4.5) Group normalisation (Wu, He 2018, arXiv:1803.08494): the channels fall into `groups`; in
/// each image every group gets mean 0 and variance 1 over its pixels and channels, then channel c
/// is scaled by gain[c] and shifted by bias[c].
template <class T>
struct Norm {
    Var<T> gain, bias;
    int groups = 0;  ///< 0: no norm
    double eps = 1e-5;
    bool silu = false;  ///< and SiLU after it
};

/// What a convolution reads: an image, or two side by side, [N,H,W,A] and [N,H,W,B], as one
/// [N,H,W,A+B] that is never written. It may be an image that is still to be computed, normalised
/// or doubled: the convolution does that in scratch memory, and once more on the way back, so that
/// the tape keeps x and not a second tensor of its size.
template <class T>
struct ConvInput {
    Var<T> a, b;
    Norm<T> norm = {};
    /// (4.8) Every pixel becomes four, up to this size: row i is row i / 2 of x. (An odd size
    /// leaves out a last row or column, which undoes a stride of 2.) 0: as it is.
    int height = 0, width = 0;

    ConvInput(Var<T> a_, Var<T> b_ = {}) : a(a_), b(b_) {}  // NOLINT: one image is the usual case

    Tape<T>& tape() const { return a.tape(); }
    bool normed() const { return norm.groups > 0; }
    bool doubled() const { return height > 0; }
    bool needs_grad() const {
        return a.needs_grad() || b.needs_grad() || norm.gain.needs_grad() || norm.bias.needs_grad();
    }
    bool reads(const T* memory) const {
        return a.value().data() == memory || (b && b.value().data() == memory);
    }
    Shape shape() const {
        require(a.shape().rank == 4 &&
                    (!b || b.shape() == Shape{a.size(0), a.size(1), a.size(2), b.shape().back()}),
                "joined images: shapes are ", a.shape(), " and ", b ? b.shape() : Shape{});
        require(!doubled() || !(b || normed()), "a doubled image is one, and not normalised");
        return {a.size(0), doubled() ? height : a.size(1), doubled() ? width : a.size(2),
                a.size(3) + (b ? b.size(3) : 0)};
    }
};

template <class T>
ConvInput<T> doubled(Var<T> x, int height, int width) {
    ConvInput<T> image(x);
    image.height = height;
    image.width = width;
    return image;
}
template <class T>
ConvInput<T> normed(ConvInput<T> x, const Norm<T>& norm) {
    x.norm = norm;
    return x;
}

/// What is added to a convolution while its result is in registers anyway.
template <class T>
struct Added {
    Var<T> shift = {};      ///< [N,O]: one number for all pixels of an image (4.12)
    Var<T> image = {};      ///< of the output's shape (4.13)
    bool in_place = false;  ///< the result takes the memory of `image`, whose value is lost;
                            ///< nothing else may read it, VJPs included
};

/// (4.1) Convolution with a square kernel, weight [K,K,C,O], bias [O] or none; and what is added to
/// it. Two images side by side that are not normalised take K = 1.
template <class T>
Var<T> conv2d(std::type_identity_t<ConvInput<T>> in, Var<T> weight,
              std::type_identity_t<Var<T>> bias, ConvOptions options = {},
              std::type_identity_t<Added<T>> added = {});

/// The norm by itself.
template <class T>
Var<T> group_norm(Var<T> x, const std::type_identity_t<Norm<T>>& norm);

/// Channels begin .. begin + count - 1.
template <class T>
Var<T> slice_channels(Var<T> x, int begin, int count);

}  // namespace diffusion
