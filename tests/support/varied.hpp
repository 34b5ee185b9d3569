#pragma once
// The tests of exercises take their seeds, sizes and numbers through these functions. As they stand
// in the text they are public; a grader asks for others, so that only a solution that computes what
// it should passes both.
#include <cstdint>
#include <cstdlib>

namespace diffusion {

/// 0, or the environment variable DIFFUSION_VARIANT, a whole number.
inline int variant() {
    static const int number = [] {
        const char* text = std::getenv("DIFFUSION_VARIANT");
        return text == nullptr ? 0 : std::atoi(text);
    }();
    return number;
}

inline std::uint64_t varied_seed(std::uint64_t seed) {
    return seed + 1000 * static_cast<std::uint64_t>(variant());
}
inline int varied_size(int size) {
    return size + variant() % 4;
}
/// x, or up to 44 % more.
inline double varied(double x) {
    return x * (1 + 0.0625 * (variant() % 8));
}

}  // namespace diffusion
