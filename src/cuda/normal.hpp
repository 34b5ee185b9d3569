#pragma once
// N(0, 1) on the device: the numbers of Random (tensor/random.hpp), from the same random bits. The
// host computes them in double; here float must do, because many GPUs have hardly any double.
#include "cuda/device.hpp"
#include "tensor/random.hpp"

namespace diffusion::cuda {

/// Which stream of random numbers: what Random's constructor takes.
struct NoiseKey {
    std::uint64_t seed;
    Purpose purpose;
    std::uint32_t step;
};

/// Numbers 2 pair and 2 pair + 1 of the stream of one sample, as Random::normal makes them one
/// after the other: r cos(a) and r sin(a) with r = sqrt(-2 log(1 - u)), a = 2 pi v. They differ
/// from the host's by a few units in the last place, because nothing is subtracted that has been
/// rounded: 1 - u and the distance of v to the nearest quarter of the circle are taken of the 53
/// random bits.
__device__ __forceinline__ float2 two_normals(const NoiseKey& key, std::uint32_t sample,
                                              std::uint32_t pair) {
    const auto words = philox4x32(
        {pair, sample, key.step, static_cast<std::uint32_t>(key.purpose)},
        {static_cast<std::uint32_t>(key.seed), static_cast<std::uint32_t>(key.seed >> 32)});
    const auto bits53 = [&](int i) {
        return static_cast<std::int64_t>(
            ((static_cast<std::uint64_t>(words[static_cast<std::size_t>(i)]) << 32) |
             words[static_cast<std::size_t>(i) + 1]) >>
            11);
    };
    constexpr std::int64_t kOne = std::int64_t{1} << 53;
    constexpr float kUnit = 0x1p-53f;
    const std::int64_t u = bits53(0), v = bits53(2);
    const float log_rest = u < kOne / 2 ? log1pf(-static_cast<float>(u) * kUnit)
                                        : logf(static_cast<float>(kOne - u) * kUnit);
    const float radius = sqrtf(-2.0f * log_rest);
    const std::int64_t quarter = (v + kOne / 8) / (kOne / 4);  // the nearest one: 0..4
    float sine = 0, cosine = 0;
    sincospif(2.0f * kUnit * static_cast<float>(v - quarter * (kOne / 4)), &sine, &cosine);
    const float along = (quarter & 1) != 0 ? sine : cosine,
                across = (quarter & 1) != 0 ? cosine : sine;
    const bool left = quarter == 1 || quarter == 2, below = quarter == 2 || quarter == 3;
    return make_float2(left ? -radius * along : radius * along,
                       below ? -radius * across : radius * across);
}

}  // namespace diffusion::cuda
