#include <algorithm>
#include <cmath>

#include "04_unet/image_ops.hpp"
#include "kernels/exp.hpp"

namespace diffusion {
namespace {

template <class T>
T logistic(T x) {
    return T(1) / (T(1) + fast_exp(-x));
}

/// y_c = scale_c x_c + shift_c, then SiLU if asked, for all pixels of one image.
template <class T>
void affine(Tensor<T> x, const T* scale, const T* shift, bool silu, Tensor<T> y) {
    const int channels = x.size(1);
    for (int p = 0; p < x.size(0); ++p) {
        const T* in = x[p].data();
        T* out = y[p].data();
        if (silu) {
#pragma omp simd
            for (int c = 0; c < channels; ++c) {
                const T z = in[c] * scale[c] + shift[c];
                out[c] = z * logistic(z);
            }
        } else {
#pragma omp simd
            for (int c = 0; c < channels; ++c) out[c] = in[c] * scale[c] + shift[c];
        }
    }
}

}  // namespace

template <class T>
Var<T> group_norm(Var<T> x, Var<T> gain, Var<T> bias, int groups, bool silu, T eps) {
    const int channels = x.shape().back();
    require(x.shape().rank == 4 && groups > 0 && channels % groups == 0, "group_norm: ", x.shape(),
            " in ", groups, " groups");
    require(gain.shape() == Shape{channels} && bias.shape() == Shape{channels},
            "group_norm: x ends in ", channels, " channels, gain is ", gain.shape(), ", bias is ",
            bias.shape());
    Arena &arena = x.tape().arena(), &scratch = x.tape().scratch();
    const int images = x.size(0), pixels = x.size(1) * x.size(2), per_group = channels / groups;
    const T count = static_cast<T>(pixels * per_group);
    Var<T> y = x.tape().result(x.shape(), x, gain, bias);
    // Normalising and then scaling is one line per channel: y = scale x + shift.
    const Tensor<T> scale = arena.template make<T>({images, channels}),
                    shift = arena.template make<T>({images, channels});
    const Tensor<T> mean = arena.template make<T>({images, groups}),
                    inverse = arena.template make<T>({images, groups});
    for (int n = 0; n < images; ++n) {
        Arena::Scope scope(scratch);
        const Tensor<T> in = x.value()[n].reshape({pixels, channels}),
                        out = y.value()[n].reshape({pixels, channels});
        // Means first, then squares of differences: subtracting two large squares would lose
        // digits.
        T* sum = scratch.template zeros<T>({channels}).data();
        for (int p = 0; p < pixels; ++p) {
            const T* row = in[p].data();
#pragma omp simd
            for (int c = 0; c < channels; ++c) sum[c] += row[c];
        }
        T *group_mean = mean[n].data(), *center = scratch.template make<T>({channels}).data();
        for (int g = 0; g < groups; ++g) {
            T total = 0;
            for (int c = g * per_group; c < (g + 1) * per_group; ++c) total += sum[c];
            group_mean[g] = total / count;
            std::fill_n(center + g * per_group, per_group, group_mean[g]);
        }
        std::fill_n(sum, channels, T(0));
        for (int p = 0; p < pixels; ++p) {
            const T* row = in[p].data();
#pragma omp simd
            for (int c = 0; c < channels; ++c)
                sum[c] += (row[c] - center[c]) * (row[c] - center[c]);
        }
        for (int g = 0; g < groups; ++g) {
            T total = 0;
            for (int c = g * per_group; c < (g + 1) * per_group; ++c) total += sum[c];
            inverse(n, g) = 1 / std::sqrt(total / count + eps);
            for (int c = g * per_group; c < (g + 1) * per_group; ++c) {  // (4.5)
                scale(n, c) = inverse(n, g) * gain.value()(c);
                shift(n, c) = bias.value()(c) - mean(n, g) * scale(n, c);
            }
        }
        affine(in, scale[n].data(), shift[n].data(), silu, out);
    }
    x.tape().record(y, [=, &scratch] {
        for (int n = 0; n < images; ++n) {
            Arena::Scope scope(scratch);
            const Shape flat{pixels, channels};
            const Tensor<T> in = x.value()[n].reshape(flat), dy = y.grad()[n].reshape(flat);
            const Tensor<T> dz = scratch.template make<T>(flat);  // gradient before SiLU
            const T *a = scale[n].data(), *b = shift[n].data();
            T *sum = scratch.template zeros<T>({channels}).data(),
              *along = scratch.template zeros<T>({channels}).data();
            T* center = scratch.template make<T>({channels}).data();
            for (int c = 0; c < channels; ++c) center[c] = mean(n, c / per_group);
            for (int p = 0; p < pixels; ++p) {
                const T *xs = in[p].data(), *dys = dy[p].data();
                T* dzs = dz[p].data();
                if (silu) {
#pragma omp simd
                    for (int c = 0; c < channels; ++c) {
                        const T z = xs[c] * a[c] + b[c], s = logistic(z);
                        dzs[c] = dys[c] * (s + z * s * (1 - s));
                    }
                } else {
                    std::copy_n(dys, channels, dzs);
                }
#pragma omp simd
                for (int c = 0; c < channels; ++c) {
                    sum[c] += dzs[c];
                    along[c] += dzs[c] * (xs[c] - center[c]);
                }
            }
            // (4.6) dx = inverse (g - mean(g) - normal mean(g normal)) with g = gain dz, as p dz +
            // q x + r for each channel
            T *q = scratch.template make<T>({channels}).data(),
              *r = scratch.template make<T>({channels}).data();
            for (int group = 0; group < groups; ++group) {
                const T inv = inverse(n, group);
                T g_mean = 0, g_along = 0;
                for (int c = group * per_group; c < (group + 1) * per_group; ++c) {
                    if (gain.needs_grad()) gain.grad()(c) += along[c] * inv;
                    if (bias.needs_grad()) bias.grad()(c) += sum[c];
                    g_mean += gain.value()(c) * sum[c] / count;
                    g_along += gain.value()(c) * along[c] * inv / count;
                }
                for (int c = group * per_group; c < (group + 1) * per_group; ++c) {
                    q[c] = -inv * inv * g_along;
                    r[c] = -inv * g_mean - q[c] * center[c];
                }
            }
            if (!x.needs_grad()) continue;
            const Tensor<T> dx = x.grad()[n].reshape(flat);
            for (int p = 0; p < pixels; ++p) {
                const T *xs = in[p].data(), *dzs = dz[p].data();
                T* dxs = dx[p].data();
#pragma omp simd
                for (int c = 0; c < channels; ++c) dxs[c] += a[c] * dzs[c] + q[c] * xs[c] + r[c];
            }
        }
    });
    return y;
}

template Var<float> group_norm(Var<float>, Var<float>, Var<float>, int, bool, float);
template Var<double> group_norm(Var<double>, Var<double>, Var<double>, int, bool, double);

}  // namespace diffusion
