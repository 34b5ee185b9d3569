#pragma once
// Where networks run. A program finds its device once, in main, and passes it on.
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "04_unet/model.hpp"

namespace CLI {
class App;
}

namespace diffusion {

/// A training under way on some device.
class Training {
public:
    virtual ~Training() = default;
    virtual Trainer::Report step() = 0;
    /// Brings values, average and the optimisers' state back into the trainer, which keeps the
    /// count of steps.
    virtual void fetch() = 0;
};

namespace cuda {
class DeviceLoss;  // gpu_batch.hpp
}

/// What is trained: one loss, for each device.
struct TrainingTask {
    Trainer::Loss on_cpu;
    std::function<std::shared_ptr<cuda::DeviceLoss>()> on_gpu;  ///< empty: not on a GPU
};
/// (4.15): denoising_loss on either device. Batch and seed are those of the trainer.
TrainingTask denoising_task(const Network& network, const Source& source,
                            const Objective& objective, int batch, std::uint64_t seed);
/// Its second half. The program's .cu files define it, and without_cuda.cpp where there are none.
std::function<std::shared_ptr<cuda::DeviceLoss>()> denoising_on_gpu(NetworkOf<cuda::Float> network,
                                                                    Source source,
                                                                    Objective objective, int batch,
                                                                    std::uint64_t seed);

struct Device {
    std::string name;  ///< for the banner: "CPU", or the GPU's and how it makes products
    bool is_gpu = false;
    /// Goes on from the state of the trainer, which must outlive the result.
    std::unique_ptr<Training> (*training)(Trainer& trainer, const TrainingTask& task);
    /// network_denoiser on this device; pictures come from the host and go back there.
    Denoiser<float> (*denoiser)(const Network& network, Prediction prediction,
                                std::span<float> values, const Batch& condition);
};

Device cpu_device();
/// A GPU; `precision` says how products are made: "fp32", "tf32" or "bf16" ("fp32" on a GPU without
/// tensor cores). Fails if there is none that can be used. The program's .cu files define it; one
/// that is linked without them gets without_cuda.cpp's, which fails.
Device cuda_device(const std::string& precision);

/// A device as the command line describes it.
struct DeviceOptions {
    std::string name = "cpu";        ///< or "cuda"
    std::string precision = "tf32";  ///< of cuda_device
};
/// Adds --device and --precision.
void add_device_options(CLI::App& command, DeviceOptions& options);
/// Fails on a name that is neither "cpu" nor "cuda".
Device find_device(const DeviceOptions& options);

}  // namespace diffusion
