#pragma once
// What can be put on a canvas: digits, whose colour, size and slant can be chosen, and pictures
// that have colours of their own (emoji.hpp).
#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.hpp"
#include "tensor/tensor.hpp"

namespace diffusion {

struct Sprite {
    int thing = 0;  ///< what it shows, an index into SpriteSet::things
    int height = 0, width = 0;
    /// [height,width]: the part of each pixel that it covers, 0 to 1.
    std::vector<float> cover = {};
    double slant = 0;      ///< of a digit: what it leans, see slant_of, beyond its figure's own
    double thickness = 0;  ///< of a digit: of its strokes, see thickness_of
    /// [height,width,3], in [-1,1], times cover; empty: one colour, which is chosen on the canvas.
    std::vector<float> rgb = {};
};

struct SpriteSet {
    std::string name;                 ///< "digits" or "emoji"
    std::string source;               ///< one line for the reader
    std::string checksum;             ///< tells two sets of one name apart
    bool coloured = false;            ///< the sprites have colours of their own
    std::vector<std::string> things;  ///< "zero" .. "nine", or what the pictures show
    std::vector<Sprite> sprites;
};

/// Each picture of the set, cropped to its ink: the labels 0 to 9 say what it shows. What is left
/// white on black is how much is covered. Fails without labels.
///
/// A slant belongs to the writing and not to the figure: a 7 leans to the right although its writer
/// does not. So from each digit's slant its figure's own is subtracted, the mean of its kind less
/// the mean of the 1s, which are upright in themselves.
SpriteSet digit_sprites(const Dataset& digits);

/// How much ink [H,W] leans to the right: the tangent of the angle between the vertical and the
/// line that fits it, sum of (x - mean) (mean - y) / sum of (y - mean)^2, rows counted downwards.
/// A shear of the picture by s adds s exactly, but for the pixels' size. 0 without ink.
double slant_of(Tensor<const float> ink);

/// Width of the strokes as a part of the figure's height: twice the area / the length of the
/// outline, which is the sum of the brightness's steps. 0 without ink.
double thickness_of(Tensor<const float> ink);

}  // namespace diffusion
