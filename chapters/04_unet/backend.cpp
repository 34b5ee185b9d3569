#include "04_unet/backend.hpp"

#include "tensor/check.hpp"

namespace diffusion {

const GpuBackend& require_gpu(const std::string& precision) {
    const GpuBackend& backend = gpu_backend();
    require(static_cast<bool>(backend.training),
            "--device cuda: this program was built without CUDA (install nvcc and configure again; "
            "-DDIFFUSION_CUDA=ON says what is missing)");
    backend.set_precision(precision);
    static_cast<void>(backend.name());
    return backend;
}

}  // namespace diffusion
