#pragma once
// Four plane data sets. Each is a mixture of small Gaussians strung along a curve, so that its
// exact score is known.
#include <array>
#include <string>

#include "03_reverse_process/mixture.hpp"

namespace diffusion {

inline constexpr std::array<const char*, 4> kShapeNames = {"moons", "swiss_roll", "gaussians",
                                                           "rings"};

/// One of kShapeNames: mean 0 and about unit variance in both directions. Fails on any other name.
GaussianMixture make_shape(const std::string& name);

/// `points` [N, D]: independent draws. Point n depends on the seed, `step` and n alone.
void draw(const GaussianMixture& mixture, std::uint64_t seed, std::uint32_t step,
          Tensor<float> points);

}  // namespace diffusion
