#pragma once
// Denoisers of data for which every answer is known, on the cosine schedule.
#include <algorithm>
#include <utility>
#include <vector>

#include "01_forward_noising/schedule.hpp"
#include "03_reverse_process/ancestral.hpp"
#include "03_reverse_process/prediction.hpp"

namespace diffusion {

/// Made when it is first asked for, so that a schedule that fails, fails in a test.
inline const Schedule& cosine() {
    static const Schedule schedule = make_schedule("cosine", 1000);
    return schedule;
}

inline Level level(int t) {
    return level_at(cosine(), t);
}

inline Moment moment(int t) {
    return {static_cast<double>(t), level(t)};
}
inline std::vector<Moment> path(const std::vector<int>& times) {
    return moments(cosine(), times);
}

/// Pictures of one pixel [n,1] in memory of their own.
struct Pixels {
    std::vector<double> values;
    explicit Pixels(std::vector<double> v) : values(std::move(v)) {}
    Tensor<double> tensor() { return {values.data(), {static_cast<int>(values.size()), 1}}; }
};

/// The denoiser of data N(m, v) in every pixel, on any schedule.
inline Denoiser<double> gaussian_denoiser(double m, double v) {
    return [=](Tensor<const double> xt, const Moment& at, Tensor<double> x0) {
        const Level l = at.level;
        for (std::ptrdiff_t k = 0; k < xt.numel(); ++k) {
            x0.data()[k] = m + l.a * v / (l.a * l.a * v + l.s * l.s) * (xt.data()[k] - l.a * m);
        }
    };
}
/// The denoiser of one picture, all of whose pixels are 0.7.
inline const Denoiser<double> kKnown = [](Tensor<const double>, const Moment&, Tensor<double> x0) {
    std::fill(x0.begin(), x0.end(), 0.7);
};

}  // namespace diffusion
