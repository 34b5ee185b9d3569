#include "06_ddim/orders.hpp"

#include <algorithm>
#include <cmath>

#include "06_ddim/samplers.hpp"

namespace diffusion {
namespace {

constexpr double kMean = 0.3, kVariance = 0.25;
constexpr double kFrom = 10, kTo = 0.1;  // sigma
constexpr int kMost = 256;               // steps

/// A chain whose log-SNR falls in a straight line, so that every grid of equal steps is on it.
Schedule straight_log_snr() {
    Schedule schedule{"straight log-SNR", {0.0}, {1.0}};
    for (int t = 0; t <= kMost; ++t) {
        const double sigma = kTo * std::pow(kFrom / kTo, static_cast<double>(t) / kMost);
        schedule.alpha_bar.push_back(1 / (1 + sigma * sigma));
        schedule.beta.push_back(1 - schedule.alpha_bar.back() /
                                        schedule.alpha_bar[schedule.alpha_bar.size() - 2]);
    }
    return schedule;
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
    const Schedule schedule = straight_log_snr();
    const int last = schedule.steps(), first = 1;
    const auto level = [&](int t) { return level_at(schedule, t); };
    const Denoiser<double> exact = [&](Tensor<const double> xt, int t, Tensor<double> x0) {
        const Level l = level(t);
        const double total = l.a * l.a * kVariance + l.s * l.s;
        for (std::ptrdiff_t k = 0; k < xt.numel(); ++k)  // the mean of x_0 given x_t (3.16)
            x0.data()[k] = kMean + l.a * kVariance / total * (xt.data()[k] - l.a * kMean);
    };
    const std::vector<double> start = {-2.0, -0.5, 0.1, 1.3};
    std::vector<OrderResult> results;
    for (const char* name : {"ddim", "euler", "heun", "dpmpp2m"}) {
        OrderResult result{name, {}, {}, 0};
        for (int n = 16; n <= kMost; n *= 2) {
            std::vector<int> times;
            for (int i = n; i >= 0; --i) times.push_back(first + (last - first) * i / n);
            std::vector<double> values = start;
            const Tensor<double> x(values.data(), {4, 1});
            if (result.sampler == "ddim") ddim_sample<double>(exact, schedule, times, {}, x);
            if (result.sampler == "euler") euler_sample<double>(exact, schedule, times, 0, x);
            if (result.sampler == "heun") heun_sample<double>(exact, schedule, times, 0, x);
            if (result.sampler == "dpmpp2m") dpmpp2m_sample<double>(exact, schedule, times, 0, x);
            double error = 0;
            for (std::size_t i = 0; i < start.size(); ++i) {
                const double truth =
                    flow_of_gaussian(level(last), level(first), kMean, kVariance, start[i]);
                error = std::max(error, std::abs(values[i] - truth));
            }
            result.steps.push_back(n);
            result.error.push_back(error);
        }
        result.order = -slope(result.steps, result.error);
        results.push_back(result);
    }
    return results;
}

}  // namespace diffusion
