#pragma once
// The two jobs of chapter 4's program.
#include <filesystem>

#include "04_unet/device.hpp"
#include "04_unet/samples.hpp"
#include "04_unet/train_settings.hpp"
#include "app/app.hpp"
#include "io/run_folder.hpp"

namespace diffusion {

/// Trains and writes, at every checkpoint, the model (averaged weights) and
/// state.safetensors (for --resume); train.csv, loss_by_t.csv and progress.png (samples from the
/// same noise as training goes on). Returns false if Ctrl-C ended it early. With --resume it goes
/// on from the saved state and ends with the same files as a run that was never stopped, but for
/// the times in train.csv. Without, the files of an earlier training are kept aside.
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
