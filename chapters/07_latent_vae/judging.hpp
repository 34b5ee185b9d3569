#pragma once
// The judges of canvases as the program uses them: trained once, kept in the run's folder, and
// measured on canvases that they have not seen.
#include "07_latent_vae/scene_judge.hpp"
#include "07_latent_vae/word_reader.hpp"
#include "app/app.hpp"
#include "io/run_folder.hpp"

namespace diffusion {

/// Scenes with the digits of the training set, and others with those of the test set.
struct SceneSets {
    Scenes train, test;
};
SceneSets find_scenes(const std::string& data_dir, std::uint64_t seed);

/// The judge in the run's folder; one is trained where there is none.
SceneJudge find_scene_judge(const CommonOptions& common, const SceneSets& scenes,
                            const RunFolder& folder);

/// The same for words.
WordReader find_word_reader(const CommonOptions& common, const Words& words,
                            const RunFolder& folder);

struct JudgingSettings {
    std::filesystem::path vae;      ///< a folder that load_coder opens, or empty
    std::filesystem::path samples;  ///< pictures as chapter 5's read_pictures reads them, or empty
    int n = 5000;                   ///< canvases
};

/// Trains the judges where they are not there, and tells how often they are right: on canvases as
/// they were painted, and, of the kind that an autoencoder learned, on what it makes of them.
/// Samples are held against scenes: the Frechet distance (5.7) of the judge's features.
void run_judge(const CommonOptions& common, const JudgingSettings& settings, RunFolder& folder);

}  // namespace diffusion
