#pragma once
// What a GPU does for the chapters' programs. The programs are built with or without CUDA;
// training.cu fills this in where it is linked.
#include <functional>
#include <span>
#include <string>

#include "04_unet/denoising.hpp"

namespace diffusion {

/// Training whose steps are made on the GPU. The trainer on the host keeps the count of steps; what
/// it holds besides is as old as the last fetch().
struct GpuTraining {
    std::function<Trainer::Report()> step;
    std::function<void()> fetch;  ///< values, average and the optimisers' state into the trainer
};

struct GpuBackend {
    /// The GPU's name, and how products are made. Fails, saying why, if there is none that can be
    /// used.
    std::function<std::string()> name;
    /// How products are made: "fp32", "tf32" or "bf16"; "fp32" on a GPU without tensor cores.
    std::function<void(const std::string& precision)> set_precision;
    /// Goes on from the state of `trainer`. All arguments must outlive the result.
    std::function<GpuTraining(Trainer& trainer, const DenoisingModel& model, const Dataset& data,
                              const DenoisingTask& task)>
        training;
    /// make_denoiser, on the GPU; pictures come from the host and go back there.
    std::function<Denoiser<float>(const DenoisingModel& model, std::span<const float> values)>
        denoiser;
};

inline GpuBackend& gpu_backend() {
    static GpuBackend backend;
    return backend;
}

/// The backend. Fails if this program was built without CUDA, or if there is no GPU.
const GpuBackend& require_gpu(const std::string& precision);

}  // namespace diffusion
