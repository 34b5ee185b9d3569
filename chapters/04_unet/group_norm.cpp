#include "04_unet/group_norm.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "02_gradients/ops.hpp"
#include "kernels/exp.hpp"
#include "kernels/simd.hpp"
#include "kernels/threads.hpp"

namespace diffusion {
namespace {

/// The channels first .. first + channels - 1 of x, where they lie in memory.
template <class T>
struct Part {
    Tensor<T> value, grad;  ///< no grad: not wanted
    bool add;               ///< or write, see grad_or_room
    int first, channels;
};

template <class T>
std::array<Part<T>, 2> parts_of(Joined<T> x, bool gradients) {
    std::array<Part<T>, 2> parts{};
    auto* next = parts.data();
    x.for_each_part([&](Var<T> var, int first) {
        Part<T>& part = *next++ = {var.value(), {}, true, first, var.size(3)};
        if (gradients && var.needs_grad()) part.grad = var.grad_or_room(part.add);
    });
    return parts;
}

/// Calls visit(c, part, i, load, store) for every register of the channels begin .. end - 1; c is
/// its first channel in x, i in the part.
template <class T, class Visit>
void for_each_register_of(const std::array<Part<T>, 2>& parts, int begin, int end, Visit visit) {
    for (const Part<T>& part : parts) {
        const int from = std::max(begin, part.first),
                  to = std::min(end, part.first + part.channels);
        for_each_register<T>(std::max(0, to - from), [&](int i, auto load, auto store) {
            visit(from + i, part, from + i - part.first, load, store);
        });
    }
}

}  // namespace

template <class T>
NormLines<T> group_norm_forward(const Normed<T>& norm, Tensor<T> y) {
    const Var<T> gain = norm.gain, bias = norm.bias;
    const Shape shape = norm.x.shape();
    const int groups = norm.groups, channels = shape[3];
    require(groups > 0 && channels % groups == 0, "group_norm: ", shape, " in ", groups, " groups");
    require(gain.shape() == Shape{channels} && bias.shape() == Shape{channels},
            "group_norm: x ends in ", channels, " channels, gain is ", gain.shape(), ", bias is ",
            bias.shape());
    Arena &arena = gain.tape().arena(), &scratch = gain.tape().scratch();
    const int images = shape[0], pixels = shape[1] * shape[2], per_group = channels / groups;
    const T numbers = static_cast<T>(pixels * per_group);
    const auto parts = parts_of(norm.x, false);
    const Tensor<T> scale = arena.template make<T>({images, channels}),
                    shift = arena.template make<T>({images, channels});
    const Tensor<T> mean = arena.template make<T>({images, groups}),
                    inverse = arena.template make<T>({images, groups});
    using V = typename Simd<T>::Vector;
    for (int n = 0; n < images; ++n) {
        Arena::Scope scope(scratch);
        T *const sum = scratch.template make<T>({channels}).data(),
                 *const center = scratch.template make<T>({channels}).data();
        in_parts(groups, 2, [&](int first_group, int last_group) {
            // Everything below is about the channels of these groups.
            const int begin = first_group * per_group, end = last_group * per_group;
            const auto total = [&](int g) {
                T of_group = 0;
                for (int c = g * per_group; c < (g + 1) * per_group; ++c) of_group += sum[c];
                return of_group / numbers;
            };
            // Means first, then squares of differences: subtracting two large squares would lose
            // digits.
            for_each_register_of(
                parts, begin, end, [&](int c, auto& part, int i, auto load, auto store) {
                    const T* in = part.value[n].data() + i;
                    store(sum + c, sum_of_terms<V>(pixels, [&, step = part.channels](int p) {
                              return load(in + p * step);
                          }));
                });
            for (int g = first_group; g < last_group; ++g) {
                mean(n, g) = total(g);
                std::fill_n(center + g * per_group, per_group, mean(n, g));
            }
            for_each_register_of(
                parts, begin, end, [&](int c, auto& part, int i, auto load, auto store) {
                    const T* in = part.value[n].data() + i;
                    const V middle = load(center + c);
                    store(sum + c, sum_of_terms<V>(pixels, [&, step = part.channels](int p) {
                              const V d = load(in + p * step) - middle;
                              return d * d;
                          }));
                });
            for (int g = first_group; g < last_group; ++g) {
                inverse(n, g) = 1 / std::sqrt(total(g) + norm.eps);
                // >>> exercise 4.1 points=2 hint="(4.5): norm, gain and bias as one line scale x + shift"
                for (int c = g * per_group; c < (g + 1) * per_group; ++c) {  // (4.5)
                    scale(n, c) = inverse(n, g) * gain.value()(c);
                    shift(n, c) = bias.value()(c) - mean(n, g) * scale(n, c);
                }
                // <<<
            }
            for_each_register_of(
                parts, begin, end, [&](int c, auto& part, int i, auto load, auto store) {
                    const V a = load(&scale(n, c)), b = load(&shift(n, c));
                    const T* in = part.value[n].data() + i;
                    T* out = y[n].data() + c;
                    for (int p = 0; p < pixels; ++p, in += part.channels, out += channels) {
                        const V z = a * load(in) + b;
                        store(out, norm.silu ? silu(z) : z);
                    }
                });
        });
    }
    return {scale, shift, mean, inverse};
}

template <class T>
void group_norm_vjp(const Normed<T>& norm, const NormLines<T>& lines, Tensor<T> dy, Tensor<T> y) {
    const Var<T> gain = norm.gain, bias = norm.bias;
    const Shape shape = norm.x.shape();
    const int images = shape[0], pixels = shape[1] * shape[2], channels = shape[3];
    const int per_group = channels / norm.groups;
    const T numbers = static_cast<T>(pixels * per_group);
    Arena& scratch = gain.tape().scratch();
    const auto parts = parts_of(norm.x, true);
    using V = typename Simd<T>::Vector;
    for (int n = 0; n < images; ++n) {
        Arena::Scope scope(scratch);
        T *sum = scratch.template make<T>({channels}).data(),
          *along = scratch.template make<T>({channels}).data();
        T* center = scratch.template make<T>({channels}).data();
        for (int c = 0; c < channels; ++c) center[c] = lines.mean(n, c / per_group);
        for_each_register_of(
            parts, 0, channels, [&](int c, auto& part, int i, auto load, auto store) {
                const V a = load(&lines.scale(n, c)), b = load(&lines.shift(n, c));
                const V middle = load(center + c);
                V total{}, total_along{};
                const T* in = part.value[n].data() + i;
                T *out = norm.silu ? y[n].data() + c : nullptr, *g = dy[n].data() + c;
                for (int p = 0; p < pixels; ++p, in += part.channels, g += channels) {
                    const V x = load(in);
                    V dz = load(g);
                    if (norm.silu) {
                        const V z = a * x + b, s = logistic(z), again = z * s;
                        dz *= silu_slope(s, again);
                        store(g, dz);
                        store(out, again);
                        out += channels;
                    }
                    total += dz;
                    total_along += dz * (x - middle);
                }
                store(sum + c, total);
                store(along + c, total_along);
            });
        // (4.6) dx = inverse (g - mean(g) - normal mean(g normal)) with g = gain dz, as p dz +
        // q x + r for each channel
        T *q = scratch.template make<T>({channels}).data(),
          *r = scratch.template make<T>({channels}).data();
        for (int group = 0; group < norm.groups; ++group) {
            const T inv = lines.inverse(n, group);
            T g_mean = 0, g_along = 0;
            for (int c = group * per_group; c < (group + 1) * per_group; ++c) {
                if (gain.needs_grad()) gain.grad()(c) += along[c] * inv;
                if (bias.needs_grad()) bias.grad()(c) += sum[c];
                g_mean += gain.value()(c) * sum[c] / numbers;
                g_along += gain.value()(c) * along[c] * inv / numbers;
            }
            // >>> exercise 4.2 points=3 hint="(4.6): q and r of this group's channels"
            for (int c = group * per_group; c < (group + 1) * per_group; ++c) {
                q[c] = -inv * inv * g_along;
                r[c] = -inv * g_mean - q[c] * center[c];
            }
            // <<<
        }
        for_each_register_of(
            parts, 0, channels, [&](int c, auto& part, int i, auto load, auto store) {
                if (!part.grad) return;
                const V pc = load(&lines.scale(n, c)), qc = load(q + c), rc = load(r + c);
                const T *in = part.value[n].data() + i, *dz = dy[n].data() + c;
                T* dx = part.grad[n].data() + i;
                for (int p = 0; p < pixels; ++p) {
                    const V d = pc * load(dz) + qc * load(in) + rc;
                    store(dx, part.add ? load(dx) + d : d);
                    dz += channels;
                    in += part.channels;
                    dx += part.channels;
                }
            });
    }
}

template <class T>
Var<T> group_norm(Var<T> x, Var<T> gain, Var<T> bias, int groups, T eps) {
    const Normed<T> norm{x, gain, bias, groups, false, eps};
    const Var<T> y = x.tape().result(x.shape(), x, gain, bias);
    const NormLines<T> lines = group_norm_forward(norm, y.value());
    x.tape().record(y, [=] { group_norm_vjp(norm, lines, y.grad(), {}); });
    return y;
}

#define DIFFUSION_INSTANTIATE(T)                                                               \
    template NormLines<T> group_norm_forward(const Normed<T>&, Tensor<T>);                     \
    template void group_norm_vjp(const Normed<T>&, const NormLines<T>&, Tensor<T>, Tensor<T>); \
    template Var<T> group_norm(Var<T>, Var<T>, Var<T>, int, T);
DIFFUSION_INSTANTIATE(float)
DIFFUSION_INSTANTIATE(double)
#undef DIFFUSION_INSTANTIATE

}  // namespace diffusion
