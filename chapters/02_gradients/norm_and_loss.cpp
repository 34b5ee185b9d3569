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

/// The mean of f(a_i, b_i, ..) over a row, or over several side by side.
template <class F, class T, class... Rows>
T mean_over(int n, F f, const T* a, const Rows*... more) {
    return sum_over<T>(n, f, a, more...) / static_cast<T>(n);
}

/// Rows that one core takes at a time.
constexpr int kRowsOfPart = 16;

/// What scales or shifts the rows of x: `given` [C], the same for all rows, or [N,C], one line for
/// each of the N parts of x [N,..,C]; or none, which is `otherwise` everywhere.
template <class T>
struct Lines {
    Var<T> given;
    Tensor<T> values;  // [1 or N, C]
    int rows;          // of x for each line

    Lines(const char* operation, Var<T> x, Var<T> given_, T otherwise) : given(given_) {
        const int channels = x.shape().back(),
                  count = given && given.shape().rank == 2 ? given.size(0) : 1;
        const Shape line{channels}, lines{x.size(0), channels};
        require(!given || given.shape() == line || given.shape() == lines, operation,
                ": x ends in ", channels, " channels, got parameters of shape ",
                given ? given.shape() : Shape{});
        values = given ? given.value().reshape({count, channels}) : x.tape().aside({1, channels});
        if (!given) fill(values, otherwise);
        rows = std::max(1, x.value().rows().size(0) / count);
    }
    const T* of(int row) const { return values[row / rows].data(); }
};

/// back(r, dgain, dbias) for all rows; what it adds to dgain and dbias reaches the gradients of
/// what scaled and shifted the row. Rows are summed up in groups, and then the groups, always in
/// the same order: a sum does not depend on the cores.
template <class T, class Back>
void sum_over_rows(int rows, const Lines<T>& gain, const Lines<T>& bias, Arena& scratch,
                   Back back) {
    Arena::Scope scope(scratch);
    constexpr int kGroup = 64;
    const int line = std::min(gain.rows, bias.rows), groups_of_line = (line + kGroup - 1) / kGroup,
              groups = rows / line * groups_of_line;
    const Tensor<T> sums = scratch.template zeros<T>({groups, 2, gain.values.size(1)});
    const auto first_row = [=](int group) {
        return group / groups_of_line * line + std::min(line, group % groups_of_line * kGroup);
    };
    in_parts(groups, 1, [&](int begin, int end) {
        for (int g = begin; g < end; ++g) {
            const int last = g + 1 < groups ? first_row(g + 1) : rows;
            for (int r = first_row(g); r < last; ++r) back(r, sums[g][0].data(), sums[g][1].data());
        }
    });
    const auto add = [&](const Lines<T>& to, int part) {
        if (!to.given.needs_grad()) return;
        const Tensor<T> grad = to.given.grad().reshape(to.values.shape());
        for (int g = 0; g < groups; ++g)
            write_or_add(grad[first_row(g) / to.rows], T(1), sums[g][part], true);
    };
    add(gain, 0), add(bias, 1);
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
    const Lines<T> scales("layer_norm", x, gain, 1), shifts("layer_norm", x, bias, 0);
    const Var<T> y = x.tape().result(x.shape(), x, gain, bias);
    const Tensor<T> in = x.value().rows(), out = y.value().rows();
    const int rows = in.size(0), n = in.size(1);
    const Tensor<T> means = x.tape().aside({rows}),
                    inverse = x.tape().aside({rows});  // 1 / deviation
    in_parts(rows, kRowsOfPart, [&](int begin, int end) {
        for (int r = begin; r < end; ++r) {
            const T *v = in[r].data(), *scale = scales.of(r), *shift = shifts.of(r);
            T* to = out[r].data();
            const T mean = means(r) = mean_over(
                n, [](auto a) { return a; }, v);
            const auto square = [=](auto a) { return (a - mean) * (a - mean); };
            const T inv = inverse(r) = 1 / std::sqrt(mean_over(n, square, v) + eps);
#pragma omp simd
            for (int i = 0; i < n; ++i) to[i] = (v[i] - mean) * inv * scale[i] + shift[i];
        }
    });
    x.tape().record(y, [=] {
        bool add = true;
        const Tensor<T> dys = y.grad().rows(),
                        dxs = x.needs_grad() ? x.grad_or_room(add).rows() : Tensor<T>();
        sum_over_rows<T>(rows, scales, shifts, x.tape().scratch(), [=](int r, T* dgain, T* dbias) {
            const T *dy = dys[r].data(), *v = in[r].data(), *scale = scales.of(r);
            const T middle = means(r), inv = inverse(r);
#pragma omp simd
            for (int i = 0; i < n; ++i) {
                dgain[i] += dy[i] * (v[i] - middle) * inv;
                dbias[i] += dy[i];
            }
            if (!dxs) return;
            // Of g = scale dy: its mean, and its component along the normalised row.
            const auto times = [](auto s, auto d) { return s * d; };
            const auto share = [=](auto s, auto d, auto a) { return s * d * (a - middle) * inv; };
            const T mean = mean_over(n, times, scale, dy),
                    along = mean_over(n, share, scale, dy, v);
            T* dx = dxs[r].data();
            const auto slope = [=](int i) {
                const T g = scale[i] * dy[i], normal = (v[i] - middle) * inv;
                return inv * (g - mean - normal * along);  // (2.11)
            };
#pragma omp simd
            for (int i = 0; i < n; ++i) dx[i] = add ? dx[i] + slope(i) : slope(i);
        });
    });
    return y;
}

