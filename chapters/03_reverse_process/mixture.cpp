#include "03_reverse_process/mixture.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "kernels/threads.hpp"
#include "tensor/check.hpp"

namespace diffusion {
namespace {

std::size_t index(int i) {
    return static_cast<std::size_t>(i);
}

std::span<const double> mean_of(const GaussianMixture& mixture, int k) {
    const std::size_t d = index(mixture.dimensions);
    return std::span<const double>(mixture.means).subspan(index(k) * d, d);
}

void check_sizes(const char* name, const GaussianMixture& mixture, std::size_t in,
                 std::size_t out) {
    require(in == index(mixture.dimensions) && out == in, name, ": the mixture has ",
            mixture.dimensions, " dimensions, got ", in, " and ", out, " numbers");
}

// log of weight times density of each component at x; returns the log of their sum.
double component_logs(const GaussianMixture& mixture, std::span<const double> x,
                      std::vector<double>& logs) {
    logs.resize(mixture.weights.size());
    for (int k = 0; k < mixture.components(); ++k) {
        const double variance = mixture.variances[index(k)];
        require(variance > 0.0, "mixture: component ", k,
                " has variance 0, so no density; noise the mixture first (s > 0)");
        const std::span<const double> mean = mean_of(mixture, k);
        double distance = 0.0;
        for (std::size_t i = 0; i < x.size(); ++i) distance += (x[i] - mean[i]) * (x[i] - mean[i]);
        logs[index(k)] = std::log(mixture.weights[index(k)]) - distance / (2.0 * variance) -
                         0.5 * mixture.dimensions * std::log(2.0 * std::numbers::pi * variance);
    }
    // The largest term is taken out, so the sum holds a 1 and cannot vanish.
    const double largest = *std::max_element(logs.begin(), logs.end());
    double sum = 0.0;
    for (double value : logs) sum += std::exp(value - largest);
    return largest + std::log(sum);
}

// Share of each component in the density at x; they sum to 1.
std::vector<double> shares(const GaussianMixture& mixture, std::span<const double> x) {
    std::vector<double> logs;
    const double total = component_logs(mixture, x, logs);
    for (double& value : logs) value = std::exp(value - total);
    return logs;
}

void x0_from_marginal(const GaussianMixture& data, const GaussianMixture& marginal, Level level,
                      std::span<const double> xt, std::span<double> x0) {
    const std::vector<double> share = shares(marginal, xt);
    std::fill(x0.begin(), x0.end(), 0.0);
    for (int k = 0; k < data.components(); ++k) {
        if (share[index(k)] == 0.0) continue;
        const std::span<const double> mean = mean_of(data, k);
        const double gain =
            level.a * data.variances[index(k)] / marginal.variances[index(k)];  // (3.16)
        for (std::size_t i = 0; i < xt.size(); ++i)
            x0[i] += share[index(k)] * (mean[i] + gain * (xt[i] - level.a * mean[i]));  // (3.16)
    }
}

}  // namespace

GaussianMixture make_mixture(int dimensions, std::vector<double> weights, std::vector<double> means,
                             std::vector<double> variances) {
    require(dimensions > 0 && !weights.empty() && variances.size() == weights.size() &&
                means.size() == weights.size() * index(dimensions),
            "mixture: K weights, K variances and K x ", dimensions, " means expected, got ",
            weights.size(), ", ", variances.size(), " and ", means.size());
    double sum = 0.0;
    for (double weight : weights) {
        require(weight > 0.0, "mixture: a weight is not positive: ", weight);
        sum += weight;
    }
    for (double& weight : weights) weight /= sum;
    for (double variance : variances)
        require(variance >= 0.0, "mixture: a variance is negative: ", variance);
    return {dimensions, std::move(weights), std::move(means), std::move(variances)};
}

GaussianMixture empirical_mixture(Tensor<const float> data) {
    require(data.rank() >= 1 && data.numel() > 0, "empirical_mixture: no data, shape ",
            data.shape());
    const int count = data.size(0);
    // >>> exercise 3.5 points=1 hint="(3.21): equal weights, the data as means, no width"
    std::vector<double> means(data.begin(), data.end());
    return make_mixture(static_cast<int>(data.numel() / count),
                        std::vector<double>(index(count), 1.0), std::move(means),
                        std::vector<double>(index(count), 0.0));
    // <<<
}

GaussianMixture noised(const GaussianMixture& data, Level level) {
    GaussianMixture result = data;
    for (double& mean : result.means) mean *= level.a;  // (3.19)
    for (double& variance : result.variances)
        variance = level.a * level.a * variance + level.s * level.s;  // (3.19)
    return result;
}

double log_density(const GaussianMixture& mixture, std::span<const double> x) {
    check_sizes("log_density", mixture, x.size(), x.size());
    std::vector<double> logs;
    return component_logs(mixture, x, logs);
}

void exact_score(const GaussianMixture& mixture, std::span<const double> x,
                 std::span<double> score) {
    check_sizes("exact_score", mixture, x.size(), score.size());
    const std::vector<double> share = shares(mixture, x);
    std::fill(score.begin(), score.end(), 0.0);
    for (int k = 0; k < mixture.components(); ++k) {
        const std::span<const double> mean = mean_of(mixture, k);
        // >>> exercise 3.4 points=2 hint="(3.20): every component pulls towards its mean"
        const double scale = share[index(k)] / mixture.variances[index(k)];
        for (std::size_t i = 0; i < x.size(); ++i) score[i] += scale * (mean[i] - x[i]);  // (3.20)
        // <<<
    }
}

void exact_x0(const GaussianMixture& data, Level level, std::span<const double> xt,
              std::span<double> x0) {
    check_sizes("exact_x0", data, xt.size(), x0.size());
    x0_from_marginal(data, noised(data, level), level, xt, x0);
}

void exact_eps(const GaussianMixture& data, Level level, std::span<const double> xt,
               std::span<double> eps) {
    check_sizes("exact_eps", data, xt.size(), eps.size());
    require(level.s > 0.0, "exact_eps: there is no noise to predict at s = 0");
    exact_score(noised(data, level), xt, eps);
    for (double& value : eps) value = eps_from_score(level, value);  // (3.14)
}

template <class T>
Denoiser<T> exact_denoiser(GaussianMixture data) {
    return [data = std::move(data)](Tensor<const T> xt, const Moment& at, Tensor<T> x0) {
        require_same_shape("exact_denoiser", xt, x0);
        const int count = xt.size(0);
        require(xt.numel() == static_cast<std::ptrdiff_t>(count) * data.dimensions,
                "exact_denoiser: samples of ", data.dimensions, " numbers expected, got ",
                xt.shape());
        const Level level = at.level;
        require(level.s > 0.0, "exact_denoiser: there is no noise to predict at t = ", at.t);
        const GaussianMixture marginal = noised(data, level);
        parallel_for(count, thread_count(), [&](int n) {
            const std::vector<double> x(xt[n].begin(), xt[n].end());
            std::vector<double> guess(x.size());
            x0_from_marginal(data, marginal, level, x, guess);
            for (std::size_t i = 0; i < x.size(); ++i) x0[n].data()[i] = static_cast<T>(guess[i]);
        });
    };
}

template Denoiser<float> exact_denoiser(GaussianMixture);
template Denoiser<double> exact_denoiser(GaussianMixture);

}  // namespace diffusion
