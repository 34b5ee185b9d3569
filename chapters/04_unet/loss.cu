// The loss (4.15) on a GPU: a block for each sample, and a thread for each number on the way back.
#include "04_unet/gpu_batch.hpp"
#include "cuda/reduce.hpp"

namespace diffusion::cuda {
namespace {

constexpr int kThreads = kBlockThreads;

/// The mean square of a sample's difference.
__global__ void sample_errors(const float* x, const float* target, int size, float* of_sample) {
    __shared__ float shared[33];
    uninitialised(shared);
    const std::ptrdiff_t first = static_cast<std::ptrdiff_t>(blockIdx.x) * size;
    float sum = 0;
    for (int i = static_cast<int>(threadIdx.x); i < size; i += kThreads) {
        const float d = x[first + i] - target[first + i];
        sum += d * d;
    }
    sum = block_sum(sum, shared);
    if (threadIdx.x == 0) of_sample[blockIdx.x] = sum / static_cast<float>(size);
}

/// The mean over the samples of weight times error: one block.
__global__ void weighted_mean(const float* of_sample, const float* weight, int samples,
                              float* loss) {
    __shared__ float shared[33];
    uninitialised(shared);
    float sum = 0;
    for (int n = static_cast<int>(threadIdx.x); n < samples; n += kThreads)
        sum += weight[n] * of_sample[n];
    sum = block_sum(sum, shared);
    if (threadIdx.x == 0) *loss = sum / static_cast<float>(samples);  // (4.15)
}

struct LossVjp {
    const float *x, *target, *weight, *dloss;
    Divisor size;
    float share;  ///< 2 / all numbers
    float* dx;
    bool add;
    __device__ void operator()(int i) const {
        dx[i] = share * weight[i / size] * *dloss * (x[i] - target[i]) + (add ? dx[i] : 0.0f);
    }
};

}  // namespace
}  // namespace diffusion::cuda

namespace diffusion {

using cuda::Float;
using cuda::raw;

template <>
WeightedError<Float> weighted_mse(Var<Float> x, Tensor<Float> target, Tensor<Float> weight) {
    require_same_shape("weighted_mse", x.value(), target);
    const int samples = x.size(0);
    require(weight.shape() == Shape{samples}, "weighted_mse: x is ", x.shape(),
            ", the weights are ", weight.shape());
    const int size = cuda::index_count(x.value().numel()) / samples;
    const Var<Float> loss = x.tape().result({1}, x);
    const Tensor<Float> of_sample = x.tape().numbers().make<Float>({samples});
    cuda::launch(cuda::sample_errors, static_cast<unsigned>(samples), cuda::kThreads,
                 raw(x.value()), raw(target), size, raw(of_sample));
    cuda::launch(cuda::weighted_mean, 1u, cuda::kThreads, raw(of_sample), raw(weight), samples,
                 raw(loss.value()));
    x.tape().record(loss, [=] {
        bool add = true;
        float* dx = raw(x.grad_or_room(add));
        cuda::for_each_number(
            x.value().numel(),
            cuda::LossVjp{raw(x.value()), raw(target), raw(weight), raw(loss.grad()), size,
                          static_cast<float>(2.0 / static_cast<double>(x.value().numel())), dx,
                          add});
    });
    return {loss, of_sample};
}

}  // namespace diffusion
