#include "kernels/group_norm.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/exp.hpp"
#include "kernels/simd.hpp"
#include "kernels/threads.hpp"

namespace diffusion {
namespace {

/// Numbers of an image that stays in a core's cache while it is normalised.
constexpr std::ptrdiff_t kNumbersInCache = 1 << 20;

/// The channels first .. first + channels - 1 of x, where they lie in memory.
template <class T>
struct Part {
    Tensor<T> value, grad;  ///< no grad: not wanted
    bool add;               ///< or write
    int first;
    std::ptrdiff_t channels;  ///< so far is it to the next pixel
};

template <class T>
std::array<Part<T>, 2> parts_of(const GroupNormInput<T>& x, const GroupNormGradients<T>& to) {
    const int second = x.a.size(3);
    return {Part<T>{x.a, to.a, to.add_a, 0, second},
            Part<T>{x.b, to.b, to.add_b, second, x.b ? x.b.size(3) : 0}};
}

/// Calls visit(c, part, i, load, store) for every register of the channels begin .. end - 1; c is
/// its first channel in x, i in the part.
template <class T, class Visit>
void for_each_register_of(const std::array<Part<T>, 2>& parts, int begin, int end, Visit visit) {
    for (const Part<T>& part : parts) {
        const int from = std::max(begin, part.first),
                  to = std::min(end, part.first + static_cast<int>(part.channels));
        for_each_register<T>(std::max(0, to - from), [&](int i, auto load, auto store) {
            visit(from + i, part, from + i - part.first, load, store);
        });
    }
}

/// One image of the forward pass: from sums over its pixels to its lines.
template <class T>
struct Forward {
    const GroupNormInput<T>& x;
    const GroupNormLines<T>& lines;
    Tensor<T> y;
    int n, pixels, channels, per_group;
    std::array<Part<T>, 2> parts;
    T *sum, *center;  ///< of each channel

    Forward(const GroupNormInput<T>& x_, const GroupNormLines<T>& lines_, Tensor<T> y_, int n_,
            Arena& scratch)
        : x(x_),
          lines(lines_),
          y(y_),
          n(n_),
          pixels(pixels_of(x.a.shape())),
          channels(x.channels()),
          per_group(channels / x.groups),
          parts(parts_of<T>(x, {})),
          sum(scratch.template make<T>({channels}).data()),
          center(scratch.template make<T>({channels}).data()) {}

