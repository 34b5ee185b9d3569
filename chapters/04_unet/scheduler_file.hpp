#pragma once
// scheduler_config.json of the library diffusers: the schedule of a model, and what it predicts.
#include <nlohmann/json.hpp>
#include <string>

#include "01_forward_noising/schedule.hpp"
#include "03_reverse_process/prediction.hpp"
#include "io/config.hpp"

namespace diffusion {

/// How a model was trained.
struct Noising {
    Schedule schedule;
    Prediction prediction;
};

/// From the settings of a DDPM-, DDIM-, PNDM-, EulerDiscrete- or DPMSolverMultistepScheduler, which
/// share this part. How they draw is left to the programs' own options. Fails, naming it, on
/// another class, schedule or prediction.
Noising read_noising(const Config& file);

/// The settings of a DDPMScheduler that draws like `ancestral_sample` with the small variance.
nlohmann::json scheduler_config_json(const Schedule& schedule, Prediction prediction);

}  // namespace diffusion
