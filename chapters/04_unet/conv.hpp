#pragma once
// The kernels of kernels/conv.hpp, upsample.hpp and group_norm.hpp for numbers on the GPU: see
// conv.cu, norm.cu and attention.cu. Only .cu files include this header.
#include <limits>

#include "02_gradients/device_ops.hpp"
#include "04_unet/attention.hpp"
#include "04_unet/convolution.hpp"

namespace diffusion {

/// Kernels take whole batches: a GPU wants much to do at a time.
template <>
inline constexpr std::ptrdiff_t kNumbersInCache<cuda::Float> =
    std::numeric_limits<std::ptrdiff_t>::max();

// conv.cu
template <>
void conv2d(Tensor<const cuda::Float> x, Tensor<const cuda::Float> weight, ConvOptions options,
            Tensor<cuda::Float> y, Arena& scratch, Plus<cuda::Float> plus);
template <>
void conv2d_data_vjp(Tensor<const cuda::Float> dy, Tensor<const cuda::Float> weight,
                     ConvOptions options, bool add, Tensor<cuda::Float> dx, Arena& scratch);
template <>
void conv2d_weight_vjp(Tensor<const cuda::Float> x, Tensor<const cuda::Float> dy,
                       ConvOptions options, Tensor<cuda::Float> dweight, Arena& scratch);
template <>
void conv2d_doubled(Tensor<const cuda::Float> x, Tensor<const cuda::Float> weight,
                    Tensor<cuda::Float> y, Arena& scratch, Plus<cuda::Float> plus);
template <>
void conv2d_doubled_vjp(Tensor<const cuda::Float> x, Tensor<const cuda::Float> weight,
                        Tensor<const cuda::Float> dy, const DoubledGradients<cuda::Float>& to,
                        Arena& scratch);
template <>
void upsample(Tensor<const cuda::Float> x, Tensor<cuda::Float> y);
template <>
void upsample_vjp(Tensor<const cuda::Float> dy, bool add, Tensor<cuda::Float> dx);
template <>
Tensor<cuda::Float> sum_of_rows(Var<cuda::Float> bias, Var<cuda::Float> shift);
template <>
void sum_of_rows_vjp(Tensor<cuda::Float> dy, Var<cuda::Float> bias, Var<cuda::Float> shift,
                     Arena& scratch);

// norm.cu
template <>
void group_norm_forward(const GroupNormInput<cuda::Float>& x,
                        const GroupNormLines<cuda::Float>& lines, Tensor<cuda::Float> y,
                        Arena& scratch);
template <>
void group_norm_vjp(const GroupNormInput<cuda::Float>& x, const GroupNormLines<cuda::Float>& lines,
                    Tensor<cuda::Float> dy, Tensor<cuda::Float> y,
                    const GroupNormGradients<cuda::Float>& to, Arena& scratch);

// attention.cu
template <>
Var<cuda::Float> slice_channels(Var<cuda::Float> x, int begin, int count);
template <>
Var<cuda::Float> attention(Var<cuda::Float> q, Var<cuda::Float> k, Var<cuda::Float> v,
                           const Attend<cuda::Float>& how);

}  // namespace diffusion
