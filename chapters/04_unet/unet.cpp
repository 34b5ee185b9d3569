#include "04_unet/unet.hpp"

#include <cmath>

#include "04_unet/unet_forward.hpp"

namespace diffusion {

void UNetConfig::check() const {
    require(in_channels > 0 && out_channels > 0, "unet: ", in_channels, " channels in, ",
            out_channels, " out");
    require(!channels.empty() && blocks > 0, "unet: ", channels.size(), " levels of ", blocks,
            " blocks");
    require(groups > 0 && eps > 0, "unet: ", groups, " groups, eps ", eps);
    require(classes >= 0 && pooled_width >= 0, "unet: ", classes, " classes, pooled_width ",
            pooled_width);
    require(heads.size() == 1 || heads.size() == channels.size(), "unet: heads for ", heads.size(),
            " levels, there are ", channels.size());
    for (const std::vector<bool>& levels_that : {attention, up_attention})
        require(levels_that.empty() || levels_that.size() == channels.size(),
                "unet: attention for ", levels_that.size(), " levels, there are ", channels.size());
    for (int i = 0; i < levels(); ++i) {
        require(channels_at(i) > 0 && channels_at(i) % groups == 0, "unet: level ", i, " has ",
                channels_at(i), " channels, expected a multiple of ", groups);
        require(!attends_somewhere(i) || (heads_at(i) > 0 && channels_at(i) % heads_at(i) == 0),
                "unet: ", channels_at(i), " channels do not fall into ", heads_at(i), " heads");
    }
    require(channels_at(0) % 2 == 0, "unet: the time is told in ", channels_at(0),
            " numbers, expected an even number");
    require(time.period > 0 && time.shift < channels_at(0) / 2, "unet: clocks with the period ",
            time.period, " and the shift ", time.shift);
}

UNetConfig unet_config(int image_channels, int base, const std::vector<int>& multipliers,
                       int heads) {
    UNetConfig config;
    config.in_channels = config.out_channels = image_channels;
    config.channels.clear();
    for (const int multiplier : multipliers) config.channels.push_back(base * multiplier);
    config.heads = {heads};
    return config;
}

template <class T>
Tensor<T> timestep_embedding(std::span<const float> t, int width, const TimeEmbedding& how,
                             Arena& arena) {
    require(width > 0 && width % 2 == 0, "timestep_embedding: width is ", width,
            ", expected an even number");
    const int half = width / 2, cosines = how.cosine_first ? 0 : half, sines = half - cosines;
    const Tensor<T> embedding = arena.make<T>({static_cast<int>(t.size()), width});
    for (int n = 0; n < embedding.size(0); ++n) {
        const double time = static_cast<double>(t[static_cast<std::size_t>(n)]);
        // >>> exercise 4.3 points=2 hint="(4.7): for each frequency a cosine and a sine of time times frequency, each in its own half"
        for (int i = 0; i < half; ++i) {  // (4.7)
            const double angle = time * std::pow(how.period, -i / (half - how.shift));
            embedding(n, cosines + i) = static_cast<T>(std::cos(angle));
            embedding(n, sines + i) = static_cast<T>(std::sin(angle));
        }
        // <<<
    }
    return embedding;
}

ResBlock::ResBlock(ParameterList& list, const std::string& name, int inputs, int outputs,
                   int time_width, const UNetConfig& config)
    : norm1(list, name + ".norm1", inputs, config.groups, config.eps),
      norm2(list, name + ".norm2", outputs, config.groups, config.eps),
      conv1(list, name + ".conv1", inputs, outputs, 3),
      conv2(list, name + ".conv2", outputs, outputs, 3, 1, true) {
    if (time_width > 0) time.emplace(list, name + ".time_emb_proj", time_width, outputs);
    if (inputs != outputs) skip.emplace(list, name + ".conv_shortcut", inputs, outputs, 1);
}

AttentionBlock::AttentionBlock(ParameterList& list, const std::string& name, int channels,
                               int heads_, const UNetConfig& config)
    : norm(list, name + ".group_norm", channels, config.groups, config.eps),
      qkv(Conv2d::of_pixels(list, {name + ".to_q", name + ".to_k", name + ".to_v"}, channels,
                            3 * channels)),
      out(Conv2d::of_pixels(list, {name + ".to_out.0"}, channels, channels)),
      heads(heads_) {
    require(config.cross_width == 0 && config.depth == 1 && !config.linear_projection,
            "unet: ", name, " reads no text and is no transformer, but cross_width is ",
            config.cross_width, ", depth ", config.depth, ", linear_projection ",
            config.linear_projection);
}

#define DIFFUSION_INSTANTIATE(T)                                                             \
    template Tensor<T> timestep_embedding(std::span<const float>, int, const TimeEmbedding&, \
                                          Arena&);                                           \
    template Var<T> ResBlock::operator()(const ConvInput<T>&, Var<T>) const;                 \
    template Var<T> AttentionBlock::operator()(Var<T>, const Condition<T>&) const;           \
    template Var<T> UNet::operator()(Var<T>, std::span<const float>,                         \
                                     const std::type_identity_t<Condition<T>>&) const;
template UNetOf<AttentionBlock>::UNetOf(ParameterList&, const std::string&, const UNetConfig&);
DIFFUSION_INSTANTIATE(float)
DIFFUSION_INSTANTIATE(double)
#undef DIFFUSION_INSTANTIATE

}  // namespace diffusion
