#pragma once
// prediction.hpp for a GPU: x_0 from what a network says. Only .cu files include this header.
#include "01_forward_noising/noising.hpp"
#include "03_reverse_process/prediction.hpp"

namespace diffusion::cuda {

__device__ __forceinline__ float x0_from(Prediction kind, LevelF level, float xt, float y) {
    if (kind == Prediction::x0) return y;
    if (kind == Prediction::eps) return (xt - level.s * y) / level.a;  // (3.11)
    return level.a * xt - level.s * y;                                 // (3.13), from v
}

}  // namespace diffusion::cuda
