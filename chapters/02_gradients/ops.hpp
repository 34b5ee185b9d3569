#pragma once
// Operations on the tape. For each: y = f(x) and the VJP that turns dL/dy into dL/dx. `..` stands
// for any leading sizes.
#include <span>

#include "02_gradients/tape.hpp"
#include "kernels/gelu.hpp"

namespace diffusion {

// Element by element. Shapes must agree.
template <class T>
Var<T> add(Var<T> a, Var<T> b);  ///< a + b
template <class T>
Var<T> sub(Var<T> a, Var<T> b);  ///< a - b
template <class T>
Var<T> mul(Var<T> a, Var<T> b);  ///< a * b
template <class T>
Var<T> scale(Var<T> x, T c);  ///< c x
template <class T>
Var<T> exp(Var<T> x);  ///< e^x
template <class T>
Var<T> log(Var<T> x);  ///< the natural logarithm; where x <= 0 the result is not finite

/// The sum of all elements: one number (2.26).
template <class T>
Var<T> sum(Var<T> x);
/// factor x with a factor that is learned: a Var of one number (2.27).
template <class T>
Var<T> scale_by(Var<T> x, Var<T> factor);

/// The same numbers under another shape.
template <class T>
Var<T> reshape(Var<T> x, Shape shape);

/// x[.., C] + b[C]: b is broadcast over the rows, so its VJP is a sum over them (2.7).
template <class T>
Var<T> add_row(Var<T> x, Var<T> b);

// Activations, element by element.
template <class T>
Var<T> relu(Var<T> x);
template <class T>
Var<T> sigmoid(Var<T> x);
template <class T>
Var<T> tanh(Var<T> x);
template <class T>
Var<T> silu(Var<T> x);  ///< x sigmoid(x) (Elfwing, Uchibe, Doya 2017, arXiv:1702.03118)
/// Its slope at z, from s = 1 / (1 + e^-z) and y = z s; V is a number or a register of them.
template <class V>
constexpr V silu_slope(V s, V y) {
    // >>> exercise 2.1 points=1 hint="(2.6): the product rule for z s(z); the slope of s is s (1 - s)"
    return s + y * (1 - s);  // (2.6)
    // <<<
}
template <class T>
Var<T> gelu(Var<T> x, Gelu kind = Gelu::erf);  ///< x Phi(x), or one of its approximations
/// x [.., 2C] to a gelu(b) [.., C], where a are the first C channels and b the others (Shazeer
/// 2020, arXiv:2002.05202).
template <class T>
Var<T> geglu(Var<T> x, Gelu kind = Gelu::erf);

/// x[.., I] weight[I, O] + bias[O], if there is one (2.8).
template <class T>
Var<T> linear(Var<T> x, Var<T> weight, Var<T> bias = {});

/// x[R, C] as [C, R] (2.28).
template <class T>
Var<T> transpose(Var<T> x);
/// a[M, K] b[K, N], or with `transpose_b` a[M, K] b[N, K]^T: a product of two values (2.28).
template <class T>
Var<T> matmul(Var<T> a, Var<T> b, bool transpose_b = false);

/// Row ids[i] of table[V, C] for every i (2.25): result [ids, C]. Rows used twice collect both
/// gradients.
template <class T>
Var<T> embedding(Var<T> table, std::span<const int> ids);

/// Softmax over the last axis (2.10).
template <class T>
Var<T> softmax(Var<T> x);

/// Over the last axis: mean 0 and variance 1, then times gain[C] plus bias[C] (2.11) (Ba, Kiros,
/// Hinton 2016, arXiv:1607.06450). The variance divides by C; eps is added to it inside the root.
/// For x [N,..,C] gain and bias may also be [N,C], a line for each of the N, or none: 1 and 0.
template <class T>
Var<T> layer_norm(Var<T> x, Var<T> gain = {}, Var<T> bias = {}, T eps = T(1e-5));
/// Over the last axis: root mean square 1, then times gain, as above (2.12) (Zhang, Sennrich 2019,
/// arXiv:1910.07467).
template <class T>
Var<T> rms_norm(Var<T> x, Var<T> gain = {}, T eps = T(1e-6));
/// x + gate f, for x [N,..,C], f of its shape, and a gate [C] or [N,C] as above.
template <class T>
Var<T> add_gated(Var<T> x, Var<T> gate, Var<T> f);

/// Mean of (x - target)^2 over all elements: one number (2.13).
template <class T>
Var<T> mse(Var<T> x, Var<T> target);
/// Mean over the rows of x[N, K] of -log softmax(x)[label] (2.14).
template <class T>
Var<T> cross_entropy(Var<T> x, std::span<const int> labels);

}  // namespace diffusion
