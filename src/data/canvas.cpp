#include "data/canvas.hpp"

namespace diffusion {

bool differ(int colour, int other) {
    constexpr float kLeast = 0.9f;  // of a cube with sides of 2
    float square = 0;
    for (std::size_t c = 0; c < 3; ++c) {
        const float d = kColours[static_cast<std::size_t>(colour)].rgb[c] -
                        kColours[static_cast<std::size_t>(other)].rgb[c];
        square += d * d;
    }
    return square > kLeast * kLeast;
}

namespace canvas {

Random random_of(std::uint64_t seed, Purpose purpose, std::int64_t index) {
    return {seed, purpose, static_cast<std::uint32_t>(index >> 32),
            static_cast<std::uint32_t>(index)};
}

int below(Random& random, std::size_t n) {
    return static_cast<int>(random.below(static_cast<std::uint32_t>(n)));
}

double between(Random& random, double low, double high) {
    return low + (high - low) * random.uniform();
}

std::array<float, 3> shade(int colour, Random& random) {
    constexpr double kMost = 0.05;
    std::array<float, 3> rgb = kColours[static_cast<std::size_t>(colour)].rgb;
    for (float& v : rgb) v += static_cast<float>(between(random, -kMost, kMost));
    return rgb;
}

std::string colour_name(int colour) {
    return kColours[static_cast<std::size_t>(colour)].name;
}

const char* one_of(std::initializer_list<const char*> ways, Random& random) {
    return ways.begin()[below(random, ways.size())];
}

std::string with_article(const std::string& text) {
    const bool vowel = std::string("aeio").find(text.front()) != std::string::npos;
    return (vowel ? "an " : "a ") + text;
}

std::string with_ground(const std::string& text, int colour, Random& random) {
    const std::string ground = colour_name(colour), article = ground == "orange" ? "an " : "a ";
    switch (below(random, 4)) {
        case 0:
            return text + " on " + ground;
        case 1:
            return text + " against " + article + ground + " background";
        case 2:
            return "on " + article + ground + " ground " + text;
        default:
            return text + " on " + article + ground + " ground";
    }
}

}  // namespace canvas
}  // namespace diffusion
