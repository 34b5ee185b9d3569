#pragma once
// Few colours out of many: what a GIF needs, whose pixels are indices into a table of 256 colours.
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "io/image.hpp"

namespace diffusion {

inline constexpr std::size_t kMaxColours = 256;

struct IndexedImage {
    std::vector<std::array<std::uint8_t, 3>> palette;  ///< at most kMaxColours
    std::vector<std::uint8_t> indices;                 ///< [H,W], into the palette
};

/// Exact if the image is grey or has at most 256 colours. Otherwise the palette is chosen by median
/// cut (Heckbert 1982) and each pixel takes the mean colour of its box.
IndexedImage quantise(const Image& image);

}  // namespace diffusion