template <class T>
Var<T> rms_norm(Var<T> x, Var<T> gain, T eps) {
    const Lines<T> scales("rms_norm", x, gain, 1), none("rms_norm", x, {}, 0);
    const Var<T> y = x.tape().result(x.shape(), x, gain);
    const Tensor<T> in = x.value().rows(), out = y.value().rows();
    const int rows = in.size(0), n = in.size(1);
    const Tensor<T> inverse = x.tape().aside({rows});
    in_parts(rows, kRowsOfPart, [&](int begin, int end) {
        for (int r = begin; r < end; ++r) {
            const T *v = in[r].data(), *scale = scales.of(r);
            const auto square = [](auto a) { return a * a; };
            const T inv = inverse(r) = 1 / std::sqrt(mean_over(n, square, v) + eps);
            T* to = out[r].data();
#pragma omp simd
            for (int i = 0; i < n; ++i) to[i] = v[i] * inv * scale[i];
        }
    });
    x.tape().record(y, [=] {
        bool add = true;
        const Tensor<T> dys = y.grad().rows(),
                        dxs = x.needs_grad() ? x.grad_or_room(add).rows() : Tensor<T>();
        sum_over_rows<T>(rows, scales, none, x.tape().scratch(), [=](int r, T* dgain, T*) {
            const T *dy = dys[r].data(), *v = in[r].data(), *scale = scales.of(r);
            const T inv = inverse(r);
#pragma omp simd
            for (int i = 0; i < n; ++i) dgain[i] += dy[i] * v[i] * inv;
            if (!dxs) return;
            const auto share = [=](auto s, auto d, auto a) { return s * d * a * inv; };
            const T along = mean_over(n, share, scale, dy, v);
            T* dx = dxs[r].data();
            const auto slope = [=](int i) {
                const T g = scale[i] * dy[i];  // (2.12)
                return inv * (g - v[i] * inv * along);
            };
#pragma omp simd
            for (int i = 0; i < n; ++i) dx[i] = add ? dx[i] + slope(i) : slope(i);
        });
    });
    return y;
}

template <class T>
Var<T> add_gated(Var<T> x, Var<T> gate, Var<T> f) {
    require_same_shape("add_gated", x.value(), f.value());
    const Lines<T> gates("add_gated", x, gate, 1), none("add_gated", x, {}, 0);
    const Var<T> y = x.tape().result(x.shape(), x, gate, f);
    const Tensor<T> in = x.value().rows(), added = f.value().rows(), out = y.value().rows();
    const int rows = in.size(0), n = in.size(1);
    in_parts(rows, kRowsOfPart, [&](int begin, int end) {
        for (int r = begin; r < end; ++r) {
            const T *a = in[r].data(), *b = added[r].data(), *g = gates.of(r);
            T* to = out[r].data();
#pragma omp simd
            for (int i = 0; i < n; ++i) to[i] = a[i] + g[i] * b[i];
        }
    });
    x.tape().record(y, [=] {
        if (x.needs_grad()) x.add_to_grad(y.grad());
        bool add = true;
        const Tensor<T> dys = y.grad().rows(),
                        dfs = f.needs_grad() ? f.grad_or_room(add).rows() : Tensor<T>();
        sum_over_rows<T>(rows, gates, none, x.tape().scratch(), [=](int r, T* dgate, T*) {
            const T *dy = dys[r].data(), *b = added[r].data(), *g = gates.of(r);
#pragma omp simd
            for (int i = 0; i < n; ++i) dgate[i] += dy[i] * b[i];
            if (!dfs) return;
            T* df = dfs[r].data();
#pragma omp simd
            for (int i = 0; i < n; ++i) df[i] = add ? df[i] + g[i] * dy[i] : g[i] * dy[i];
        });
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
    const Tensor<T> difference = x.tape().aside(x.shape());  // softmax - one-hot
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
    template Var<T> add_gated(Var<T>, Var<T>, Var<T>);     \
    template Var<T> mse(Var<T>, Var<T>);                   \
    template Var<T> cross_entropy(Var<T>, std::span<const int>);
DIFFUSION_INSTANTIATE(float)
DIFFUSION_INSTANTIATE(double)
#undef DIFFUSION_INSTANTIATE

}  // namespace diffusion
