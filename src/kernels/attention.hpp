#pragma once
// Scaled dot-product attention in blocks of scores that are made, used and forgotten.
// chapters/04_unet/plain_ops.cpp has the same as plain loops.
#include <span>

#include "tensor/arena.hpp"

namespace diffusion {

template <class T>
struct AttentionInput {
    Tensor<T> q, k, v;    ///< [N,L,C], [N,S,C], [N,S,C]
    int heads;            ///< slices of D = C / heads channels
    T scale;              ///< of the scalar products
    Tensor<T> live;       ///< from live_keys()
    bool causal = false;  ///< query i sees the keys j <= i + S - L
    Tensor<T> bias = {};  ///< [heads,L,S] or none: added to the scores of every image

    int queries() const { return q.size(1); }
    int keys() const { return k.size(1); }
    int width() const { return q.size(2) / heads; }
    /// How many keys query i may see at most.
    int reach(int i) const { return causal ? i + 1 + keys() - queries() : keys(); }
};

/// [N,S]: 1 for a key that is kept, 0 for one that is not, for `keep` [N,S] or all.
template <class T>
Tensor<T> live_keys(std::span<const unsigned char> keep, int images, int keys, Arena& memory);

/// Writes y [N,L,C] and, for the way back, log_sum [N,heads,L]: the logarithm of each row's
/// denominator in (4.9). Every query must see a key.
template <class T>
void attention_forward(const AttentionInput<T>& in, Tensor<T> y, Tensor<T> log_sum);

/// (4.10) Adds to dq, dk, dv and dbias, where they are given.
template <class T>
void attention_vjp(const AttentionInput<T>& in, Tensor<T> y, Tensor<T> dy, Tensor<T> log_sum,
                   Tensor<T> dq, Tensor<T> dk, Tensor<T> dv, Tensor<T> dbias);

}  // namespace diffusion
