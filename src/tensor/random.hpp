#pragma once
// Random numbers by counting: Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011, "Parallel random
// numbers: as easy as 1, 2, 3"). A draw is a pure function of (seed, purpose, step, sample, index).
// No state is carried along, so it does not matter which thread draws, or in which order.
#include <array>
#include <cstdint>

#include "tensor/tensor.hpp"

namespace diffusion {

/// Ten rounds of Philox on a 128-bit counter with a 64-bit key: 128 random bits. (constexpr, so
/// that code for a GPU may call it, too.)
constexpr std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> c,
                                                  std::array<std::uint32_t, 2> key) {
    constexpr std::uint64_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
    constexpr std::uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
    for (int round = 0; round < 10; ++round) {
        const std::uint64_t p0 = kMultiplier0 * c[0], p1 = kMultiplier1 * c[2];
        c = {static_cast<std::uint32_t>(p1 >> 32) ^ c[1] ^ key[0], static_cast<std::uint32_t>(p1),
             static_cast<std::uint32_t>(p0 >> 32) ^ c[3] ^ key[1], static_cast<std::uint32_t>(p0)};
        key[0] += kWeyl0;
        key[1] += kWeyl1;
    }
    return c;
}

/// What a stream of numbers is for. Streams with different purposes are independent.
enum class Purpose : std::uint32_t {
    initial_weights = 1,
    shuffle = 2,          ///< order of the training images
    timestep = 3,         ///< t of a training image
    noise = 4,            ///< eps of a training image
    augmentation = 5,     ///< flips
    start_noise = 6,      ///< x_T when sampling
    ancestral_noise = 7,  ///< fresh noise of a reverse step
    data = 8,             ///< synthetic data sets
    test = 9,
    other = 10,
    resampling = 11,         ///< which points a bootstrap draws again
    editing = 12,            ///< noise for the known parts of a picture
    condition_dropout = 13,  ///< which samples are trained without their condition
    scene = 14,              ///< what is on a canvas
    caption = 15,            ///< which words say it
};

/// One stream of random numbers: the draws for one sample at one step.
class Random {
public:
    Random(std::uint64_t seed, Purpose purpose, std::uint32_t step = 0, std::uint32_t sample = 0)
        : key_{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)},
          counter_{0, sample, step, static_cast<std::uint32_t>(purpose)} {}

    std::uint32_t bits();                  ///< 32 random bits
    double uniform();                      ///< in [0, 1), 53 bits
    double normal();                       ///< N(0, 1) by Box and Muller
    std::uint32_t below(std::uint32_t n);  ///< uniform in 0..n-1, without bias

private:
    std::array<std::uint32_t, 2> key_;
    std::array<std::uint32_t, 4> counter_, block_{};
    int left_ = 0;        // unused words in block_
    double spare_ = 0.0;  // Box and Muller make two normals at a time
    bool has_spare_ = false;
};

/// Fills x with independent N(0, 1).
template <class T>
void fill_normal(Tensor<T> x, Random random);

}  // namespace diffusion
