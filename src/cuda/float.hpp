#pragma once
// A float that lies on the GPU. Tensor<Float> and Var<Float> are views and values like all others,
// but only kernels may look into them; so a model written for Var<T> runs on the GPU unchanged.
#include "cuda/device.hpp"
#include "tensor/tensor.hpp"

namespace diffusion::cuda {

struct Float {
    float value;
    Float() = default;
    constexpr explicit Float(double v) : value(static_cast<float>(v)) {}
};
static_assert(sizeof(Float) == sizeof(float));

/// For kernels.
inline float* raw(Tensor<Float> x) {
    return reinterpret_cast<float*>(x.data());
}
inline const float* raw(Tensor<const Float> x) {
    return reinterpret_cast<const float*>(x.data());
}
inline Float* as_device(float* x) {
    return reinterpret_cast<Float*>(x);
}

/// Blocks of an Arena on the GPU.
inline constexpr MemorySource kGpuMemory = {allocate_bytes, free_bytes};

// What a tape does with numbers (02_gradients/tape.hpp), for these; in gradients.cu.
void fill(Tensor<Float> x, Float value);
void write_or_add(Tensor<Float> into, Float c, Tensor<Float> x, bool add);
bool all_finite(Tensor<Float> x);

}  // namespace diffusion::cuda
