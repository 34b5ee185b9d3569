#pragma once
// A small data set in MNIST's form, 600 and 200 digits, for tests of programs.
#include <filesystem>
#include <string>
#include <vector>

#include "data/idx.hpp"
#include "data/strokes.hpp"

namespace diffusion {

inline void write_small_mnist(const std::filesystem::path& folder) {
    for (const bool train : {true, false}) {
        const Dataset data = stroke_digits(train ? 600 : 200, train ? 1 : 2);
        const std::string name = train ? "train" : "t10k";
        const std::vector<int> shape{data.count, data.height, data.width}, count{data.count};
        write_idx(folder / (name + "-images-idx3-ubyte"), shape, data.pixels);
        write_idx(folder / (name + "-labels-idx1-ubyte"), count, data.labels);
    }
}

}  // namespace diffusion
