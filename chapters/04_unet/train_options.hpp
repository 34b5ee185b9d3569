#pragma once
// The command line of trainings, for this chapter's program and later ones. `Settings` are
// TrainSettings or have some of its fields under the same names.
#include "04_unet/train_settings.hpp"
#include "app/app.hpp"
#include "app/ranges.hpp"

namespace diffusion {

/// How large the network is.
template <class Settings>
void add_network_options(CLI::App* command, Settings& settings) {
    command->add_option("--base", settings.base, "channels of the first level (0: the preset's)")
        ->capture_default_str()
        ->transform(at_least(0));
    command
        ->add_option("--multipliers", settings.multipliers,
                     "channels of each level, in units of base: 1,2,2 (none: the preset's)")
        ->delimiter(',')
        ->transform(at_least(1));
}

/// How much is learned.
template <class Settings>
void add_length_options(CLI::App* command, Settings& settings) {
    command->add_option("--images", settings.images, "training images (0: the preset's)")
        ->capture_default_str()
        ->transform(between(std::int64_t{0}, kMostSteps));
    command->add_option("--batch", settings.batch, "images per step (0: the preset's)")
        ->capture_default_str()
        ->transform(at_least(0));
}

/// How it is learned.
template <class Settings>
void add_learning_options(CLI::App* command, Settings& settings) {
    command
        ->add_option("--optimizer", settings.optimizer, "muon (for the weight matrices), or adam")
        ->capture_default_str()
        ->check(CLI::IsMember({"muon", "adam"}));
    command
        ->add_option("--learning-rate", settings.learning_rate,
                     "at its highest; with --resume another one counts from there on")
        ->default_str(as_written(kLearningRate))
        ->transform(above(0));
    command->add_option("--save-every", settings.save_every, "steps between checkpoints")
        ->capture_default_str()
        ->transform(at_least(1));
}

/// What the loss asks for, and at which times.
template <class Settings>
void add_objective_options(CLI::App* command, Settings& settings) {
    command->add_option("--schedule", settings.schedule, "how fast noise comes in")
        ->default_str(kSchedule)
        ->check(CLI::IsMember(kScheduleNames));
    command->add_option("--prediction", settings.prediction, "what the network is asked for")
        ->default_str(kPrediction)
        ->check(CLI::IsMember(model_predictions()));
    command
        ->add_option("--time-power", settings.time_power,
                     "1: all times equally often; less: more late")
        ->capture_default_str()
        ->transform(between(0.1, 10.0));
}

}  // namespace diffusion
