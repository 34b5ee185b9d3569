#pragma once
// A picture of random bytes.
#include <cstdint>

#include "io/image.hpp"
#include "tensor/random.hpp"

namespace diffusion {

/// Random pixels with values below `levels`.
inline Image noise(int height, int width, int channels, std::uint32_t levels,
                   std::uint32_t sample = 0) {
    Image image{height, width, channels, {}};
    Random random(5, Purpose::test, 0, sample);
    for (int i = 0; i < height * width * channels; ++i) {
        image.pixels.push_back(static_cast<std::uint8_t>(random.below(levels)));
    }
    return image;
}

}  // namespace diffusion
