// What a program has in place of the definitions in the .cu files, if these are not
// linked: the linker takes this file from the library only where they are missing. It holds nothing
// else, or it would be taken beside them.
#include "04_unet/device.hpp"
#include "tensor/check.hpp"

namespace diffusion {

Device cuda_device(const std::string&) {
    fail(
        "--device cuda: this program was built without CUDA (install nvcc and configure again; "
        "-DDIFFUSION_CUDA=ON says what is missing)");
}

NetworkOf<cuda::Float> network_on_gpu(const UNet&) {
    return {};
}

std::function<std::shared_ptr<cuda::DeviceLoss>()> denoising_on_gpu(NetworkOf<cuda::Float>, Source,
                                                                    Objective, int, std::uint64_t) {
    return {};
}

}  // namespace diffusion
