#include "data/dataset.hpp"

#include <zlib.h>

#include <cstdio>

namespace diffusion {

void decode(const Dataset& data, int index, bool flip, Tensor<float> out) {
    require(index >= 0 && index < data.count, "decode: picture ", index, " of ", data.name,
            ", which has ", data.count);
    const Shape expected{data.height, data.width, data.channels};
    require(out.shape() == expected, "decode: a picture of ", data.name, " is ", expected,
            ", the output is ", out.shape());
    const std::uint8_t* in =
        data.pixels.data() + static_cast<std::size_t>(index) * data.image_size();
    for (int y = 0; y < data.height; ++y) {
        for (int x = 0; x < data.width; ++x) {
            for (int c = 0; c < data.channels; ++c) {
                out(y, flip ? data.width - 1 - x : x, c) = from_byte(*in++);
            }
        }
    }
}

std::string checksum(const Dataset& data) {
    unsigned long crc = crc32_z(0, data.pixels.data(), data.pixels.size());
    crc = crc32_z(crc, data.labels.data(), data.labels.size());
    char text[20];
    std::snprintf(text, sizeof text, "%08lx", crc);
    return text;
}

}  // namespace diffusion
