#include "03_reverse_process/prediction.hpp"

#include <cmath>

#include "tensor/check.hpp"

namespace diffusion {

const char* prediction_name(Prediction kind) {
    for (const NamedPrediction& each : kPredictions) {
        if (kind == each.kind) return each.name;
    }
    fail("prediction_name: unknown kind of prediction");
}

Prediction prediction_from_name(const std::string& name) {
    std::string known;
    for (const NamedPrediction& each : kPredictions) {
        if (name == each.name) return each.kind;
        const char* between = &each == &kPredictions.back() ? " or " : ", ";
        known += (known.empty() ? "" : between) + std::string(each.name);
    }
    fail("prediction '", name, "': use ", known);
}

void check_level(Prediction kind, Level level) {
    require(level.a > 0 || (kind != Prediction::eps && kind != Prediction::score),
            "prediction: at a = 0 the noise tells nothing of the picture; predict x0 or v");
    require(kind != Prediction::v || std::abs(level.a * level.a + level.s * level.s - 1) < 1e-6,
            "prediction: v needs a^2 + s^2 = 1, the level is a = ", level.a, ", s = ", level.s);
}

Estimate estimate(Prediction kind, Level level, double xt, double value) {
    const double x0 = x0_from(kind, level, xt, value);
    switch (kind) {
        case Prediction::eps:
            return {x0, value};
        case Prediction::x0:
            return {x0, eps_from_x0(level, xt, value)};
        case Prediction::v:
            return {x0, eps_from_v(level, xt, value)};
        case Prediction::score:
            return {x0, eps_from_score(level, value)};
    }
    fail("estimate: unknown kind of prediction");
}

}  // namespace diffusion
