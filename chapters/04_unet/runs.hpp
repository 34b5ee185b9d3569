#pragma once
// The two jobs of chapter 4's program.
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "04_unet/device.hpp"
#include "04_unet/samples.hpp"
#include "app/app.hpp"
#include "io/run_folder.hpp"

namespace diffusion {

struct TrainSettings {
    std::string dataset = "mnist";
    int base = 0;                       ///< 0: as the preset says
    std::vector<int> multipliers = {};  ///< empty: as the preset says
    std::int64_t images = 0;            ///< 0: as the preset says
    int batch = 0;                      ///< 0: as the preset says
    std::string optimizer = "muon";
    double learning_rate = 2e-3;
    std::string schedule = "cosine";
    std::string prediction = "x0";
    double time_power = kTimePower;
    int save_every = 200;  ///< steps between checkpoints
};

/// Trains and writes model.safetensors (averaged weights), state.safetensors (for --resume),
/// train.csv, loss_by_t.csv and progress.png (samples from the same noise as training goes on).
/// Returns false if Ctrl-C ended it early; the state is then saved. With --resume it goes on from
/// the saved state and ends with the same files as a run that was never stopped, but for the times
/// in train.csv.
bool run_train(const CommonOptions& common, const TrainSettings& settings, const Device& device,
               RunFolder& folder);

struct SampleSettings {
    std::filesystem::path model;
    int steps = 1000;
    DrawingSettings drawing;
};

/// Draws and writes samples.png, samples.idx, denoising.gif and, if asked, samples.npy.
void run_sample(const CommonOptions& common, const SampleSettings& settings, const Device& device,
                RunFolder& folder);

}  // namespace diffusion
