#pragma once
// The UNet's way forward, for any kind of number: unet.cpp makes it for the CPU's, unet.cu for
// those on a GPU.
#include "02_gradients/ops.hpp"
#include "04_unet/attention.hpp"
#include "04_unet/unet.hpp"

namespace diffusion {

template <class T>
Var<T> ResBlock::operator()(Joined<T> x, Var<T> silu_time) const {
    // >>> exercise 4.5 points=2 hint="(4.11) and (4.12) make h; (4.11) and (4.13) the result"
    const Var<T> h = conv1.shifted(norm1.silu(x), time(silu_time));  // (4.11), (4.12)
    const Var<T> y = skip ? conv2.added_onto((*skip)(x), norm2.silu(h))
                          : conv2.added_to(x.a, norm2.silu(h));  // (4.11), (4.13)
    h.tape().done(h, y);
    return y;
    // <<<
}

template <class T>
Var<T> AttentionBlock::operator()(Var<T> x) const {
    const int channels = x.size(3);
    const Var<T> all = qkv(norm(x));
    const auto tokens = [&](int part) {  // [N,H,W,3C] to [N,HW,C]
        return reshape(slice_channels(all, part * channels, channels),
                       {x.size(0), x.size(1) * x.size(2), channels});
    };
    const Var<T> mixed = attention(tokens(0), tokens(1), tokens(2), heads);  // (4.9)
    return out.added_to(x, reshape(mixed, x.shape()));
}

template <class T>
Var<T> UNet::operator()(Var<T> x, std::span<const int> t) const {
    require(x.shape().rank == 4 && x.size(3) == config_.channels && x.size(0) == std::ssize(t),
            "unet: x is ", x.shape(), " with ", t.size(), " times, expected [N,H,W,",
            config_.channels, "] and one time for each image");
    Tape<T>& tape = x.tape();
    const Var<T> embedding = tape.constant(timestep_embedding<T>(t, config_.base, tape.numbers()));
    const Var<T> time = silu(time2_(silu(time1_(embedding))));

    const Tensor<Var<T>> stack =
        tape.arena().template make<Var<T>>({static_cast<int>(4 * down_.size())});
    int top = 0;  // what the way down leaves for the way up
    const auto push = [&](Var<T> v) { return stack(top++) = v; };
    Var<T> h = in_(x);
    push(h);
    for (const Level& level : down_) {
        for (const ResBlock& block : level.blocks) h = push(block(h, time));
        if (level.resample) h = push((*level.resample)(h));
    }
    h = (*middle2_)((*attention_)((*middle1_)(h, time)), time);
    for (const Level& level : up_) {
        for (const ResBlock& block : level.blocks) {
            const Joined<T> both(h, stack(--top));
            h = block(both, time);
            tape.done(both.a, h);
            tape.done(both.b, h);
        }
        if (level.resample) {
            const Var<T> next = stack(top - 1);  // the finer level's size
            const Var<T> small = h;
            h = (*level.resample)(Upsampled<T>{small, next.size(1), next.size(2)});
            tape.done(small, h);
        }
    }
    return out_(norm_.silu(h));
}

}  // namespace diffusion
