#pragma once
// Where drawing starts, and what is written at its end: the same for every program that draws.
#include <cstdint>
#include <filesystem>
#include <string>

#include "04_unet/model.hpp"
#include "data/dataset.hpp"
#include "io/run_folder.hpp"
#include "tensor/array.hpp"

namespace diffusion {

/// Where drawing starts, and what is written at its end.
struct DrawingSettings {
    int n = 64;                   ///< pictures; with `noise`, as many as it holds
    std::filesystem::path noise;  ///< a .npy file; empty: noise from the seed
    bool save_npy = false;
};

/// The noise of a .npy file, or, where the path is empty, n noises from the seed [N,H,W,C]. Fails,
/// naming the file, if its shape is not the model's or a number is not finite.
Array<float> find_noise(const std::filesystem::path& path, const DenoisingModel& model, int n,
                        std::uint64_t seed);

/// x [N,H,W,C] in [-1, 1] as bytes. Fails, naming the source and the picture, on a number that is
/// not finite.
Dataset to_dataset(Tensor<const float> x, const std::string& source);

/// Writes samples.idx (bytes), samples.png (the first 1,024 in a square), and, if asked,
/// samples.npy. `how` ends the picture's caption: "drawn from noise in 50 steps".
void write_samples(RunFolder& folder, Tensor<const float> x, bool npy, const std::string& how);

}  // namespace diffusion
