#pragma once
// NumPy's .npy and .npz files, so that a notebook or another program can read our arrays and give
// us its own. Format: numpy.lib.format, versions 1.0 to 3.0.
#include <filesystem>
#include <string>
#include <vector>

#include "tensor/tensor.hpp"

namespace diffusion {

struct NpyArray {
    std::vector<int> shape;     ///< outermost first; empty for a single number
    std::vector<float> values;  ///< row-major (C order), as many as the product of the shape
    bool of_bytes = false;      ///< whole numbers from 0 to 255 (uint8), not floats

    /// Does it look like pictures as PyTorch has them, [N,C,H,W]? We have channels last.
    bool has_channels_first() const;
};

/// What to do about that.
inline constexpr const char* kMakeChannelsLast = "; in NumPy: x.transpose(0, 2, 3, 1)";

/// Writes float32, C order, version 1.0, atomically.
void write_npy(const std::filesystem::path& path, Tensor<const float> x);

/// Reads little-endian float32, or float64 rounded to float, or uint8, in C order. Everything else
/// is an Error that says which dtype or order the file has and how to convert it; so is a file with
/// too few or too many bytes.
NpyArray read_npy(const std::filesystem::path& path);

/// One array of an .npz archive (numpy.savez, plain or compressed): arr_0, which is what an array
/// without a name gets, or the only one there is. Fails as read_npy does, on an archive that is
/// damaged, and, with the names, on one that holds several arrays but no arr_0.
NpyArray read_npz(const std::filesystem::path& path);

}  // namespace diffusion
