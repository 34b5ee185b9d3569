#pragma once
// Looking at what an autoencoder learns from.
#include <string>

#include "app/app.hpp"
#include "io/run_folder.hpp"

namespace diffusion {

struct CanvasSettings {
    std::string dataset = "scenes";  ///< a kind of find_pictures
    int n = 24;                      ///< how many pictures, from the first one on
};

/// Writes pictures as canvases/00000.png and so on, what is said of each in canvases/captions.csv,
/// and up to 60 of them on one sheet: canvases.png. An earlier folder is kept. The folder canvases
/// is such as --dataset folder: reads.
void run_canvases(const CommonOptions& common, const CanvasSettings& settings, RunFolder& folder);

}  // namespace diffusion
