#pragma once
// The loss (4.15) of a model on the pictures of a data set.
#include "04_unet/model.hpp"

namespace diffusion {

struct PictureTask {
    int batch;
    double time_power;
    bool flip;
    std::uint64_t seed;
};

inline Trainer::Loss picture_loss(const DenoisingModel& model, const Dataset& data,
                                  const PictureTask& task, SampleErrors* samples = nullptr) {
    return denoising_loss(
        model.network().on_cpu,
        picture_source(data, {.batch = task.batch, .flip = task.flip, .seed = task.seed}),
        model.objective(task.time_power), task.batch, task.seed, samples);
}

}  // namespace diffusion
