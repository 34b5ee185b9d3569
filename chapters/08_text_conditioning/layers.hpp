#pragma once
// Layers of transformers that read texts.
#include <string>

#include "02_gradients/layers.hpp"

namespace diffusion {

/// (2.11) With a learned gain and bias for each channel.
struct LayerNorm {
    Parameter gain, bias;
    double eps = 1e-5;

    LayerNorm() = default;
    LayerNorm(ParameterList& list, const std::string& name, int channels, double eps_ = 1e-5)
        : gain(list.add(name + ".weight", {channels}, Layout::plain, Init::constant(1))),
          bias(list.add(name + ".bias", {channels}, Layout::plain, Init::constant(0))),
          eps(eps_) {}
    template <class T>
    Var<T> operator()(Var<T> x) const {
        Tape<T>& tape = x.tape();
        return layer_norm(x, tape.parameter(gain), tape.parameter(bias), static_cast<T>(eps));
    }
};

/// (2.12) With a learned gain for each channel, as T5 has it.
struct RmsNorm {
    Parameter gain;
    double eps = 1e-6;

    RmsNorm() = default;
    RmsNorm(ParameterList& list, const std::string& name, int channels, double eps_ = 1e-6)
        : gain(list.add(name + ".weight", {channels}, Layout::plain, Init::constant(1))),
          eps(eps_) {}
    template <class T>
    Var<T> operator()(Var<T> x) const {
        return rms_norm(x, x.tape().parameter(gain), static_cast<T>(eps));
    }
};

}  // namespace diffusion
