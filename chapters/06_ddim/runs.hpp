#pragma once
// The jobs of chapter 6's program.
#include <filesystem>
#include <optional>
#include <string>

#include "04_unet/device.hpp"
#include "04_unet/samples.hpp"
#include "06_ddim/drawing.hpp"
#include "app/app.hpp"

namespace diffusion {

struct DrawSettings {
    std::filesystem::path model;  ///< empty: 04_unet beside --out
    Sampler sampler;
    std::optional<double> clip = {};  ///< none: as the model's scheduler says
    std::string grid;                 ///< empty: the sampler's own
    int steps = 0;  ///< 0: 50; for the strips of the experiment as its preset says
};

/// Draws: samples.png, samples.idx, and with save_npy samples.npy.
void run_draw(const CommonOptions& common, const DrawSettings& draw, const DrawingSettings& more,
              const Device& device);

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
void run_invert(const CommonOptions& common, const DrawSettings& draw, const PictureSettings& given,
                const Device& device);
/// Between two pictures, or without pictures between two noises: interpolation.png.
void run_interpolate(const CommonOptions& common, const DrawSettings& draw,
                     const PictureSettings& given, const Device& device);
/// What is missing is drawn: inpainting.png.
void run_inpaint(const CommonOptions& common, const DrawSettings& draw,
                 const PictureSettings& given, const Device& device);
/// Noised a part of the way and denoised: edit.png.
void run_edit(const CommonOptions& common, const DrawSettings& draw, const PictureSettings& given,
              const Device& device);

}  // namespace diffusion
