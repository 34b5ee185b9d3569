#include "01_forward_noising/chain.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

#include "tensor/check.hpp"
#include "tensor/random.hpp"

namespace diffusion {

std::vector<MeanAndVariance> chain_moments(const Schedule& schedule) {
    std::vector<MeanAndVariance> moments = {{1, 0}};
    for (int t = 1; t <= schedule.steps(); ++t) {
        // >>> exercise 1.2 points=2 hint="(1.3): push back what step t makes of moments.back()"
        const double beta = schedule.beta[schedule.at(t)];
        const auto [mean, variance] = moments.back();
        moments.push_back({std::sqrt(1.0 - beta) * mean, (1.0 - beta) * variance + beta});  // (1.3)
        // <<<
    }
    return moments;
}

double pixel_variance(const Schedule& schedule, int t, double data_variance) {
    const double abar = schedule.alpha_bar[schedule.at(t)];
    return abar * data_variance + (1.0 - abar);  // (1.5)
}

double kl_from_noise(std::span<const float> x0, const Schedule& schedule, int t) {
    require(!x0.empty(), "kl_from_noise: the picture has no pixels");
    const double abar = schedule.alpha_bar[schedule.at(t)];
    if (abar == 1.0) return std::numeric_limits<double>::infinity();
    // >>> exercise 1.7 points=2 hint="(1.16) summed over pixels; use std::log1p(-abar)"
    double kl = 0.0;
    for (float pixel : x0) {
        const double x = static_cast<double>(pixel);
        kl += 0.5 * (abar * x * x - abar - std::log1p(-abar));  // (1.16)
    }
    return kl;
    // <<<
}

std::vector<std::vector<double>> run_chain(const Schedule& schedule, double x0, int count,
                                           std::span<const int> times, std::uint64_t seed) {
    require(count >= 0, "run_chain: count is ", count);
    require(std::is_sorted(times.begin(), times.end()), "run_chain: the times must rise");
    std::vector<double> shrink(schedule.beta.size()), kick(schedule.beta.size());
    for (std::size_t t = 1; t < schedule.beta.size(); ++t) {
        shrink[t] = std::sqrt(1.0 - schedule.beta[t]);
        kick[t] = std::sqrt(schedule.beta[t]);
    }
    std::vector<std::size_t> stops;
    for (int t : times) stops.push_back(schedule.at(t));
    std::vector<std::vector<double>> result(stops.size(),
                                            std::vector<double>(static_cast<std::size_t>(count)));
#pragma omp parallel for schedule(static)
    for (int k = 0; k < count; ++k) {
        Random random(seed, Purpose::other, 0, static_cast<std::uint32_t>(k));
        double x = x0;
        std::size_t t = 0;
        for (std::size_t i = 0; i < stops.size(); ++i) {
            while (t < stops[i]) {
                ++t;
                x = shrink[t] * x + kick[t] * random.normal();  // (1.2)
            }
            result[i][static_cast<std::size_t>(k)] = x;
        }
    }
    return result;
}

std::vector<double> histogram(std::span<const double> values, double low, double high, int bins) {
    require(bins >= 1 && low < high, "histogram: ", bins, " bins over [", low, ", ", high, ")");
    std::vector<double> density(static_cast<std::size_t>(bins), 0.0);
    const double width = (high - low) / bins;
    for (double value : values) {
        const double bin = std::floor((value - low) / width);
        if (bin >= 0.0 && bin < bins) density[static_cast<std::size_t>(bin)] += 1.0;
    }
    for (double& d : density) d /= static_cast<double>(values.size()) * width;
    return density;
}

std::vector<Recipe> right_and_wrong(const Schedule& schedule) {
    std::vector<Recipe> all = {{"right", {}, {}},
                               {"no_root_in_jump", {}, {}},
                               {"no_root_in_step", {}, {}},
                               {"no_shrinking", {}, {}},
                               {"exploding", {}, {}}};
    double sum = 0.0, variance = 0.0;  // of the betas; of the noise when each step adds beta eps
    for (int t = 0; t <= schedule.steps(); ++t) {
        const double a = schedule.signal(t), s = schedule.noise(t);
        const double beta = schedule.beta[schedule.at(t)];
        sum += beta;
        variance = (1.0 - beta) * variance + beta * beta;
        const double signal[] = {a, a, a, 1.0, 1.0};
        const double noise[] = {s,                    // (1.4)
                                s * s,                // root of 1 - alpha_bar forgotten in (1.4)
                                std::sqrt(variance),  // root of beta forgotten in (1.2)
                                std::sqrt(sum),       // shrinking forgotten in (1.2)
                                schedule.sigma(t)};   // (1.7) with the levels of (1.8)
        for (std::size_t i = 0; i < all.size(); ++i) {
            all[i].signal.push_back(signal[i]);
            all[i].noise.push_back(noise[i]);
        }
    }
    return all;
}

}  // namespace diffusion
