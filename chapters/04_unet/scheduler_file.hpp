#pragma once
// scheduler_config.json of the library diffusers: the schedule of a model, and what it predicts.
#include <nlohmann/json.hpp>
#include <string>

#include "01_forward_noising/schedule.hpp"
#include "03_reverse_process/ancestral.hpp"
#include "03_reverse_process/prediction.hpp"
#include "io/config.hpp"

namespace diffusion {

/// How a model was trained, and how `ancestral_sample` is to draw with it.
struct Noising {
    Schedule schedule;
    Prediction prediction;
    Variance variance = Variance::small;
    double clip = 1;  ///< of guesses of the picture; 0: none
};

/// From the settings of a DDPM-, DDIM-, PNDM-, EulerDiscrete- or DPMSolverMultistepScheduler, which
/// share these. Which times are visited, and how other samplers make a step, is left to the
/// programs' own options. Fails, naming it, on what is not understood.
Noising read_noising(const Config& file);

/// The settings of a DDPMScheduler that draws like `ancestral_sample` with the small variance.
nlohmann::json scheduler_config_json(const Schedule& schedule, Prediction prediction);

}  // namespace diffusion
