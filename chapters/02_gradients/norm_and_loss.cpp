// Operations that couple the elements of a row (softmax, norms) and those that end in one number
// (losses).
#include <algorithm>
#include <cmath>
#include <cstddef>

#include "02_gradients/ops.hpp"
#include "kernels/rows.hpp"
#include "kernels/threads.hpp"

namespace diffusion {
namespace {

/// y_i = exp(x_i - max) / sum. Subtracting the maximum changes nothing in exact arithmetic and
/// avoids overflow.
template <class T>
void softmax_row(const T* x, T* y, int n) {
    const T largest = largest_of(x, n);
    exp_of_differences(x, largest, y, n);
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < n; ++i) sum += y[i];
    const T factor = 1 / sum;
#pragma omp simd
    for (int i = 0; i < n; ++i) y[i] *= factor;
}

/// Rows that one core takes at a time.
constexpr int kRowsOfPart = 16;

/// row(r, dgain, dbias) for all rows; what it adds to dgain and dbias reaches the gradients of the
/// two. Rows are summed up in groups, and then the groups, always in the same order: a sum does not
/// depend on the cores.
template <class T, class Row>
void sum_over_rows(int rows, Var<T> gain, Var<T> bias, Arena& scratch, Row row) {
    Arena::Scope scope(scratch);
    constexpr int kGroup = 64;
    const int groups = (rows + kGroup - 1) / kGroup, n = gain.size(0);
    const Tensor<T> sums = scratch.template zeros<T>({groups, 2, n});
    in_parts(groups, 1, [&](int begin, int end) {
        for (int r = begin * kGroup; r < std::min(rows, end * kGroup); ++r)
            row(r, sums[r / kGroup][0].data(), sums[r / kGroup][1].data());
    });
    for (int g = 0; g < groups; ++g) {
        if (gain.needs_grad()) write_or_add(gain.grad(), T(1), sums[g][0], true);
        if (bias.needs_grad()) write_or_add(bias.grad(), T(1), sums[g][1], true);
    }
}

/// Where a gradient is to be added; nullptr if it is not wanted.
template <class T>
T* wanted_gradient(Var<T> x) {
    return x.needs_grad() ? x.grad().data() : nullptr;
}

template <class T>
void require_channels(const char* operation, Var<T> x, Var<T> per_channel) {
    require(per_channel.shape() == Shape{x.shape().back()}, operation, ": x ends in ",
            x.shape().back(), " channels, got parameters of shape ", per_channel.shape());
}

}  // namespace

template <class T>
Var<T> softmax(Var<T> x) {
    Var<T> y = x.tape().result(x.shape(), x);
    const Tensor<T> in = x.value().rows(), out = y.value().rows();
    const int n = in.size(1);
    for (int r = 0; r < in.size(0); ++r) softmax_row(in[r].data(), out[r].data(), n);
    x.tape().record(y, [x, y, out, n] {
        const Tensor<T> dy = y.grad().rows(), dx = x.grad().rows();
        for (int r = 0; r < out.size(0); ++r) {  // (2.10) dx = y (dy - <dy, y>)
            // >>> exercise 2.4 points=2 hint="(2.10): subtract the weighted mean, then weight"
            const T *p = out[r].data(), *g = dy[r].data(), mean = dot(g, p, n);
            T* d = dx[r].data();
#pragma omp simd
            for (int i = 0; i < n; ++i) d[i] += p[i] * (g[i] - mean);
            // <<<
        }
    });
    return y;
}

template <class T>
Var<T> layer_norm(Var<T> x, Var<T> gain, Var<T> bias, T eps) {
    require_channels("layer_norm", x, gain);
    require_channels("layer_norm", x, bias);
    Var<T> y = x.tape().result(x.shape(), x, gain, bias);
    const Tensor<T> in = x.value().rows(), out = y.value().rows();
    const int rows = in.size(0), n = in.size(1);
    Arena& arena = x.tape().arena();
    const Tensor<T> means = arena.template make<T>({rows}),
                    inverse = arena.template make<T>({rows});  // 1 / deviation
    const T *scale = gain.value().data(), *shift = bias.value().data();
    in_parts(rows, kRowsOfPart, [&](int begin, int end) {
        for (int r = begin; r < end; ++r) {
            const T* v = in[r].data();
            T* to = out[r].data();
            T mean = 0, variance = 0;
#pragma omp simd reduction(+ : mean)
            for (int i = 0; i < n; ++i) mean += v[i];
            mean = means(r) = mean / static_cast<T>(n);
#pragma omp simd reduction(+ : variance)
            for (int i = 0; i < n; ++i) variance += (v[i] - mean) * (v[i] - mean);
            const T inv = inverse(r) = 1 / std::sqrt(variance / static_cast<T>(n) + eps);
#pragma omp simd
            for (int i = 0; i < n; ++i) to[i] = (v[i] - mean) * inv * scale[i] + shift[i];
        }
    });
    x.tape().record(y, [=] {
        const Tensor<T> dys = y.grad().rows(), dxs = x.needs_grad() ? x.grad().rows() : Tensor<T>();
        sum_over_rows<T>(rows, gain, bias, x.tape().scratch(), [=](int r, T* dgain, T* dbias) {
            const T *dy = dys[r].data(), *v = in[r].data(), middle = means(r), inv = inverse(r);
            T mean = 0,
              along = 0;  // of g = gain dy: its mean, and its component along the normalised row
#pragma omp simd reduction(+ : mean, along)
            for (int i = 0; i < n; ++i) {
                const T g = scale[i] * dy[i];
                mean += g;
                along += g * (v[i] - middle) * inv;
            }
            mean /= static_cast<T>(n);
            along /= static_cast<T>(n);
#pragma omp simd
            for (int i = 0; i < n; ++i) {
                dgain[i] += dy[i] * (v[i] - middle) * inv;
                dbias[i] += dy[i];
            }
            if (!dxs) return;
            T* dx = dxs[r].data();
#pragma omp simd
            for (int i = 0; i < n; ++i) {
                const T g = scale[i] * dy[i], normal = (v[i] - middle) * inv;
                dx[i] += inv * (g - mean - normal * along);  // (2.11)
            }
        });
    });
    return y;
}

