#pragma once
// Operations on rows of tokens that are put together from several tensors.
#include "02_gradients/tape.hpp"

namespace diffusion {

/// The rows of a [A,C], and below them those of b [B,C].
template <class T>
Var<T> concat_rows(Var<T> a, Var<T> b);

/// x [N,L,C] + rows [L,C], for each of the N.
template <class T>
Var<T> add_to_each(Var<T> x, Var<T> rows);

}  // namespace diffusion
