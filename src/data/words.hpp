#pragma once
// Words: square canvases with one to five letters and digits in a stroke alphabet, of which a
// caption tells everything. Canvas i of a seed is always the same one, as with scenes.
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/pen.hpp"
#include "data/scenes.hpp"

namespace diffusion {

inline constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// Where letters stand.
enum class Spacing {
    grid,  ///< letter i in column i of four, 16 pixels wide, at a height of 17: 1 to 4 letters
    free   ///< centred somewhere, in any size that fits: 1 to 5 letters
};
inline constexpr int kGridLetters = 4;  ///< columns of the grid
inline constexpr int kMostLetters = 5;

struct Word {
    std::string text;              ///< letters of kAlphabet
    int colour = 0, ground = 0;    ///< indices into kColours
    Weight weight = Weight::none;  ///< of the strokes
    bool slanted = false;          ///< to the right

    /// What it takes to paint the canvas again.
    double height = 0;  ///< of a letter, in pixels
    double radius = 0;  ///< of the pen, in pixels
    double slant = 0;   ///< a tangent
    double width = 1;   ///< of a letter, in parts of the alphabet's
    struct Middle {
        double x, y;
    };
    std::vector<Middle> middles;  ///< of the letters, in pixels
    std::array<float, 3> rgb{}, ground_rgb{};
};

/// One in eight words of two letters and more is never trained on, so that it can be asked whether
/// a model has learned to spell, or only which words there are. A rule of the letters and their
/// order; every letter is met in training at every place.
bool held_out(std::string_view word);

/// Which canvases are drawn: those with words that are trained on, or the others.
enum class Spelling { trained, held_out };

class Words {
public:
    Words(Spacing spacing, std::uint64_t seed, Spelling spelling = Spelling::trained);

    /// Canvas `index`, from 0. Letters are drawn independently of one another, all equally often.
    Word at(std::int64_t index) const;

    /// canvas: [kCanvas,kCanvas,3], in [-1,1].
    void paint(const Word& word, Tensor<float> canvas) const;

    /// A sentence that tells all of it, in one of many forms that `index` chooses.
    std::string caption(const Word& word, std::int64_t index) const;

    Spacing spacing() const { return spacing_; }

private:
    Spacing spacing_;
    std::uint64_t seed_;
    Spelling spelling_;
};

}  // namespace diffusion
