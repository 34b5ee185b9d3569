#pragma once
// Pictures of any origin, to be scored.
#include <filesystem>

#include "data/dataset.hpp"

namespace diffusion {

/// Reads a folder of pictures, an IDX file, or an array of NumPy's: .npy, or .npz as
/// numpy.savez(file, x) writes it. An array is [N,H,W] or [N,H,W,C], of bytes, or of floats that
/// reach from -1 to 1, from 0 to 1 or from 0 to 255; which of these is told by the least and the
/// greatest of them, and `source` says it. What a file is, its first bytes tell.
Dataset read_pictures(const std::filesystem::path& path);

/// Grey pictures that a program wrote in colour, all three channels alike, become grey again.
void drop_equal_channels(Dataset& pictures);

}  // namespace diffusion
