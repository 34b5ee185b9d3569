#pragma once
// What a network may be told besides the noised pictures and their times.
#include <span>

#include "04_unet/attention.hpp"

namespace diffusion {

/// Of N pictures. A network takes what it is made for, and fails if that is missing.
template <class T>
struct Condition {
    Var<T> tokens = {};                ///< [N,S,D]: a text, which attention may read
    Var<T> pooled = {};                ///< [N,P]: one vector, added to that of the time
    Mask keep = {};                    ///< [N,S]: 0 where a token is padding; none: keep all
    Tensor<const int> ids = {};        ///< [N,S]: token ids, for a network with an encoder
    std::span<const int> labels = {};  ///< [N]: a class
};

}  // namespace diffusion
