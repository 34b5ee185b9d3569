#include "04_unet/device.hpp"

#include "tensor/check.hpp"

namespace diffusion {
namespace {

class CpuTraining : public Training {
public:
    CpuTraining(Trainer& trainer, const TrainingTask& task)
        : trainer_(trainer),
          loss_(denoising_loss(task.network.on_cpu, task.source, task.objective,
                               trainer.options().batch, trainer.options().seed)) {}
    Trainer::Report step() override { return trainer_.step(loss_); }
    void fetch() override {}

private:
    Trainer& trainer_;
    Trainer::Loss loss_;
};

}  // namespace

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
