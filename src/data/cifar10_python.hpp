#pragma once
// A batch of CIFAR-10's "Python version" (cifar-10-batches-py), a pickled dictionary with 'labels',
// a list of numbers, and 'data', a NumPy array of bytes [N,3072].
#include <cstdint>
#include <filesystem>
#include <vector>

namespace diffusion {

struct PythonBatch {
    std::vector<std::uint8_t> labels;  ///< [N]
    std::vector<std::uint8_t> planes;  ///< [N,3,32,32]
};

/// The file is looked through for its two entries and not unpickled: that would mean to run what it
/// says. Error, with the path and the place, if they are not found, do not fit each other, or stand
/// among words of a pickle that no such file has.
PythonBatch read_python_batch(const std::filesystem::path& path);

}  // namespace diffusion
