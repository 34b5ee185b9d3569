#pragma once
// NumPy's .npy files, so that a notebook or another program can read our arrays and give us its
// own. Format: numpy.lib.format, versions 1.0 to 3.0.
#include <filesystem>
#include <vector>

#include "tensor/tensor.hpp"

namespace diffusion {

struct NpyArray {
    std::vector<int> shape;     ///< outermost first; empty for a single number
    std::vector<float> values;  ///< row-major (C order), as many as the product of the shape
};

/// Writes float32, C order, version 1.0, atomically.
void write_npy(const std::filesystem::path& path, Tensor<const float> x);

/// Reads little-endian float32, or float64 rounded to float, in C order. Everything else is an
/// Error that says which dtype or order the file has and how to convert it; so is a file with too
/// few or too many bytes.
NpyArray read_npy(const std::filesystem::path& path);

}  // namespace diffusion
