#pragma once
// The embedded data set: handwritten-looking digits drawn by a program, so that everything runs
// without a network. Laid out like MNIST: 28 x 28, white on black, the digit fitted into a box of
// 20 x 20 pixels and placed by its centre of mass.
#include <cstdint>

#include "data/dataset.hpp"

namespace diffusion {

/// `count` digits [count,28,28,1]. Picture i shows the digit i % 10 and depends only on (seed, i),
/// so a longer set begins with the shorter one. The same for any number of threads.
Dataset stroke_digits(int count, std::uint64_t seed);

}  // namespace diffusion
