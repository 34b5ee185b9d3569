#pragma once
// Chapter 1 on a GPU, for later chapters: see noising.cu.
#include "01_forward_noising/schedule.hpp"
#include "cuda/normal.hpp"

namespace diffusion::cuda {

/// (1.4) for a batch on the device: eps [count, pixels] is made from the key, sample n from stream
/// first_sample + n, and xt = a x0 + s eps with the n-th of `levels`.
void noise_batch(const float* x0, const LevelOf<float>* levels, NoiseKey key,
                 std::uint32_t first_sample, int count, int pixels, float* eps, float* xt);

/// eps alone: N(0, 1) for every number of x [count, pixels].
void fill_normal(NoiseKey key, std::uint32_t first_sample, int count, int pixels, float* x);

}  // namespace diffusion::cuda
