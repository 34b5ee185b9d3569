#include "03_reverse_process/prediction.hpp"

#include <cmath>

#include "io/json.hpp"
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
    fail("prediction ", in_quotes(name), ": use ", known);
}

void check_level(Prediction kind, Level level) {
    require(level.a > 0 || (kind != Prediction::eps && kind != Prediction::score),
            "prediction: at a = 0 the noise tells nothing of the picture; predict x0 or v");
    require(kind != Prediction::v || std::abs(level.a * level.a + level.s * level.s - 1) < 1e-6,
            "prediction: v needs a^2 + s^2 = 1, the level is a = ", level.a, ", s = ", level.s);
}

}  // namespace diffusion
