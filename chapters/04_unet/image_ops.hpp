#pragma once
// Operations of the UNet on the tape. Images are [N,H,W,C].
#include "02_gradients/tape.hpp"

namespace diffusion {

/// Convolution with a square kernel, weight [K,K,C,O], bias [O], K = 1 or 3, stride 1 or 2, zero
/// padding (4.1). Output [N, ceil(H/stride), ceil(W/stride), O]. Two more summands are optional:
/// `shift` [N,O], one for all pixels of an image (4.12), and `other`, of the output's shape (4.13);
/// they cost next to nothing while the result is in registers anyway.
template <class T>
Var<T> conv2d(Var<T> x, Var<T> weight, Var<T> bias, int stride = 1, Var<T> shift = {},
              Var<T> other = {});

/// (4.5) Group normalisation (Wu, He 2018, arXiv:1803.08494): the channels fall into `groups`; in
/// each image every group gets mean 0 and variance 1 over its pixels and channels, then channel c
/// is scaled by gain[c] and shifted by bias[c]. With `silu` the result goes through SiLU in the
/// same pass.
template <class T>
Var<T> group_norm(Var<T> x, Var<T> gain, Var<T> bias, int groups, bool silu, T eps = T(1e-5));

/// [.., A] and [.., B] side by side as [.., A + B].
template <class T>
Var<T> concat_channels(Var<T> a, Var<T> b);

/// Channels begin .. begin + count - 1.
template <class T>
Var<T> slice_channels(Var<T> x, int begin, int count);

/// Every pixel becomes four: [N,H,W,C] to [N,2H,2W,C] (4.8). Output row i is input row i / 2; a
/// last row or column beyond `height` or `width` is left out, which undoes a stride of 2 on an odd
/// size.
template <class T>
Var<T> upsample_nearest(Var<T> x, int height, int width);

}  // namespace diffusion
