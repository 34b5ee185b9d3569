#pragma once
// Few colours out of many: what a GIF needs, whose pixels are indices into a table of 256 colours.
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "io/image.hpp"

namespace diffusion {

inline constexpr std::size_t kMaxColours = 256;

/// Frames as indices into one palette of at most kMaxColours.
struct IndexedFrames {
    std::vector<std::array<std::uint8_t, 3>> palette;
    std::vector<std::vector<std::uint8_t>> frames;  ///< [H,W] each
};

/// Grey frames and frames that share at most 256 colours are exact. Otherwise the palette is chosen
/// by median cut (Heckbert 1982) over all frames, and each pixel takes the colour of its box.
IndexedFrames quantise(std::span<const Image> frames);

}  // namespace diffusion
