#include "08_text_conditioning/t5.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "02_gradients/ops.hpp"
#include "tensor/check.hpp"

namespace diffusion {

void T5Config::check() const {
    require(vocabulary > 1 && width > 0 && head_width > 0 && heads > 0 && inner > 0 && layers > 0 &&
                eps > 0,
            "t5: ", layers, " layers of ", width, " and ", inner, " channels, ", heads,
            " heads of ", head_width, ", vocabulary ", vocabulary, ", eps ", eps);
    require(buckets >= 4 && buckets % 4 == 0 && farthest > buckets / 4, "t5: ", buckets,
            " buckets for distances up to ", farthest,
            ", expected a multiple of 4, and a distance beyond those that have a bucket each");
}

int t5_bucket(int distance, int buckets, int farthest) {
    const int half = buckets / 2, single = half / 2;  // of one direction; with one distance each
    const int first = distance > 0 ? half : 0, far = std::abs(distance);
    if (far < single) return first + far;
    // In float, and cut off, as public models were trained.
    const float part = std::log(static_cast<float>(far) / static_cast<float>(single)) /
                       std::log(static_cast<float>(farthest) / static_cast<float>(single));
    const int grown = single + static_cast<int>(part * static_cast<float>(half - single));
    return first + std::min(grown, half - 1);  // (8.11)
}

T5Encoder::T5Encoder(ParameterList& list, const std::string& prefix, const T5Config& config)
    : config_(config) {
    config.check();
    const int width = config.width, all = config.heads * config.head_width;
    tokens_ = list.add(prefix + "shared.weight", {config.vocabulary, width}, Layout::plain,
                       Init::normal(1));
    for (int i = 0; i < config.layers; ++i) {
        const std::string name = prefix + "encoder.block." + std::to_string(i) + ".layer.",
                          attention = name + "0.SelfAttention.", feed = name + "1.DenseReluDense.";
        const auto linear = [&](const std::string& part, int inputs, int outputs) {
            return Linear(list, part, inputs, outputs, false);
        };
        if (i == 0)
            bias_ = list.add(attention + "relative_attention_bias.weight",
                             {config.buckets, config.heads}, Layout::plain, Init::normal(0.1));
        Layer layer;
        layer.norm1 = RmsNorm(list, name + "0.layer_norm", width, config.eps);
        layer.q = linear(attention + "q", width, all);
        layer.k = linear(attention + "k", width, all);
        layer.v = linear(attention + "v", width, all);
        layer.out = linear(attention + "o", all, width);
        layer.norm2 = RmsNorm(list, name + "1.layer_norm", width, config.eps);
        if (config.gated) layer.gate = linear(feed + "wi_0", width, config.inner);
        layer.wide = linear(feed + (config.gated ? "wi_1" : "wi"), width, config.inner);
        layer.narrow = linear(feed + "wo", config.inner, width);
        layers_.push_back(layer);
    }
    norm_ = RmsNorm(list, prefix + "encoder.final_layer_norm", width, config.eps);
}

template <class T>
Var<T> T5Encoder::distances(Tape<T>& tape, int length) const {
    const std::span<int> rows = tape.arena().template make<int>({length * length}).flat();
    for (int i = 0; i < length; ++i)
        for (int j = 0; j < length; ++j)
            rows[static_cast<std::size_t>(i * length + j)] =
                t5_bucket(j - i, config_.buckets, config_.farthest);
    const Var<T> of_pairs = embedding(tape.parameter(bias_), std::span<const int>(rows));
    return reshape(transpose(of_pairs), {config_.heads, length, length});
}

template <class T>
Var<T> T5Encoder::operator()(Tape<T>& tape, Tensor<const int> ids, Mask keep) const {
    require(ids.rank() == 2, "t5: ids are ", ids.shape(), ", expected [N,L]");
    for (const int id : ids)
        require(id >= 0 && id < config_.vocabulary, "t5: the id ", id, ", expected 0 to ",
                config_.vocabulary - 1);
    const int n = ids.size(0), length = ids.size(1);
    const Var<T> bias = distances(tape, length);
    Var<T> x = reshape(embedding(tape.parameter(tokens_), ids.flat()), {n, length, config_.width});
    for (const Layer& layer : layers_) {
        const Var<T> before = x;
        x = tape.result_of([&] {
            const Var<T> h = layer.norm1(before);
            const Var<T> mixed = attention(
                layer.q(h), layer.k(h), layer.v(h),
                {.heads = config_.heads, .keep = keep, .bias = bias, .scale = 1});  // (8.10)
            const Var<T> seen = add(before, layer.out(mixed));
            const Var<T> g = layer.norm2(seen);
            const Var<T> inner = config_.gated ? mul(gelu(layer.gate(g), Gelu::tanh), layer.wide(g))
                                               : relu(layer.wide(g));
            return add(seen, layer.narrow(inner));
        });
        tape.done(before);
    }
    return norm_(x);
}

#define DIFFUSION_INSTANTIATE(T) \
    template Var<T> T5Encoder::operator()(Tape<T>&, Tensor<const int>, Mask) const;
DIFFUSION_INSTANTIATE(float)
DIFFUSION_INSTANTIATE(double)
#undef DIFFUSION_INSTANTIATE

}  // namespace diffusion
