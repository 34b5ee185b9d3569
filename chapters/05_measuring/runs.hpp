#pragma once
// The jobs of chapter 5's program.
#include <filesystem>

#include "05_measuring/reference.hpp"

namespace diffusion {

/// Trains the judge anew and keeps its file.
void run_train_judge(const CommonOptions& common, const JudgeSettings& settings);

struct ScoreSettings {
    JudgeSettings judge;
    std::filesystem::path samples;  ///< a folder of pictures, or a file: IDX, .npy or .npz
    int n = 0;                      ///< 0: all, but no more than there are test pictures
};

/// Scores pictures of any origin: prints a table and writes score.json.
void run_score(const CommonOptions& common, const ScoreSettings& settings);

struct ExperimentSettings {
    JudgeSettings judge;
    std::filesystem::path model;  ///< empty: 04_unet beside --out
    int steps = 0;                ///< of drawing; 0: as the preset says
};

/// What the measures see: sets with known faults, the distance against the number of pictures, and
/// chapter 4's model.
void run_experiment(const CommonOptions& common, const ExperimentSettings& settings);

}  // namespace diffusion
