#pragma once
// Sums by the threads of a warp and of a block. They are made in an order that depends on sizes
// alone, so that they have the same bits every time.
#include "cuda/index.hpp"

namespace diffusion::cuda {

/// 1 / (1 + e^-x), as in kernels/exp.hpp.
__device__ __forceinline__ float logistic(float x) {
    return 1.0f / (1.0f + expf(-x));
}

/// The sum, or the largest, of x over the 32 threads of a warp, for each of them: halves of the
/// warp exchange what they have, five times.
__device__ __forceinline__ float warp_sum(float x) {
    for (int half = 16; half > 0; half /= 2) x += __shfl_xor_sync(0xffffffffu, x, half);
    return x;
}
__device__ __forceinline__ float warp_max(float x) {
    for (int half = 16; half > 0; half /= 2) {
        const float other = __shfl_xor_sync(0xffffffffu, x, half);
        x = other > x ? other : x;
    }
    return x;
}

/// The sum of x over a block of whole warps, for each thread. `shared` holds 33 floats.
__device__ __forceinline__ float block_sum(float x, float* shared) {
    x = warp_sum(x);
    const int warps = static_cast<int>(blockDim.x) / 32, warp = static_cast<int>(threadIdx.x) / 32;
    if (threadIdx.x % 32 == 0) shared[warp] = x;
    __syncthreads();
    if (warp == 0) {
        const int lane = static_cast<int>(threadIdx.x);
        const float total = warp_sum(lane < warps ? shared[lane] : 0.0f);
        if (lane == 0) shared[32] = total;
    }
    __syncthreads();
    const float total = shared[32];
    __syncthreads();  // `shared` may be used again
    return total;
}

}  // namespace diffusion::cuda
