#include "04_unet/device.hpp"

#include <CLI/CLI.hpp>

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

void add_device_options(CLI::App& command, DeviceOptions& options) {
    command.add_option("--device", options.name, "where the network runs: cpu or cuda")
        ->capture_default_str()
        ->check(CLI::IsMember({"cpu", "cuda"}));
    command
        .add_option("--precision", options.precision,
                    "of products on a GPU: fp32, or on tensor cores tf32 or bf16")
        ->capture_default_str()
        ->check(CLI::IsMember({"fp32", "tf32", "bf16"}));
}

Device find_device(const DeviceOptions& options) {
    require(options.name == "cpu" || options.name == "cuda", "--device ", options.name,
            ": use cpu or cuda");
    return options.name == "cpu" ? cpu_device() : cuda_device(options.precision);
}

}  // namespace diffusion
