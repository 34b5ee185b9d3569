#pragma once
// The layers of the UNet, in the manner of chapter 2's Linear.
#include <cmath>
#include <string>

#include "02_gradients/layers.hpp"
#include "04_unet/image_ops.hpp"

namespace diffusion {

struct Conv2d {
    Parameter weight, bias;
    int stride = 1;

    Conv2d() = default;
    /// `zero`: starts as the map to 0, for the last layer of a residual branch or of the network.
    Conv2d(ParameterList& list, const std::string& name, int inputs, int outputs, int kernel,
           int stride_ = 1, bool zero = false)
        : stride(stride_) {
        const double bound =
            zero ? 0 : 1 / std::sqrt(static_cast<double>(kernel * kernel * inputs));
        weight = list.add(name + ".weight", {kernel, kernel, inputs, outputs}, Layout::conv, bound);
        bias = list.add(name + ".bias", {outputs}, Layout::plain, bound);
    }
    /// X is a Var, Joined images, or one still to be computed: Normed, Upsampled.
    template <class X>
    auto operator()(X x) const {
        auto& tape = x.tape();
        return conv2d(x, tape.parameter(weight), tape.parameter(bias), stride);
    }
    /// With shift[N,C] added to every pixel of an image.
    template <class X, class T>
    Var<T> shifted(X x, Var<T> shift) const {
        Tape<T>& tape = x.tape();
        return conv2d(x, tape.parameter(weight), tape.parameter(bias), stride, shift);
    }
    /// other + the convolution.
    template <class X, class T>
    Var<T> added_to(Var<T> other, X x) const {
        Tape<T>& tape = x.tape();
        return conv2d(x, tape.parameter(weight), tape.parameter(bias), stride, {}, other);
    }
    /// The same in the memory of `other`, which nothing else may read.
    template <class X, class T>
    Var<T> added_onto(Var<T> other, X x) const {
        Tape<T>& tape = x.tape();
        return conv2d(x, tape.parameter(weight), tape.parameter(bias), stride, Var<T>(), other,
                      true);
    }
};

struct GroupNorm {
    static constexpr int kGroups = 8;
    Parameter gain, bias;

    GroupNorm() = default;
    GroupNorm(ParameterList& list, const std::string& name, int channels) {
        gain = list.add(name + ".weight", {channels}, Layout::plain, 0, 1);
        bias = list.add(name + ".bias", {channels}, Layout::plain, 0, 0);
    }
    template <class T>
    Var<T> operator()(Var<T> x) const {
        return group_norm(x, x.tape().parameter(gain), x.tape().parameter(bias), kGroups);
    }
    /// The norm and SiLU after it, for a convolution to compute.
    template <class T>
    Normed<T> silu(Joined<T> x) const {
        return {x, x.tape().parameter(gain), x.tape().parameter(bias), kGroups, true};
    }
    template <class T>
    Normed<T> silu(Var<T> x) const {
        return silu(Joined<T>(x));
    }
};

}  // namespace diffusion
