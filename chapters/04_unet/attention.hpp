#pragma once
// Scaled dot-product attention with several heads (Vaswani et al. 2017, arXiv:1706.03762).
#include <span>

#include "02_gradients/tape.hpp"

namespace diffusion {

/// (4.9) Each of the L queries takes a weighted mean of the S values, with weights softmax(q . k /
/// sqrt(D)), separately in each of `heads` slices of D = C / heads channels. q [N,L,C], k and v
/// [N,S,C]; result [N,L,C]. `keep` has N * S entries, or none: a key whose entry is 0 gets weight
/// 0. Every image must keep at least one key.
template <class T>
Var<T> attention(Var<T> q, Var<T> k, Var<T> v, int heads, std::span<const unsigned char> keep = {});

}  // namespace diffusion
