#include "06_ddim/gpu_sampling.hpp"

#include <algorithm>

#include "tensor/array.hpp"
#include "tensor/check.hpp"

namespace diffusion {

// Every step begins anew at x = (1, 0, 0, 0). The guesses are (0, 1, 0, 0) in even steps and
// (0, 0, 1, 0) in odd ones, so that a step's own guess and the one before it can be told apart, and
// fresh noise is (0, 0, 0, 1). What x is after the step are the step's four coefficients.
std::vector<LinearStep> linear_steps(const Sampler& sampler, std::span<const Moment> path) {
    const SamplerOf<double>& by_name = sampler_named<double>(sampler.name);
    require(by_name.calls == 1, "on a GPU as a whole: ", sampler.name,
            " asks the network more than once in a step");
    Array<double> vector(Shape{1, 4});
    const Tensor<double> x = vector.tensor();
    const auto unit = [](int axis, Tensor<double> out) {
        std::fill(out.begin(), out.end(), 0.0);
        out(0, axis) = 1;
    };
    std::vector<LinearStep> steps;
    const Denoiser<double> guess = [&](Tensor<const double>, const Moment& at, Tensor<double> x0) {
        unit(1 + static_cast<int>(steps.size() % 2), x0);
        steps.push_back({at, 0, 0, 0, 0});
    };
    const auto read = [&](const Moment&, Tensor<const double>) {
        const bool odd = steps.size() % 2 == 0;
        steps.back() = {steps.back().at, x(0, 0), x(0, odd ? 2 : 1), x(0, odd ? 1 : 2), x(0, 3)};
        unit(0, x);
    };
    unit(0, x);
    by_name.sample(
        guess, path,
        {.eta = sampler.eta, .noise = [&](int, Tensor<double> z) { unit(3, z); }, .observer = read},
        x);
    return steps;
}

}  // namespace diffusion
