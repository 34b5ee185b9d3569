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
    bool has_bias = true;

    Linear() = default;
    Linear(ParameterList& list, const std::string& name, int inputs, int outputs,
           bool with_bias = true)
        : has_bias(with_bias) {
        const double bound = 1 / std::sqrt(static_cast<double>(inputs));
        weight =
            list.add(name + ".weight", {inputs, outputs}, Layout::linear, Init::uniform(bound));
        if (has_bias)
            bias = list.add(name + ".bias", {outputs}, Layout::plain, Init::uniform(bound));
    }
    template <class T>
    Var<T> operator()(Var<T> x) const {
        Tape<T>& tape = x.tape();
        const Var<T> w = tape.parameter(weight);
        const Var<T> y = linear(x, w, has_bias ? tape.parameter(bias) : Var<T>());
        tape.done(w);  // if it was widened from half precision
        return y;
    }
};

}  // namespace diffusion
