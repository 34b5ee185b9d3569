#include "03_reverse_process/prediction.hpp"

#include "tensor/check.hpp"

namespace diffusion {

Prediction prediction_from_name(const std::string& name) {
    if (name == "eps") return Prediction::eps;
    if (name == "x0") return Prediction::x0;
    if (name == "v") return Prediction::v;
    if (name == "score") return Prediction::score;
    fail("prediction '", name, "': use eps, x0, v or score");
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
