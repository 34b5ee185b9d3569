#pragma once
// Diffusion on latents, and, to compare, on the pictures themselves.
#include <filesystem>

#include "04_unet/device.hpp"
#include "04_unet/samples.hpp"
#include "04_unet/train_settings.hpp"
#include "06_ddim/drawing.hpp"
#include "app/app.hpp"
#include "io/run_folder.hpp"

namespace diffusion {

struct DiffusionSettings {
    bool pixels = false;        ///< of pictures, not of latents
    std::filesystem::path vae;  ///< empty: the run's own
    std::string dataset = {};   ///< as find_pictures has them; empty: what the autoencoder learned
    double scale_by = 1;  ///< an experiment: as if the autoencoder's factor were so much larger
    int set = 0;          ///< latents that are encoded once; 0: the preset's
    TrainSettings train;  ///< its dataset and --from are not used
};

/// Trains chapter 4's UNet and writes the run's folder as a pipeline of the library diffusers,
/// which LDMPipeline.from_pretrained opens: unet, scheduler, and the autoencoder in vqvae. Returns
/// false if Ctrl-C ended it early.
bool run_diffuse(const CommonOptions& common, const DiffusionSettings& settings,
                 const Device& device, RunFolder& folder);

struct LatentDrawSettings {
    std::filesystem::path model;  ///< a pipeline with an autoencoder, or one of pixels
    Sampler sampler;              ///< clip 0: latents are never clipped
    std::string grid;             ///< empty: the sampler's own
    int steps = 50;
    DrawingSettings drawing;
};

/// Draws latents, decodes them, and writes what every drawing writes.
void run_sample(const CommonOptions& common, const LatentDrawSettings& settings,
                const Device& device, RunFolder& folder);

}  // namespace diffusion
