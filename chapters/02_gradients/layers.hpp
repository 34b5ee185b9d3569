#pragma once
// Layers: parameters with names, and what to do with them. A layer holds no numbers, only where its
// numbers lie in the model's block.
#include <cmath>
#include <string>

#include "02_gradients/ops.hpp"
#include "02_gradients/parameters.hpp"

namespace diffusion {

/// (2.8) [.., inputs] to [.., outputs].
struct Linear {
    Parameter weight, bias;

    Linear() = default;
    Linear(ParameterList& list, const std::string& name, int inputs, int outputs) {
        const double bound = 1 / std::sqrt(static_cast<double>(inputs));
        weight =
            list.add(name + ".weight", {inputs, outputs}, Layout::linear, Init::uniform(bound));
        bias = list.add(name + ".bias", {outputs}, Layout::plain, Init::uniform(bound));
    }
    template <class T>
    Var<T> operator()(Var<T> x) const {
        return linear(x, x.tape().parameter(weight), x.tape().parameter(bias));
    }
};

}  // namespace diffusion
