#include "04_unet/device.hpp"

#include "tensor/check.hpp"

namespace diffusion {
namespace {

class CpuTraining : public Training {
public:
    CpuTraining(Trainer& trainer, const TrainingTask& task)
        : trainer_(trainer), loss_(task.on_cpu) {}
    Trainer::Report step() override { return trainer_.step(loss_); }
    void fetch() override {}

private:
    Trainer& trainer_;
    Trainer::Loss loss_;
};

}  // namespace

TrainingTask denoising_task(const Network& network, const Source& source,
                            const Objective& objective, int batch, std::uint64_t seed) {
    return {denoising_loss(network.on_cpu, source, objective, batch, seed),
            network.on_gpu ? denoising_on_gpu(network.on_gpu, source, objective, batch, seed)
                           : nullptr};
}

Device cpu_device() {
    return {"CPU", false,
            [](Trainer& trainer, const TrainingTask& task) -> std::unique_ptr<Training> {
                return std::make_unique<CpuTraining>(trainer, task);
            },
            [](const Network& network, Prediction prediction, std::span<float> values,
               const Batch& condition) {
                return network_denoiser(network.on_cpu, prediction, values, condition);
            }};
}

Device find_device(const std::string& name, const std::string& precision) {
    require(name == "cpu" || name == "cuda", "--device ", name, ": use cpu or cuda");
    return name == "cpu" ? cpu_device() : cuda_device(precision);
}

}  // namespace diffusion
