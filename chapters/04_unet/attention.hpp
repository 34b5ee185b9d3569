#pragma once
// Scaled dot-product attention with several heads (Vaswani et al. 2017, arXiv:1706.03762).
#include <span>
#include <type_traits>

#include "02_gradients/tape.hpp"

namespace diffusion {

/// Which keys count, [N,S]: 1 = keep. Empty: all.
using Mask = std::span<const unsigned char>;

/// Who looks at whom, and how. All restrictions hold at once.
template <class T>
struct Attend {
    int heads = 1;
    Mask keep = {};       ///< a key whose entry is 0 gets weight 0 from every query
    bool causal = false;  ///< query i sees the keys j <= i + S - L: the last query sees all
    Var<T> bias = {};     ///< [heads,L,S], added to the scores of every image; may be learned
    double scale = 0;     ///< of the scalar products; 0: 1 / sqrt(D)
};

/// (4.9) Each of the L queries takes a weighted mean of the S values, with weights softmax(scale
/// q . k + bias), separately in each of `heads` slices of D = C / heads channels. q [N,L,C], k and
/// v [N,S,C]; result [N,L,C]. Every query must see at least one key.
template <class T>
Var<T> attention(Var<T> q, Var<T> k, Var<T> v, const std::type_identity_t<Attend<T>>& how = {});

}  // namespace diffusion
