#pragma once
// Operations of the UNet on the tape. Images are [N,H,W,C].
#include "02_gradients/tape.hpp"

namespace diffusion {

/// (4.5) Group normalisation (Wu, He 2018, arXiv:1803.08494): the channels fall into `groups`; in
/// each image every group gets mean 0 and variance 1 over its pixels and channels, then channel c
/// is scaled by gain[c] and shifted by bias[c].
template <class T>
Var<T> group_norm(Var<T> x, Var<T> gain, Var<T> bias, int groups, T eps = T(1e-5));

/// One or two images [N,H,W,A], [N,H,W,B], to be read as one [N,H,W,A+B] that is never written.
template <class T>
struct Joined {
    Var<T> a, b;

    Joined(Var<T> a_, Var<T> b_ = {}) : a(a_), b(b_) {}  // NOLINT: one image is the usual case
    Tape<T>& tape() const { return a.tape(); }
    bool needs_grad() const { return a.needs_grad() || b.needs_grad(); }
    bool reads(const T* memory) const {
        return a.value().data() == memory || (b && b.value().data() == memory);
    }
    Shape shape() const {
        require(a.shape().rank == 4 &&
                    (!b || b.shape() == Shape{a.size(0), a.size(1), a.size(2), b.shape().back()}),
                "joined images: shapes are ", a.shape(), " and ", b ? b.shape() : Shape{});
        return {a.size(0), a.size(1), a.size(2), a.size(3) + (b ? b.size(3) : 0)};
    }
    /// f(part, its first channel)
    template <class F>
    void for_each_part(F f) const {
        f(a, 0);
        if (b) f(b, a.size(3));
    }
};

/// (4.8) Every pixel becomes four: an image [N,ceil(H/2),ceil(W/2),C] as [N,H,W,C], whose row i is
/// row i / 2 of x. (An odd size leaves out a last row or column, which undoes a stride of 2.) Still
/// to be computed, in scratch memory, by the convolution that is given it.
template <class T>
struct Upsampled {
    Var<T> x;
    int height, width;

    Tape<T>& tape() const { return x.tape(); }
    bool needs_grad() const { return x.needs_grad(); }
    bool reads(const T* memory) const { return x.value().data() == memory; }
    Shape shape() const { return {x.size(0), height, width, x.size(3)}; }
};

/// A group norm's result (4.5), or SiLU of it, still to be computed. A convolution that is given
/// one computes it in scratch memory, and once more on the way back: the tape keeps x, and not a
/// second tensor of its size.
template <class T>
struct Normed {
    Joined<T> x;
    Var<T> gain, bias;
    int groups;
    bool silu;
    T eps = T(1e-5);

    Tape<T>& tape() const { return x.tape(); }
    bool needs_grad() const { return x.needs_grad() || gain.needs_grad() || bias.needs_grad(); }
    bool reads(const T* memory) const { return x.reads(memory); }
    Shape shape() const { return x.shape(); }
};

/// Convolution with a square kernel, weight [K,K,C,O], bias [O], K = 1 or 3, stride 1 or 2, zero
/// padding (4.1). Output [N, ceil(H/stride), ceil(W/stride), O]. Two more summands are optional:
/// `shift` [N,O], one for all pixels of an image (4.12), and `other`, of the output's shape (4.13);
/// they cost next to nothing while the result is in registers anyway. With `onto` the result takes
/// the memory of `other`, whose value is lost; nothing else may read it, VJPs included. Joined
/// images take K = 1.
template <class T>
Var<T> conv2d(Joined<T> x, Var<T> weight, Var<T> bias, int stride = 1, Var<T> shift = {},
              Var<T> other = {}, bool onto = false);
template <class T>
Var<T> conv2d(Normed<T> x, Var<T> weight, Var<T> bias, int stride = 1, Var<T> shift = {},
              Var<T> other = {}, bool onto = false);
template <class T>
Var<T> conv2d(Upsampled<T> x, Var<T> weight, Var<T> bias, int stride = 1, Var<T> shift = {},
              Var<T> other = {}, bool onto = false);
template <class T>
Var<T> conv2d(Var<T> x, Var<T> weight, Var<T> bias, int stride = 1, Var<T> shift = {},
              Var<T> other = {}, bool onto = false) {
    return conv2d(Joined<T>(x), weight, bias, stride, shift, other, onto);
}

/// Channels begin .. begin + count - 1.
template <class T>
Var<T> slice_channels(Var<T> x, int begin, int count);

}  // namespace diffusion
