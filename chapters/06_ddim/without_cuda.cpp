// What a program has in place of the definition in sampling.cu, if that is not linked: see
// 04_unet/without_cuda.cpp.
#include "06_ddim/gpu_sampling.hpp"
#include "tensor/check.hpp"

namespace diffusion {

void sample_on_gpu(const Network&, Prediction, std::span<const float>, const Batch&, const Sampler&,
                   std::span<const Moment>, Tensor<float>, const std::function<void(int)>&) {
    fail("this program was built without CUDA");
}

}  // namespace diffusion
