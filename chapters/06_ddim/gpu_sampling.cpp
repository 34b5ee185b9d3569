#include "06_ddim/gpu_sampling.hpp"

#include <algorithm>
#include <cmath>

#include "03_reverse_process/posterior.hpp"
#include "tensor/check.hpp"

namespace diffusion {

std::vector<LinearStep> linear_steps(const Sampler& sampler, const Schedule& schedule,
                                     std::span<const int> times) {
    std::vector<LinearStep> steps;
    double h_before = 0;
    for (std::size_t i = 0; i + 1 < times.size(); ++i) {
        const int t = times[i], s = times[i + 1];
        const Level from = level_at(schedule, t), to = level_at(schedule, s);
        if (sampler.name == "ddpm") {
            const Posterior q = posterior(schedule, t, s);
            steps.push_back(
                {t, q.xt, q.x0, 0, s == 0 ? 0 : std::sqrt(q.small_variance)});  // (3.17)
        } else if (sampler.name == "ddim") {
            const double rho = sampler.eta * std::sqrt(posterior(schedule, t, s).small_variance),
                         rest = std::sqrt(std::max(0.0, to.s * to.s - rho * rho));
            steps.push_back({t, rest / from.s, to.a - rest * from.a / from.s, 0, rho});  // (6.3)
        } else if (sampler.name == "euler") {
            const double step = std::log(to.a / from.a), square = from.s * from.s;
            steps.push_back(
                {t, 1 + step * (1 - 1 / square), step * from.a / square, 0, 0});  // (6.7)
        } else if (sampler.name == "dpmpp2m") {
            const double h = (schedule.log_snr(s) - schedule.log_snr(t)) / 2;
            const double weight = i > 0 && s > 0 ? h / (2 * h_before) : 0,
                         factor = -to.a * std::expm1(-h);
            steps.push_back(
                {t, to.s / from.s, factor * (1 + weight), -factor * weight, 0});  // (6.11)
            h_before = h;
        } else {
            fail("on a GPU as a whole: ddpm, ddim, euler and dpmpp2m; ", sampler.name, " is not");
        }
    }
    return steps;
}

}  // namespace diffusion
