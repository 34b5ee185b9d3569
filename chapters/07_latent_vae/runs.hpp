#pragma once
// What the program does: train an autoencoder, and use one.
#include <filesystem>
#include <vector>

#include "04_unet/device.hpp"
#include "07_latent_vae/vae_settings.hpp"
#include "app/app.hpp"
#include "io/run_folder.hpp"

namespace diffusion {

/// Trains and writes, into the folder vqvae of the run, the autoencoder with its scale, its state
/// (for --resume) and train.csv; then reconstructions at rising training time, channels of latents,
/// previews, and what was measured on pictures that training did not see. Returns false if Ctrl-C
/// ended it early.
bool run_train(const CommonOptions& common, const VaeSettings& settings, const Device& device,
               RunFolder& folder);

struct CodingSettings {
    std::filesystem::path model;                ///< a folder with an autoencoder of either class
    std::vector<std::filesystem::path> images;  ///< pictures, for encode and reconstruct
    std::filesystem::path latents;              ///< a .npy file, for decode
};

/// Writes the latents of the pictures, scaled, into latent_1.npy, .. [1,h,w,c].
void run_encode(const CommonOptions& common, const CodingSettings& settings, RunFolder& folder);
/// Writes decoded_1.png, .. from such a file.
void run_decode(const CommonOptions& common, const CodingSettings& settings, RunFolder& folder);
/// Writes reconstructed_1.png, ..: each picture beside what is left of it, and how far they differ.
void run_reconstruct(const CommonOptions& common, const CodingSettings& settings,
                     RunFolder& folder);

}  // namespace diffusion