    T mean_of_sums(int g) const {
        T total = 0;
        for (int c = g * per_group; c < (g + 1) * per_group; ++c) total += sum[c];
        return total / static_cast<T>(static_cast<std::ptrdiff_t>(pixels) * per_group);
    }
    void take_means(int first_group, int last_group) const {
        for (int g = first_group; g < last_group; ++g) {
            lines.mean(n, g) = mean_of_sums(g);
            std::fill_n(center + g * per_group, per_group, lines.mean(n, g));
        }
    }
    /// From sums of squares of differences.
    void take_lines(int first_group, int last_group) const {
        for (int g = first_group; g < last_group; ++g) {
            lines.inverse(n, g) = 1 / std::sqrt(mean_of_sums(g) + static_cast<T>(x.eps));
            for (int c = g * per_group; c < (g + 1) * per_group; ++c) {  // (4.5) as a line
                lines.scale(n, c) = lines.inverse(n, g) * x.gain(c);
                lines.shift(n, c) = x.bias(c) - lines.mean(n, g) * lines.scale(n, c);
            }
        }
    }
};

/// An image that stays in the cache: every register of channels goes over all pixels. Cores share
/// the groups.
template <class T>
void forward_by_channels(const Forward<T>& f) {
    using V = typename Simd<T>::Vector;
    in_parts(f.x.groups, 2, [&](int first_group, int last_group) {
        // Everything below is about the channels of these groups.
        const int begin = first_group * f.per_group, end = last_group * f.per_group;
        // Means first, then squares of differences: subtracting two large squares would lose
        // digits.
        for_each_register_of(
            f.parts, begin, end, [&](int c, auto& part, int i, auto load, auto store) {
                const T* in = part.value[f.n].data() + i;
                store(f.sum + c, sum_of_terms<V>(f.pixels, [&, step = part.channels](int p) {
                          return load(in + p * step);
                      }));
            });
        f.take_means(first_group, last_group);
        for_each_register_of(
            f.parts, begin, end, [&](int c, auto& part, int i, auto load, auto store) {
                const T* in = part.value[f.n].data() + i;
                const V middle = load(f.center + c);
                store(f.sum + c, sum_of_terms<V>(f.pixels, [&, step = part.channels](int p) {
                          const V d = load(in + p * step) - middle;
                          return d * d;
                      }));
            });
        f.take_lines(first_group, last_group);
        for_each_register_of(
            f.parts, begin, end, [&](int c, auto& part, int i, auto load, auto store) {
                const V a = load(&f.lines.scale(f.n, c)), b = load(&f.lines.shift(f.n, c));
                const T* in = part.value[f.n].data() + i;
                T* out = f.y[f.n].data() + c;
                for (int p = 0; p < f.pixels; ++p, in += part.channels, out += f.channels) {
                    const V z = a * load(in) + b;
                    store(out, f.x.silu ? silu(z) : z);
                }
            });
    });
}

/// visit(p, c, in, load, store) for all registers of channels of the pixels begin .. end - 1.
template <class T, class Visit>
void for_each_register_of_pixels(const std::array<Part<T>, 2>& parts, int n, std::ptrdiff_t begin,
                                 std::ptrdiff_t end, Visit visit) {
    for (std::ptrdiff_t p = begin; p < end; ++p) {
        for (const Part<T>& part : parts) {
            const T* in = part.value ? part.value[n].data() + p * part.channels : nullptr;
            for_each_register<T>(static_cast<int>(part.channels),
                                 [&](int i, auto load, auto store) {
                                     visit(p, part.first + i, in + i, load, store);
                                 });
        }
    }
}

}  // namespace

std::ptrdiff_t numbers_of_group(const Shape& x, int groups) {
    return static_cast<std::ptrdiff_t>(x[1]) * x[2] * (x[3] / groups);
}

/// The image is read from front to back, twice. Cores share the pixels; their sums are taken in
/// blocks, the same for any number of cores.
template <class T>
void group_norm_lines(const GroupNormInput<T>& x, const GroupNormLines<T>& lines, int n,
                      Arena& scratch) {
    using V = typename Simd<T>::Vector;
    constexpr int kPixels = 256;  // of a block
    Arena::Scope scope(scratch);
    const Forward<T> f(x, lines, {}, n, scratch);
    const int blocks = (f.pixels + kPixels - 1) / kPixels;
    const Tensor<T> sums = scratch.template make<T>({blocks, f.channels});
    const auto add_up = [&](auto term) {
        std::fill(sums.begin(), sums.end(), T(0));
        in_parts(blocks, 1, [&](int first, int last) {
            for (int b = first; b < last; ++b) {
                for_each_register_of_pixels(
                    f.parts, n, b * kPixels, std::min(f.pixels, (b + 1) * kPixels),
                    [&](std::ptrdiff_t, int c, const T* in, auto load, auto store) {
                        T* to = &sums(b, c);
                        store(to, load(to) + term(load(in), c, load));
                    });
            }
        });
        std::copy_n(sums.data(), f.channels, f.sum);
        for (int b = 1; b < blocks; ++b)
            for (int c = 0; c < f.channels; ++c) f.sum[c] += sums(b, c);
    };
    add_up([](V v, int, auto) { return v; });
    f.take_means(0, x.groups);
    add_up([&](V v, int c, auto load) {
        const V d = v - load(f.center + c);
        return d * d;
    });
    f.take_lines(0, x.groups);
}

template <class T>
void group_norm_rows(const GroupNormInput<T>& x, const GroupNormLines<T>& lines, int n, int first,
                     int count, T* to) {
    using V = typename Simd<T>::Vector;
    const int width = x.a.size(2), channels = x.channels();
    const T *scale = lines.scale[n].data(), *shift = lines.shift[n].data();
    const std::ptrdiff_t begin = std::ptrdiff_t{first} * width;
    for_each_register_of_pixels(parts_of<T>(x, {}), n, begin, begin + std::ptrdiff_t{count} * width,
                                [&](std::ptrdiff_t p, int c, const T* in, auto load, auto store) {
                                    const V z = load(scale + c) * load(in) + load(shift + c);
                                    store(to + (p - begin) * channels + c, x.silu ? silu(z) : z);
                                });
}

template <class T>
void group_norm_forward(const GroupNormInput<T>& x, const GroupNormLines<T>& lines, Tensor<T> y,
                        Arena& scratch) {
    const std::ptrdiff_t image = y.numel() / std::max(1, y.size(0));
    for (int n = 0; n < y.size(0); ++n) {
        Arena::Scope scope(scratch);
        if (image > kNumbersInCache && y.size(3) >= 4 * Simd<T>::width) {
            group_norm_lines(x, lines, n, scratch);
            in_parts(y.size(1), 1, [&](int begin, int end) {
                group_norm_rows(x, lines, n, begin, end - begin, y[n][begin].data());
            });
        } else {
            forward_by_channels<T>({x, lines, y, n, scratch});
        }
    }
}

template <class T>
void group_norm_vjp(const GroupNormInput<T>& x, const GroupNormLines<T>& lines, Tensor<T> dy,
                    Tensor<T> y, const GroupNormGradients<T>& to, Arena& scratch) {
    const int images = dy.size(0), pixels = pixels_of(dy.shape()), channels = dy.size(3);
    const int per_group = channels / x.groups;
    const T numbers = static_cast<T>(numbers_of_group(dy.shape(), x.groups));
    const auto parts = parts_of<T>(x, to);
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
                T *out = x.silu ? y[n].data() + c : nullptr, *g = dy[n].data() + c;
                for (int p = 0; p < pixels; ++p, in += part.channels, g += channels) {
                    const V v = load(in);
                    V dz = load(g);
                    if (x.silu) {
                        const V z = a * v + b, s = logistic(z), again = z * s;
                        dz *= s + again * (1 - s);  // (2.6)
                        store(g, dz);
                        store(out, again);
                        out += channels;
                    }
                    total += dz;
                    total_along += dz * (v - middle);
                }
                store(sum + c, total);
                store(along + c, total_along);
            });
        // (4.6) as p dz + q x + r for each channel
        T *q = scratch.template make<T>({channels}).data(),
          *r = scratch.template make<T>({channels}).data();
        for (int group = 0; group < x.groups; ++group) {
            const T inv = lines.inverse(n, group);
            T g_mean = 0, g_along = 0;
            for (int c = group * per_group; c < (group + 1) * per_group; ++c) {
                if (to.gain) to.gain(c) += along[c] * inv;
                if (to.bias) to.bias(c) += sum[c];
                g_mean += x.gain(c) * sum[c] / numbers;
                g_along += x.gain(c) * along[c] * inv / numbers;
            }
            for (int c = group * per_group; c < (group + 1) * per_group; ++c) {
                q[c] = -inv * inv * g_along;
                r[c] = -inv * g_mean - q[c] * center[c];
            }
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

#define DIFFUSION_INSTANTIATE(T)                                                                \
    template void group_norm_forward(const GroupNormInput<T>&, const GroupNormLines<T>&,        \
                                     Tensor<T>, Arena&);                                        \
    template void group_norm_lines(const GroupNormInput<T>&, const GroupNormLines<T>&, int,     \
                                   Arena&);                                                     \
    template void group_norm_rows(const GroupNormInput<T>&, const GroupNormLines<T>&, int, int, \
                                  int, T*);                                                     \
    template void group_norm_vjp(const GroupNormInput<T>&, const GroupNormLines<T>&, Tensor<T>, \
                                 Tensor<T>, const GroupNormGradients<T>&, Arena&);
DIFFUSION_INSTANTIATE(float)
DIFFUSION_INSTANTIATE(double)
#undef DIFFUSION_INSTANTIATE

}  // namespace diffusion
