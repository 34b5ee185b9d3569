#pragma once
// A canvas as a ground and the ink on it: what judges see.
#include <array>

#include "data/canvas.hpp"
#include "tensor/array.hpp"

namespace diffusion {

/// A canvas, or a part of it, taken apart into a ground and what lies on it.
struct Inked {
    std::array<float, 3> ground{}, rgb{};  ///< colours
    Array<float> cover;                    ///< [H,W]: how much ink each pixel has, 0 to 1
    bool empty = true;                     ///< nothing lies on it
};
/// The ground is the median of each channel, the ink's colour that of the pixels that differ most
/// from it.
Inked take_apart(Tensor<const float> picture);

/// Fails unless these are canvases, [N,64,64,3].
void require_canvases(Tensor<const float> canvases);

/// Whether two colours differ by less than ink does from its ground.
bool is_near(const std::array<float, 3>& rgb, const std::array<float, 3>& other);

/// The index into kColours of the nearest colour.
int nearest_colour(const std::array<float, 3>& rgb);

}  // namespace diffusion
