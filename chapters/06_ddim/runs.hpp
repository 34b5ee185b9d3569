#pragma once
// The jobs of chapter 6's program.
#include <filesystem>
#include <string>

#include "06_ddim/drawing.hpp"
#include "app/app.hpp"

namespace diffusion {

struct DrawSettings {
    std::filesystem::path model;  ///< empty: 04_unet/model.safetensors beside --out
    Sampler sampler;
    std::string grid;  ///< empty: the sampler's own
    int steps = 0;     ///< 0: 50; for the strips of the experiment as its preset says
    std::string device = "cpu", precision = "tf32";  ///< where the network runs; on a GPU
};

struct SampleSettings {
    int n = 64;
    std::filesystem::path noise;  ///< empty: noise from the seed
    bool save_npy = false;
};
/// Draws: samples.png, samples.idx, and with save_npy samples.npy.
void run_sample(const CommonOptions& common, const DrawSettings& draw, const SampleSettings& more);

struct PictureSettings {
    std::filesystem::path image, second;  ///< PNG or JPEG; empty: a test picture
    std::filesystem::path mask;           ///< white where pixels are kept; empty: the upper half
    bool negative = false;
    int rounds = 4;         ///< of substitution in an inversion
    int repeats = 5;        ///< of a step of inpainting
    double strength = 0.5;  ///< of an edit
    int n = 8;              ///< results
};
/// From a picture to its noise and back: inversion.png, and the noise as noise.npy.
void run_invert(const CommonOptions& common, const DrawSettings& draw,
                const PictureSettings& given);
/// Between two pictures, or without pictures between two noises: interpolation.png.
void run_interpolate(const CommonOptions& common, const DrawSettings& draw,
                     const PictureSettings& given);
/// What is missing is drawn: inpainting.png.
void run_inpaint(const CommonOptions& common, const DrawSettings& draw,
                 const PictureSettings& given);
/// Noised a part of the way and denoised: edit.png.
void run_edit(const CommonOptions& common, const DrawSettings& draw, const PictureSettings& given);

/// Orders of convergence; quality against steps; strips of all that the subcommands do.
void run_experiment(const CommonOptions& common, const DrawSettings& draw);

}  // namespace diffusion
