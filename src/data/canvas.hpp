#pragma once
// What scenes and words share: canvases, their colours, and how captions speak of them.
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "tensor/random.hpp"

namespace diffusion {

inline constexpr int kCanvas = 64;  ///< height and width, in pixels

/// The names of colours, and what they look like, in [-1,1]. A canvas's colours differ a little
/// from these.
struct NamedColour {
    const char* name;
    std::array<float, 3> rgb;
};
inline constexpr std::array<NamedColour, 8> kColours = {{{"red", {0.7f, -0.7f, -0.7f}},
                                                         {"orange", {0.95f, 0.1f, -0.8f}},
                                                         {"yellow", {0.95f, 0.75f, -0.6f}},
                                                         {"green", {-0.7f, 0.25f, -0.45f}},
                                                         {"blue", {-0.65f, -0.3f, 0.7f}},
                                                         {"purple", {0.1f, -0.55f, 0.4f}},
                                                         {"white", {0.95f, 0.95f, 0.95f}},
                                                         {"black", {-0.9f, -0.9f, -0.9f}}}};

/// Whether both can be told apart where they meet: nothing has a ground like itself.
bool differ(int colour, int other);

/// Of strokes. In the middle, where it could not be told for sure, nothing is said of it.
enum class Weight { thin, none, thick };

namespace canvas {

/// The numbers that canvas `index` depends on.
Random random_of(std::uint64_t seed, Purpose purpose, std::int64_t index);
/// 0 .. n - 1.
int below(Random& random, std::size_t n);
double between(Random& random, double low, double high);

/// The colour of that name, a little lighter, darker or otherwise.
std::array<float, 3> shade(int colour, Random& random);

std::string colour_name(int colour);
const char* one_of(std::initializer_list<const char*> ways, Random& random);
/// "a letter", "an orange letter"
std::string with_article(const std::string& text);
/// A caption that tells what is on the ground, and on which.
std::string with_ground(const std::string& text, int ground, Random& random);

}  // namespace canvas
}  // namespace diffusion
