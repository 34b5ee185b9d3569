#pragma once
// The UNet, for any kind of number and any kind of block that lets pixels see each other: unet.cpp
// makes it with this chapter's for the CPU's numbers, unet.cu for those on a GPU.
#include <utility>

#include "02_gradients/ops.hpp"
#include "04_unet/attention.hpp"
#include "04_unet/unet.hpp"

namespace diffusion {

template <class T>
Var<T> ResBlock::operator()(const ConvInput<T>& x, Var<T> silu_time) const {
    // >>> exercise 4.5 points=2 hint="(4.11) and (4.12) make h; (4.11) and (4.13) the result"
    const Var<T> shift = time ? (*time)(silu_time) : Var<T>();
    const Var<T> h = conv1(norm1.silu(x), {.shift = shift});  // (4.11), (4.12)
    const Added<T> past =
        skip ? Added<T>{.image = (*skip)(x), .in_place = true} : Added<T>{.image = x.a};
    return conv2(norm2.silu(h), past);  // (4.11), (4.13)
    // <<<
}

template <class T>
Var<T> AttentionBlock::operator()(Var<T> x, const Condition<T>&) const {
    const int channels = x.size(3);
    const Var<T> all = qkv(norm(x));
    const auto tokens = [&](int part) {  // [N,H,W,3C] to [N,HW,C]
        return reshape(slice_channels(all, part * channels, channels),
                       {x.size(0), pixels_of(x.shape()), channels});
    };
    const Var<T> mixed = attention(tokens(0), tokens(1), tokens(2), {.heads = heads});  // (4.9)
    return out(reshape(mixed, x.shape()), {.image = x});
}

template <class Mixer>
UNetOf<Mixer>::UNetOf(ParameterList& list, const std::string& prefix, const UNetConfig& config)
    : config_(config) {
    config.check();
    const int time_width = 4 * config.channels_at(0), levels = config.levels();
    time1_ = Linear(list, prefix + "time_embedding.linear_1", config.channels_at(0), time_width);
    time2_ = Linear(list, prefix + "time_embedding.linear_2", time_width, time_width);
    if (config.classes > 0)
        classes_ = list.add(prefix + "class_embedding.weight", {config.classes, time_width},
                            Layout::plain, Init::normal(1));
    if (config.pooled_width > 0)
        pooled_ = Linear(list, prefix + "pooled", config.pooled_width, time_width);
    in_ = Conv2d(list, prefix + "conv_in", config.in_channels, config.channels_at(0), 3);

    // A block of level i, and attention after it where the level has it.
    int width = config.channels_at(0);
    const auto add_block = [&](Level& level, int i, const std::string& name, int inputs,
                               bool attends) {
        width = config.channels_at(i);
        const std::string b = std::to_string(level.blocks.size());
        level.blocks.emplace_back(list, name + ".resnets." + b, inputs, width, time_width, config);
        if (attends)
            level.mixers.emplace_back(list, name + ".attentions." + b, width, config.heads_at(i),
                                      config);
    };
    std::vector<int> skips{width};  // channels of what the way down leaves for the way up
    for (int i = 0; i < levels; ++i) {
        const std::string name = prefix + "down_blocks." + std::to_string(i);
        Level level;
        for (int b = 0; b < config.blocks; ++b) {
            add_block(level, i, name, width, config.attends(i));
            skips.push_back(width);
        }
        if (i + 1 < levels) {
            level.resample.emplace(list, name + ".downsamplers.0.conv", width, width, 3,
                                   ConvOptions{2, config.padding});
            skips.push_back(width);
        }
        down_.push_back(std::move(level));
    }
    middle1_.emplace(list, prefix + "mid_block.resnets.0", width, width, time_width, config);
    if (config.middle_attention)
        middle_mixer_.emplace(list, prefix + "mid_block.attentions.0", width,
                              config.heads_at(levels - 1), config);
    middle2_.emplace(list, prefix + "mid_block.resnets.1", width, width, time_width, config);
    for (int i = levels - 1; i >= 0; --i) {
        const std::string name = prefix + "up_blocks." + std::to_string(levels - 1 - i);
        Level level;
        for (int b = 0; b <= config.blocks; ++b) {
            add_block(level, i, name, width + skips.back(), config.attends_on_way_up(i));
            skips.pop_back();
        }
        if (i > 0) level.resample.emplace(list, name + ".upsamplers.0.conv", width, width, 3);
        up_.push_back(std::move(level));
    }
    norm_ = GroupNorm(list, prefix + "conv_norm_out", width, config.groups, config.eps);
    out_ = Conv2d(list, prefix + "conv_out", width, config.out_channels, 3, 1, true);
}

template <class Mixer>
template <class T>
Var<T> UNetOf<Mixer>::embed(Tape<T>& tape, std::span<const float> t,
                            const Condition<T>& condition) const {
    const Var<T> clocks = tape.constant(
        timestep_embedding<T>(t, config_.channels_at(0), config_.time, tape.numbers()));
    Var<T> all = time2_(silu(time1_(clocks)));
    if (config_.classes > 0) {
        require(condition.labels.size() == t.size(), "unet: ", condition.labels.size(),
                " labels for ", t.size(), " images");
        all = add(all, embedding(tape.parameter(classes_), condition.labels));
    }
    if (config_.pooled_width > 0) {
        require(static_cast<bool>(condition.pooled), "unet: the vector that it is told is missing");
        all = add(all, pooled_(condition.pooled));
    }
    return silu(all);
}

template <class Mixer>
template <class T>
Var<T> UNetOf<Mixer>::operator()(Var<T> x, std::span<const float> t,
                                 const std::type_identity_t<Condition<T>>& condition) const {
    require(x.shape().rank == 4 && x.size(3) == config_.in_channels && x.size(0) == std::ssize(t),
            "unet: x is ", x.shape(), " with ", t.size(), " times, expected [N,H,W,",
            config_.in_channels, "] and one time for each image");
    Tape<T>& tape = x.tape();
    const Var<T> time = embed(tape, t, condition);
    const auto run = [&](const ResBlock& block, const ConvInput<T>& in) {
        return tape.result_of([&] { return block(in, time); });
    };
    const auto mixed = [&](const Mixer& mixer, Var<T> h) {  // h is not read afterwards
        const Var<T> y = tape.result_of([&] { return mixer(h, condition); });
        tape.done(h);
        return y;
    };
    const auto run_level = [&](const Level& level, std::size_t b, const ConvInput<T>& in) {
        const Var<T> h = run(level.blocks[b], in);
        return level.mixers.empty() ? h : mixed(level.mixers[b], h);
    };

    const int skips = (config_.blocks + 1) * config_.levels();
    const Tensor<Var<T>> stack = tape.arena().template make<Var<T>>({skips});
    int top = 0;  // what the way down leaves for the way up
    const auto push = [&](Var<T> v) { return stack(top++) = v; };
    Var<T> h = push(in_(x));
    for (const Level& level : down_) {
        for (std::size_t b = 0; b < level.blocks.size(); ++b) h = push(run_level(level, b, h));
        if (level.resample) h = push((*level.resample)(h));
    }
    h = run(*middle1_, h);
    if (middle_mixer_) h = mixed(*middle_mixer_, h);
    const Var<T> middle = h;
    h = run(*middle2_, middle);
    tape.done(middle);
    for (const Level& level : up_) {
        for (std::size_t b = 0; b < level.blocks.size(); ++b) {
            const ConvInput<T> both(h, stack(--top));
            h = run_level(level, b, both);
            tape.done(both.a);
            tape.done(both.b);
        }
        if (level.resample) {
            const Var<T> next = stack(top - 1), small = h;  // `next` has the finer level's size
            h = (*level.resample)(doubled(small, next.size(1), next.size(2)));
            tape.done(small);
        }
    }
    return out_(norm_.silu(h));
}

}  // namespace diffusion
