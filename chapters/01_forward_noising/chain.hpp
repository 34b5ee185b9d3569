#pragma once
// What the chain does to a distribution: exact moments, the distance to pure noise, and many
// simulated pixels.
#include <cstdint>
#include <span>
#include <vector>

#include "01_forward_noising/schedule.hpp"

namespace diffusion {

/// Of one pixel.
struct MeanAndVariance {
    double mean, variance;
};

/// Those of a pixel of x_t that was 1 in x_0, after t = 0..T steps, by the recursion (1.3), one
/// step at a time: T + 1 entries. It does not know (1.4).
std::vector<MeanAndVariance> chain_moments(const Schedule& schedule);

/// Variance of a pixel of x_t over the whole data set, when the pixel has the given variance in the
/// data (1.5).
double pixel_variance(const Schedule& schedule, int t, double data_variance);

/// KL divergence, in nats, of q(x_t | x_0) from N(0, I) for one picture x_0 (1.16): what is left to
/// tell x_t from noise. Infinite at t = 0.
double kl_from_noise(std::span<const float> x0, const Schedule& schedule, int t);

/// Runs the chain (1.2) for `count` independent pixels that all start at x0, and returns their
/// values at each of the given times: result[i][k] is pixel k at times[i]. Times are rising, in
/// 0..T. Pixel k draws from its own stream of random numbers, so the result does not depend on the
/// number of threads.
std::vector<std::vector<double>> run_chain(const Schedule& schedule, double x0, int count,
                                           std::span<const int> times, std::uint64_t seed);

/// Share of the values per unit of x, in `bins` equal bins over [low, high): a histogram with the
/// height of a density.
std::vector<double> histogram(std::span<const double> values, double low, double high, int bins);

/// A way to noise a picture: x_t = signal(t) x_0 + noise(t) eps, for t = 0..T.
struct Recipe {
    const char* name;
    std::vector<double> signal, noise;
};

/// The process of this chapter, three bugs that are often seen in place of it, and variance
/// exploding (1.7). Each bug keeps the betas of the schedule.
std::vector<Recipe> right_and_wrong(const Schedule& schedule);

}  // namespace diffusion
