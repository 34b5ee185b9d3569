#pragma once
// A set of pictures in memory: bytes as they lie in the files, turned into floats one picture at a
// time while training.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "tensor/tensor.hpp"

namespace diffusion {

struct Dataset {
    std::string name;    ///< "mnist", "fashion", "cifar10", "builtin" or "folder"
    std::string source;  ///< one line for the reader: how many pictures, and where they came from
    int count = 0, height = 0, width = 0, channels = 0;
    std::vector<std::uint8_t> pixels;        ///< [count, height, width, channels]
    std::vector<std::uint8_t> labels;        ///< [count], or empty when the set has no labels
    std::vector<std::string> captions = {};  ///< [count], or empty when nothing is said of them

    /// Bytes of one picture.
    std::size_t image_size() const {
        return static_cast<std::size_t>(height) * static_cast<std::size_t>(width) *
               static_cast<std::size_t>(channels);
    }
};

/// 64 bits of sizes, pictures and labels, in hexadecimal digits: tells two data sets of one name
/// apart. Uses all threads, and does not depend on their number.
std::string checksum(const Dataset& data);

/// 0..255 -> [-1, 1]; both ends are met exactly.
constexpr float from_byte(std::uint8_t value) {
    return static_cast<float>(value) / 127.5f - 1.0f;
}

/// Picture `index` as floats in [-1, 1]; `flip` mirrors it left to right.
/// out: [height, width, channels]. Fails on an index outside 0..count-1 or another shape.
void decode(const Dataset& data, int index, bool flip, Tensor<float> out);

}  // namespace diffusion
