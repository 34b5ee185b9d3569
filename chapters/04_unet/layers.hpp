#pragma once
// The layers of the UNet, in the manner of chapter 2's Linear.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "02_gradients/layers.hpp"
#include "04_unet/image_ops.hpp"

namespace diffusion {

struct Conv2d {
    Parameter weight, bias;
    ConvOptions options;
    bool has_bias = true;

    Conv2d() = default;
    /// `zero`: starts as the map to 0, for the last layer of a residual branch or of the network.
    Conv2d(ParameterList& list, const std::string& name, int inputs, int outputs, int kernel,
           ConvOptions options_ = {}, bool zero = false, bool with_bias = true)
        : options(options_), has_bias(with_bias) {
        const double bound =
            zero ? 0 : 1 / std::sqrt(static_cast<double>(kernel * kernel * inputs));
        weight = list.add(name + ".weight", {kernel, kernel, inputs, outputs}, Layout::conv,
                          Init::uniform(bound));
        if (has_bias)
            bias = list.add(name + ".bias", {outputs}, Layout::plain, Init::uniform(bound));
    }
    /// A linear layer of each pixel's channels, or several side by side, one for each name.
    static Conv2d of_pixels(ParameterList& list, const std::vector<std::string>& names, int inputs,
                            int outputs, bool with_bias = true) {
        const auto with = [&](const char* ending) {
            std::vector<std::string> all = names;
            for (std::string& name : all) name += ending;
            return all;
        };
        const Init init = Init::uniform(1 / std::sqrt(static_cast<double>(inputs)));
        Conv2d layer;
        layer.weight =
            list.add_joined(with(".weight"), {1, 1, inputs, outputs}, Layout::linear, init);
        layer.has_bias = with_bias;
        if (with_bias) layer.bias = list.add_joined(with(".bias"), {outputs}, Layout::plain, init);
        return layer;
    }
    /// The convolution of x, plus what is to be added to it.
    template <class T>
    Var<T> operator()(const ConvInput<T>& x,
                      const std::type_identity_t<Added<T>>& added = {}) const {
        Tape<T>& tape = x.tape();
        const Var<T> w = tape.parameter(weight);
        const Var<T> y = conv2d(x, w, has_bias ? tape.parameter(bias) : Var<T>(), options, added);
        tape.done(w);  // if it was widened from half precision
        return y;
    }
    template <class T>
    Var<T> operator()(Var<T> x, const std::type_identity_t<Added<T>>& added = {}) const {
        return (*this)(ConvInput<T>(x), added);
    }
};

struct GroupNorm {
    Parameter gain, bias;
    int groups = 1;
    double eps = 1e-5;

    GroupNorm() = default;
    GroupNorm(ParameterList& list, const std::string& name, int channels, int groups_,
              double eps_ = 1e-5)
        : groups(groups_), eps(eps_) {
        require(groups > 0 && channels % groups == 0, name, ": ", channels,
                " channels do not fall into ", groups, " groups");
        gain = list.add(name + ".weight", {channels}, Layout::plain, Init::constant(1));
        bias = list.add(name + ".bias", {channels}, Layout::plain, Init::constant(0));
    }
    template <class T>
    Var<T> operator()(Var<T> x) const {
        return group_norm(x, on(x.tape(), false));
    }
    /// The norm and SiLU after it, for a convolution to compute.
    template <class T>
    ConvInput<T> silu(const ConvInput<T>& x) const {
        return normed(x, on(x.tape(), true));
    }
    template <class T>
    ConvInput<T> silu(Var<T> x) const {
        return silu(ConvInput<T>(x));
    }

private:
    template <class T>
    Norm<T> on(Tape<T>& tape, bool with_silu) const {
        return {tape.parameter(gain), tape.parameter(bias), groups, eps, with_silu};
    }
};

/// What a layer or block makes of x, a result that nobody else will read.
template <class Layer, class T>
Var<T> passed(const Layer& layer, Var<T> x) {
    const Var<T> y = x.tape().result_of([&] { return layer(x); });
    x.tape().done(x);
    return y;
}

/// part(x), for a part of a network that sees each pixel of x [..,C] by itself. Where nothing is
/// recorded it sees some of them at a time, so that its results between, of at most `widest`
/// channels, need little memory.
template <class Part, class T>
Var<T> pixels_at_a_time(Var<T> x, int widest, Part part) {
    constexpr int kNumbers = 1 << 23;
    Tape<T>& tape = x.tape();
    const Tensor<T> pixels = x.value().rows();
    const int count = pixels.size(0), channels = pixels.size(1),
              most = std::max(1, kNumbers / widest);
    if (count <= most || x.needs_grad() || tape.trains()) return part(x);
    const Var<T> y = tape.result(x.shape());
    const int pieces = (count + most - 1) / most;
    for (int p = 0; p < pieces; ++p) {
        const auto begin = static_cast<int>(std::ptrdiff_t{count} * p / pieces),
                   end = static_cast<int>(std::ptrdiff_t{count} * (p + 1) / pieces);
        const Var<T> some = tape.constant({pixels[begin].data(), {1, 1, end - begin, channels}});
        const Var<T> made = tape.result_of([&] { return part(some); });
        require(!made.needs_grad(),
                "pixels_at_a_time: what the part reads besides wants a gradient");
        std::ranges::copy(made.value(), y.value().rows()[begin].data());
        tape.done(made);
    }
    return y;
}

}  // namespace diffusion
