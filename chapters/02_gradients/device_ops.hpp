#pragma once
// Chapter 2's operations for numbers on the GPU, Var<Float>: for files that write models with them.
// See device_ops.cu.
#include "02_gradients/ops.hpp"
#include "02_gradients/product.hpp"
#include "cuda/float.hpp"

namespace diffusion::cuda {

/// How products are made from now on: float to begin with.
Precision& precision();

/// A tape whose numbers lie on the GPU.
struct DeviceTape {
    Arena nodes, numbers{kGpuMemory};
    Tape<Float> tape{nodes, numbers};
};

}  // namespace diffusion::cuda

namespace diffusion {

// These forms are in device_ops.cu.
template <>
Var<cuda::Float> add(Var<cuda::Float> a, Var<cuda::Float> b);
/// Here the ids lie on the GPU, too, and nobody looks whether they are rows of the table.
template <>
Var<cuda::Float> embedding(Var<cuda::Float> table, std::span<const int> ids);
template <>
Var<cuda::Float> mul(Var<cuda::Float> a, Var<cuda::Float> b);
template <>
Var<cuda::Float> silu(Var<cuda::Float> x);
template <>
Var<cuda::Float> reshape(Var<cuda::Float> x, Shape shape);
template <>
Var<cuda::Float> linear(Var<cuda::Float> x, Var<cuda::Float> weight, Var<cuda::Float> bias);
template <>
Var<cuda::Float> mse(Var<cuda::Float> x, Var<cuda::Float> target);

}  // namespace diffusion
