#pragma once
// Where drawing starts, and what is written at its end: the same for every program that draws.
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "04_unet/denoising.hpp"
#include "data/dataset.hpp"
#include "io/run_folder.hpp"

namespace diffusion {

/// Pictures in memory of their own.
struct Pictures {
    std::vector<float> memory;
    Shape shape;  ///< [N,H,W,C]

    explicit Pictures(Shape shape_)
        : memory(static_cast<std::size_t>(shape_.numel())), shape(shape_) {}
    Tensor<float> tensor() { return {memory.data(), shape}; }
};

/// The noise of a .npy file, or, where the path is empty, n noises from the seed. Fails, naming the
/// file, if its shape is not the model's or a number is not finite.
Pictures find_noise(const std::filesystem::path& path, const DenoisingModel& model, int n,
                    std::uint64_t seed);

/// x [N,H,W,C] in [-1, 1] as bytes.
Dataset to_dataset(Tensor<const float> x, const std::string& source);

/// Writes samples.idx (bytes), samples.png (the first 1,024 in a square), and, if asked,
/// samples.npy. `how` ends the picture's caption: "drawn from noise in 50 steps".
void write_samples(RunFolder& folder, Tensor<const float> x, bool npy, const std::string& how);

}  // namespace diffusion
