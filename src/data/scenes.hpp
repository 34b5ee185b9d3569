#pragma once
// Scenes: square canvases with one to three digits or emoji on a coloured ground, of which a
// caption can tell everything. Canvas i of a seed is always the same one, whoever asks for it, so
// that any number of them can be streamed and none is stored.
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/canvas.hpp"
#include "data/sprites.hpp"

namespace diffusion {

/// The quarters of a canvas, each the place of one thing at most.
enum class Place { top_left, top_right, bottom_left, bottom_right };
inline constexpr std::array kPlaces = {"top left", "top right", "bottom left", "bottom right"};

/// What is said of a thing, besides its weight; of an emoji only its size. A lean has a middle that
/// is not said, where it could not be told for sure.
enum class Size { small, large };
enum class Lean { left, none, right };

inline constexpr int kOwnColours = -1;

struct Thing {
    int thing = 0;   ///< an index into SpriteSet::things
    int colour = 0;  ///< an index into kColours; of an emoji kOwnColours
    Place place = Place::top_left;
    Size size = Size::small;
    Lean lean = Lean::none;
    Weight weight = Weight::none;
};

/// What a caption tells, and besides it what it takes to paint the canvas again.
struct Scene {
    std::vector<Thing> things;  ///< 1 to 3, in the order of their places
    int ground = 0;             ///< an index into kColours

    struct Detail {
        int sprite;
        double height, slant, x, y;  ///< in pixels, as a tangent, of the middle in pixels
        std::array<float, 3> rgb;
    };
    std::vector<Detail> details;  ///< of each thing
    std::array<float, 3> ground_rgb{};
};

/// One in eight pairs of a digit and its colour, or of an emoji and the ground that it stands on,
/// is never trained on, so that it can be asked whether a model has learned what a colour is, or
/// only which coloured digits there are. Each digit and each colour but for that is met in
/// training.
bool held_out(int thing, int colour);
/// One in sixteen emoji is never trained on at all.
bool is_unseen_emoji(int thing);

/// Which canvases are drawn.
enum class Canvases {
    trained,   ///< without a held-out pair
    held_out,  ///< each with a held-out pair
    unseen     ///< of emoji that are not trained on
};

class Scenes {
public:
    /// Thin and thick are the quarters of each digit's sprites that are thinnest and thickest.
    Scenes(SpriteSet sprites, std::uint64_t seed, Canvases which = Canvases::trained);

    /// Canvas `index`, from 0.
    Scene at(std::int64_t index) const;

    /// canvas: [kCanvas,kCanvas,3], in [-1,1].
    void paint(const Scene& scene, Tensor<float> canvas) const;

    /// A sentence that tells all of it, in one of many forms that `index` chooses.
    std::string caption(const Scene& scene, std::int64_t index) const;

    const SpriteSet& sprites() const { return sprites_; }

private:
    void sort_by_weight();
    const std::vector<int>& sprites_of(int thing, Weight weight) const;
    /// A thing without its place, whose pair with a colour is held out, or not.
    Thing choose_thing(int ground, bool pair_held_out, Random& random) const;
    /// A sprite for the thing, and how it is painted. Where none is found that is large and fits
    /// into a quarter, the thing becomes small.
    Scene::Detail choose_sprite(Thing& thing, Random& random) const;

    SpriteSet sprites_;
    std::vector<int> choice_;                                 ///< the things that are shown
    std::vector<std::array<std::vector<int>, 3>> by_weight_;  ///< by thing and Weight
    std::uint64_t seed_;
    Canvases which_;
};

}  // namespace diffusion
