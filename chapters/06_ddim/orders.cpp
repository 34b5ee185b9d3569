#include "06_ddim/orders.hpp"

#include <algorithm>
#include <cmath>

#include "06_ddim/grids.hpp"
#include "06_ddim/samplers.hpp"
#include "tensor/array.hpp"

namespace diffusion {
namespace {

constexpr double kMean = 0.3, kVariance = 0.25;
constexpr double kFrom = 10, kTo = 0.1;  // sigma
constexpr int kMost = 256;               // steps

/// A path of n steps that are equal in log-SNR.
std::vector<Moment> straight_log_snr(int n) {
    std::vector<Moment> path;
    for (const double sigma : log_snr_sigmas(n + 1, kFrom, kTo)) {
        const double a = 1 / std::sqrt(1 + sigma * sigma);
        path.push_back({sigma, {a, sigma * a}});
    }
    return path;
}

double slope(const std::vector<int>& steps, const std::vector<double>& error) {
    double x = 0, y = 0, xx = 0, xy = 0;
    const auto n = static_cast<double>(steps.size());
    for (std::size_t i = 0; i < steps.size(); ++i) {
        const double u = std::log(steps[i]), v = std::log(error[i]);
        x += u / n;
        y += v / n;
        xx += u * u / n;
        xy += u * v / n;
    }
    return (xy - x * y) / (xx - x * x);
}

}  // namespace

std::vector<OrderResult> measure_orders() {
    const Denoiser<double> exact = [](Tensor<const double> xt, const Moment& at,
                                      Tensor<double> x0) {
        const Level l = at.level;
        const double total = l.a * l.a * kVariance + l.s * l.s;
        for (std::ptrdiff_t k = 0; k < xt.numel(); ++k)  // the mean of x_0 given x_t (3.16)
            x0.data()[k] = kMean + l.a * kVariance / total * (xt.data()[k] - l.a * kMean);
    };
    const std::vector<double> start = {-2.0, -0.5, 0.1, 1.3};
    std::vector<OrderResult> results;
    for (const SamplerOf<double>& sampler : kSamplers<double>) {
        if (sampler.order == 0) continue;
        OrderResult result{sampler.name, sampler.order, {}, {}, 0};
        for (int n = 16; n <= kMost; n *= 2) {
            const std::vector<Moment> path = straight_log_snr(n);
            Array<double> x({4, 1});
            std::copy(start.begin(), start.end(), x.begin());
            sampler.sample(exact, path, {}, x);
            double error = 0;
            for (std::size_t i = 0; i < start.size(); ++i) {
                const double truth = flow_of_gaussian(path.front().level, path.back().level, kMean,
                                                      kVariance, start[i]);
                error = std::max(error, std::abs(x[i] - truth));
            }
            result.steps.push_back(n);
            result.error.push_back(error);
        }
        result.measured = -slope(result.steps, result.error);
        results.push_back(result);
    }
    return results;
}

}  // namespace diffusion
