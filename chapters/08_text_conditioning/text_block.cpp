#include "08_text_conditioning/text_block.hpp"

#include "04_unet/unet_forward.hpp"

namespace diffusion {
namespace {

constexpr double kEps = 1e-6;  ///< of the group norm before the layers; no setting there
constexpr int kWider = 4;      ///< times as many channels between the last two linear layers

Conv2d pixels(ParameterList& list, const std::string& name, int inputs, int outputs,
              bool bias = true) {
    return Conv2d::of_pixels(list, {name}, inputs, outputs, bias);
}

/// Before and after the layers: two classes of files have two layouts for the same thing.
Conv2d projection(ParameterList& list, const std::string& name, int channels,
                  const UNetConfig& config) {
    return config.linear_projection ? pixels(list, name, channels, channels)
                                    : Conv2d(list, name, channels, channels, 1);
}

}  // namespace

TransformerLayer::TransformerLayer(ParameterList& list, const std::string& name, int channels,
                                   int heads_, int cross_width)
    : norm1(list, name + ".norm1", channels),
      norm2(list, name + ".norm2", channels),
      norm3(list, name + ".norm3", channels),
      q1(pixels(list, name + ".attn1.to_q", channels, channels, false)),
      k1(pixels(list, name + ".attn1.to_k", channels, channels, false)),
      v1(pixels(list, name + ".attn1.to_v", channels, channels, false)),
      out1(pixels(list, name + ".attn1.to_out.0", channels, channels)),
      q2(pixels(list, name + ".attn2.to_q", channels, channels, false)),
      out2(pixels(list, name + ".attn2.to_out.0", channels, channels)),
      k2(list, name + ".attn2.to_k", cross_width, channels, false),
      v2(list, name + ".attn2.to_v", cross_width, channels, false),
      wide(pixels(list, name + ".ff.net.0.proj", channels, 2 * kWider * channels)),
      narrow(pixels(list, name + ".ff.net.2", kWider * channels, channels)),
      heads(heads_) {}

template <class T>
Var<T> TransformerLayer::operator()(Var<T> x, const Condition<T>& condition) const {
    Tape<T>& tape = x.tape();
    const auto tokens = [](Var<T> h) {  // [N,H,W,C] to [N,HW,C]
        return reshape(h, {h.size(0), pixels_of(h.shape()), h.size(3)});
    };
    const auto attend = [&](Var<T> q, Var<T> k, Var<T> v, Mask keep) {
        return reshape(attention(tokens(q), k, v, {.heads = heads, .keep = keep}), q.shape());
    };
    const Var<T> of_pixels = tape.result_of([&] {
        const Var<T> h = norm1(x);
        return out1(attend(q1(h), tokens(k1(h)), tokens(v1(h)), {}), {.image = x});
    });
    const Var<T> of_text = tape.result_of([&] {  // (8.12)
        const Var<T> text = condition.tokens;
        return out2(attend(q2(norm2(of_pixels)), k2(text), v2(text), condition.keep),
                    {.image = of_pixels});
    });
    tape.done(of_pixels);
    // (8.13)
    const Var<T> y = pixels_at_a_time(of_text, wide.weight.shape[3], [&](Var<T> h) {
        const Var<T> gated = passed([](Var<T> w) { return geglu(w); }, passed(wide, norm3(h)));
        return narrow(gated, {.image = h});
    });
    tape.done(of_text);
    return y;
}

TextBlock::TextBlock(ParameterList& list, const std::string& name, int channels, int heads,
                     const UNetConfig& config)
    : norm(list, name + ".norm", channels, config.groups, kEps),
      in(projection(list, name + ".proj_in", channels, config)) {
    require(config.cross_width > 0, "unet: ", name, " reads a text, but cross_width is ",
            config.cross_width);
    for (int i = 0; i < config.depth; ++i)
        layers.emplace_back(list, name + ".transformer_blocks." + std::to_string(i), channels,
                            heads, config.cross_width);
    out = projection(list, name + ".proj_out", channels, config);
}

template <class T>
Var<T> TextBlock::operator()(Var<T> x, const Condition<T>& condition) const {
    require(static_cast<bool>(condition.tokens), "unet: the text that it reads is missing");
    Var<T> h = passed(in, norm(x));
    for (const TransformerLayer& layer : layers)
        h = passed([&](Var<T> before) { return layer(before, condition); }, h);
    return out(h, {.image = x});
}

#define DIFFUSION_INSTANTIATE(T)                                                     \
    template Var<T> TransformerLayer::operator()(Var<T>, const Condition<T>&) const; \
    template Var<T> TextBlock::operator()(Var<T>, const Condition<T>&) const;        \
    template Var<T> TextUNet::operator()(Var<T>, std::span<const float>,             \
                                         const std::type_identity_t<Condition<T>>&) const;
template UNetOf<TextBlock>::UNetOf(ParameterList&, const std::string&, const UNetConfig&);
DIFFUSION_INSTANTIATE(float)
DIFFUSION_INSTANTIATE(double)
#undef DIFFUSION_INSTANTIATE

}  // namespace diffusion
