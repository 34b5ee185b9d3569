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
    template <class T>
    Var<T> operator()(Var<T> x) const {
        return conv2d(x, x.tape().parameter(weight), x.tape().parameter(bias), stride);
    }
    /// With shift[N,C] added to every pixel of an image.
    template <class T>
    Var<T> shifted(Var<T> x, Var<T> shift) const {
        return conv2d(x, x.tape().parameter(weight), x.tape().parameter(bias), stride, shift);
    }
    /// other + the convolution.
    template <class T>
    Var<T> added_to(Var<T> other, Var<T> x) const {
        return conv2d(x, x.tape().parameter(weight), x.tape().parameter(bias), stride, {}, other);
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
        return group_norm(x, x.tape().parameter(gain), x.tape().parameter(bias), kGroups, false);
    }
    /// The norm and SiLU after it, in one pass.
    template <class T>
    Var<T> silu(Var<T> x) const {
        return group_norm(x, x.tape().parameter(gain), x.tape().parameter(bias), kGroups, true);
    }
};

}  // namespace diffusion
