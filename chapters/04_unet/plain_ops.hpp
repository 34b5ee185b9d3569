#pragma once
// The operations of this chapter as plain loops in double, for one picture: what the equations say
// and nothing else. The network calls the fast forms in src/kernels; the tests hold these against
// them. What is read comes first, what is written last. VJPs add to their results; the comment at a
// line of theirs quotes the forward line that it differentiates.
#include "kernels/conv.hpp"

namespace diffusion::plain {

using In = Tensor<const double>;
using Out = Tensor<double>;

/// (4.1) x [H,W,C], weight [K,K,C,O], bias [O]; y [H',W',O].
void convolution(In x, In weight, In bias, ConvOptions options, Out y);
/// (4.2) Every dy goes back to each x from which its y was made.
void convolution_data_vjp(In dy, In weight, ConvOptions options, Out dx);
/// (4.3) And to each weight.
void convolution_weight_vjp(In dy, In x, ConvOptions options, Out dweight, Out dbias);

/// (4.5) x and y [pixels,C], gain and bias [C].
void group_norm(In x, In gain, In bias, int groups, double eps, Out y);
/// (4.6)
void group_norm_vjp(In dy, In x, In gain, int groups, double eps, Out dx, Out dgain, Out dbias);

/// (4.8) Row i of y [H,W,C] is row i / 2 of x, and so are the columns.
void upsample(In x, Out y);
void upsample_vjp(In dy, Out dx);

/// (4.9) One head: q [L,D], k and v [S,D]. bias [L,S] is added to the scores; minus infinity there
/// strikes a key out. P [L,S]: how much query i listens to key j; y [L,D].
void attention(In q, In k, In v, double scale, In bias, Out P, Out y);
/// (4.10) P is what attention() wrote.
void attention_vjp(In dy, In q, In k, In v, double scale, In P, Out dq, Out dk, Out dv, Out dbias);

}  // namespace diffusion::plain
