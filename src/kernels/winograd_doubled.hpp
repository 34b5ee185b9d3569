#pragma once
// A 3x3 convolution of an image whose pixels have been doubled, without writing the doubled image.
//
// Rows b and c of the small image become b b c c. With the row a before them and the row d after
// them, four outputs are
//     y0 = g0 a + (g1 + g2) b,     y1 = (g0 + g1) b + g2 c,
//     y2 = g0 b + (g1 + g2) c,     y3 = (g0 + g1) c + g2 d,
// and five products are enough for them (4.20): 25 in two dimensions, where Winograd's tile of the
// doubled image takes 36. chapters/04_unet/KERNELS.md derives it.
#include "kernels/upsample.hpp"

namespace diffusion {

/// Whether the functions below can do it: y in whole tiles of 4x4, and enough channels.
template <class T>
bool use_winograd_doubled(const Shape& y, const Shape& weight);

/// y [N,H,W,O] = conv2d(x doubled, weight) + a row, for x [N,H/2,W/2,C], weight [3,3,C,O].
/// plus.pixels must be absent.
template <class T>
void winograd_doubled(Tensor<const T> x, Tensor<const T> weight, Plus<T> plus, Tensor<T> y,
                      Arena& scratch);

/// Both VJPs: as conv2d_doubled_vjp.
template <class T>
void winograd_doubled_vjp(Tensor<const T> x, Tensor<const T> weight, Tensor<const T> dy,
                          const DoubledGradients<T>& to, Arena& scratch);

}  // namespace diffusion