template <class T>
Var<T> rms_norm(Var<T> x, Var<T> gain, T eps) {
    require_channels("rms_norm", x, gain);
    Var<T> y = x.tape().result(x.shape(), x, gain);
    const Tensor<T> in = x.value().rows(), out = y.value().rows();
    const int rows = in.size(0), n = in.size(1);
    const Tensor<T> inverse = x.tape().arena().template make<T>({rows});
    const T* scale = gain.value().data();
    for (int r = 0; r < rows; ++r) {
        const T *v = in[r].data(), square = dot(v, v, n) / static_cast<T>(n);
        const T inv = inverse(r) = 1 / std::sqrt(square + eps);
        T* to = out[r].data();
#pragma omp simd
        for (int i = 0; i < n; ++i) to[i] = v[i] * inv * scale[i];
    }
    x.tape().record(y, [=] {
        T *dgain = wanted_gradient(gain), *dx = wanted_gradient(x);
        for (int r = 0; r < rows; ++r) {
            const T *dy = y.grad().rows()[r].data(), *v = in[r].data(), inv = inverse(r);
            T along = 0;
#pragma omp simd reduction(+ : along)
            for (int i = 0; i < n; ++i) along += scale[i] * dy[i] * v[i];
            along *= inv / static_cast<T>(n);
            if (dgain != nullptr) {
#pragma omp simd
                for (int i = 0; i < n; ++i) dgain[i] += dy[i] * v[i] * inv;
            }
            if (dx == nullptr) continue;
#pragma omp simd
            for (int i = 0; i < n; ++i) {
                const T g = scale[i] * dy[i];  // (2.12)
                dx[i] += inv * (g - v[i] * inv * along);
            }
            dx += n;
        }
    });
    return y;
}

template <class T>
Var<T> mse(Var<T> x, Var<T> target) {
    require_same_shape("mse", x.value(), target.value());
    Var<T> y = x.tape().result({1}, x, target);
    const std::ptrdiff_t n = x.value().numel();
    const T *a = x.value().data(), *b = target.value().data();
    double sum = 0;  // in double: there may be millions
#pragma omp simd reduction(+ : sum)
    for (std::ptrdiff_t i = 0; i < n; ++i) {
        const double d = static_cast<double>(a[i] - b[i]);
        sum += d * d;
    }
    y.value()(0) = static_cast<T>(sum / static_cast<double>(n));
    x.tape().record(y, [=] {
        const T factor = 2 * y.grad()(0) / static_cast<T>(n);  // (2.13)
        for (std::ptrdiff_t i = 0; i < n; ++i) {
            if (x.needs_grad()) x.grad().data()[i] += factor * (a[i] - b[i]);
            if (target.needs_grad()) target.grad().data()[i] -= factor * (a[i] - b[i]);
        }
    });
    return y;
}

template <class T>
Var<T> cross_entropy(Var<T> x, std::span<const int> labels) {
    require(x.shape().rank == 2 && static_cast<std::size_t>(x.size(0)) == labels.size(),
            "cross_entropy: x is ", x.shape(), ", expected [", labels.size(), ",classes]");
    const int rows = x.size(0), classes = x.size(1);
    Var<T> y = x.tape().result({1}, x);
    const Tensor<T> difference = x.tape().arena().template make<T>(x.shape());  // softmax - one-hot
    double sum = 0;
    for (int r = 0; r < rows; ++r) {
        const int label = labels[static_cast<std::size_t>(r)];
        require(label >= 0 && label < classes, "cross_entropy: label ", label, " in row ", r,
                " is not in 0..", classes - 1);
        const T* row = x.value()[r].data();
        const T largest = *std::max_element(row, row + classes);
        double total = 0;
        for (int i = 0; i < classes; ++i) total += static_cast<double>(std::exp(row[i] - largest));
        sum += std::log(total) +  // at least log 1
               static_cast<double>(largest - row[label]);
        softmax_row(row, difference[r].data(), classes);
        difference(r, label) -= 1;
    }
    y.value()(0) = static_cast<T>(sum / rows);
    x.tape().record(y, [=] {
        const T factor = y.grad()(0) / static_cast<T>(rows);  // (2.14)
        for (std::ptrdiff_t i = 0; i < x.value().numel(); ++i) {
            x.grad().data()[i] += factor * difference.data()[i];
        }
    });
    return y;
}

#define DIFFUSION_INSTANTIATE(T)                           \
    template Var<T> softmax(Var<T>);                       \
    template Var<T> layer_norm(Var<T>, Var<T>, Var<T>, T); \
    template Var<T> rms_norm(Var<T>, Var<T>, T);           \
    template Var<T> mse(Var<T>, Var<T>);                   \
    template Var<T> cross_entropy(Var<T>, std::span<const int>);
DIFFUSION_INSTANTIATE(float)
DIFFUSION_INSTANTIATE(double)
#undef DIFFUSION_INSTANTIATE

}  // namespace diffusion
