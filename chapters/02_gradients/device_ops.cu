// Chapter 2's operations on the tape, for numbers on the GPU. Each is what its twin in ops.cpp is,
// with kernels in the place of loops; which gradient goes where is the tape's matter as before.
#include "02_gradients/compare.hpp"
#include "02_gradients/device_ops.hpp"
#include "02_gradients/gradients.hpp"
#include "cuda/reduce.hpp"

namespace diffusion::cuda {
namespace {

struct Fill {
    float* x;
    float value;
    __device__ void operator()(int i) const { x[i] = value; }
};
struct WriteOrAdd {
    float* into;
    float c;
    const float* x;
    bool add;
    __device__ void operator()(int i) const { into[i] = c * x[i] + (add ? into[i] : 0.0f); }
};
struct CountInfinite {
    const float* x;
    int* count;
    __device__ void operator()(int i) const {
        if (!(fabsf(x[i]) < INFINITY)) atomicAdd(count, 1);
    }
};
struct Multiply {
    const float *a, *b;
    float* y;
    bool add;
    __device__ void operator()(int i) const { y[i] = a[i] * b[i] + (add ? y[i] : 0.0f); }
};
struct Sum {
    const float *a, *b;
    float* y;
    __device__ void operator()(int i) const { y[i] = a[i] + b[i]; }
};
struct Rows {
    const float* table;
    const int* ids;
    Divisor columns;
    float* y;
    __device__ void operator()(int i) const {
        y[i] = table[static_cast<std::ptrdiff_t>(ids[i / columns]) * columns + i % columns];
    }
};
/// A thread for each number of the table, which looks through all ids: in their order, so that the
/// sum has the same bits every time.
struct RowsVjp {
    const float* dy;
    const int* ids;
    int count;
    Divisor columns;
    float* dtable;
    __device__ void operator()(int i) const {
        const int row = i / columns, column = i % columns;
        float sum = 0;
        for (int n = 0; n < count; ++n) {
            if (ids[n] == row) sum += dy[static_cast<std::ptrdiff_t>(n) * columns + column];
        }
        dtable[i] += sum;  // (2.25)
    }
};
struct Silu {
    const float* x;
    float* y;
    __device__ void operator()(int i) const { y[i] = x[i] * logistic(x[i]); }
};
struct SiluVjp {
    const float *x, *dy;
    float* dx;
    bool add;
    __device__ void operator()(int i) const {
        const float s = logistic(x[i]), y = x[i] * s;
        dx[i] = silu_slope(s, y) * dy[i] + (add ? dx[i] : 0.0f);  // (2.6)
    }
};
struct AddRow {
    const float* b;
    Divisor columns;
    float* y;
    __device__ void operator()(int i) const { y[i] += b[i % columns]; }
};
struct Difference {
    const float *a, *b;
    float* d;
    __device__ void operator()(int i) const { d[i] = a[i] - b[i]; }
};
struct MseVjp {
    const float *a, *b, *dy;
    float factor;
    float* dx;
    bool add;
    __device__ void operator()(int i) const {
        dx[i] = factor * *dy * (a[i] - b[i]) + (add ? dx[i] : 0.0f);  // (2.13)
    }
};
struct Scale {
    float c;
    float* x;
    __device__ void operator()(int) const { *x *= c; }
};

}  // namespace

Precision& precision() {
    static Precision now = Precision::fp32;
    return now;
}

void fill(Tensor<Float> x, Float value) {
    for_each_number(x.numel(), Fill{raw(x), value.value});
}
void write_or_add(Tensor<Float> into, Float c, Tensor<Float> x, bool add) {
    for_each_number(into.numel(), WriteOrAdd{raw(into), c.value, raw(x), add});
}
bool all_finite(Tensor<Float> x) {
    const Buffer<int> count(1);
    const int zero = 0;
    copy_bytes(count.data(), &zero, sizeof zero);
    for_each_number(x.numel(), CountInfinite{raw(x), count.data()});
    return count.download()[0] == 0;
}

}  // namespace diffusion::cuda

namespace diffusion {

using cuda::Float;
using cuda::raw;

template <>
Var<Float> add(Var<Float> a, Var<Float> b) {
    require_same_shape("add", a.value(), b.value());
    const Var<Float> y = a.tape().result(a.shape(), a, b);
    cuda::for_each_number(y.value().numel(),
                          cuda::Sum{raw(a.value()), raw(b.value()), raw(y.value())});
    a.tape().record(y, [a, b, y] {
        if (a.needs_grad()) a.add_to_grad(y.grad(), Float(1));
        if (b.needs_grad()) b.add_to_grad(y.grad(), Float(1));
    });
    return y;
}

template <>
Var<Float> embedding(Var<Float> table, std::span<const int> ids) {
    require(table.shape().rank == 2, "embedding: the table is ", table.shape(),
            ", expected [rows,channels]");
    const int count = static_cast<int>(ids.size()), columns = table.size(1);
    const Var<Float> y = table.tape().result({count, columns}, table);
    cuda::for_each_number(y.value().numel(),
                          cuda::Rows{raw(table.value()), ids.data(), columns, raw(y.value())});
    table.tape().record(y, [=] {
        cuda::for_each_number(table.value().numel(), cuda::RowsVjp{raw(y.grad()), ids.data(), count,
                                                                   columns, raw(table.grad())});
    });
    return y;
}

template <>
Var<Float> mul(Var<Float> a, Var<Float> b) {
    require_same_shape("mul", a.value(), b.value());
    const Var<Float> y = a.tape().result(a.shape(), a, b);
    cuda::for_each_number(y.value().numel(),
                          cuda::Multiply{raw(a.value()), raw(b.value()), raw(y.value()), false});
    a.tape().record(y, [a, b, y] {
        const auto pass = [&](Var<Float> to, Var<Float> other) {
            if (!to.needs_grad()) return;
            bool add = true;
            float* dx = raw(to.grad_or_room(add));
            cuda::for_each_number(y.value().numel(),
                                  cuda::Multiply{raw(other.value()), raw(y.grad()), dx, add});
        };
        pass(a, b);
        pass(b, a);
    });
    return y;
}

template <>
Var<Float> silu(Var<Float> x) {
    const Var<Float> y = x.tape().result(x.shape(), x);
    cuda::for_each_number(x.value().numel(), cuda::Silu{raw(x.value()), raw(y.value())});
    x.tape().record(y, [x, y] {
        bool add = true;
        float* dx = raw(x.grad_or_room(add));
        cuda::for_each_number(x.value().numel(),
                              cuda::SiluVjp{raw(x.value()), raw(y.grad()), dx, add});
    });
    return y;
}

template <>
Var<Float> reshape(Var<Float> x, Shape shape) {
    const Var<Float> y = x.tape().alias(x, x.value().reshape(shape));
    x.tape().record(y, [x, y] { x.add_to_grad(y.grad().reshape(x.shape())); });
    return y;
}

template <>
Var<Float> linear(Var<Float> x, Var<Float> weight, Var<Float> bias) {
    const Tensor<Float> in = x.value().rows();
    require(weight.shape().rank == 2 && weight.size(0) == in.size(1), "linear: x is ", x.shape(),
            ", weight is ", weight.shape(), ", expected [", in.size(1), ",out]");
    const int rows = in.size(0), inputs = in.size(1), outputs = weight.size(1);
    require(!bias || bias.shape() == Shape{outputs}, "linear: bias is ",
            bias ? bias.shape() : Shape{}, ", expected [", outputs, "]");
    Shape shape = x.shape();
    shape.n[static_cast<std::size_t>(shape.rank - 1)] = outputs;
    const Var<Float> y = x.tape().result(shape, x, weight, bias);
    using cuda::ByColumns;
    using cuda::ByRows;
    using cuda::Plain;
    Arena& scratch = x.tape().scratch();
    cuda::product_of_any_shape(cuda::precision(), ByRows(raw(in), inputs, rows, inputs),
                               ByColumns(raw(weight.value()), outputs, outputs, inputs),
                               Plain{raw(y.value()), outputs, false}, rows, outputs, inputs,
                               scratch);  // (2.8)
    if (bias)
        cuda::for_each_number(y.value().numel(),
                              cuda::AddRow{raw(bias.value()), outputs, raw(y.value())});
    x.tape().record(y, [=] {
        const float* dy = raw(y.grad());
        if (x.needs_grad()) {  // (2.9) dX = dY W^T
            bool add = true;
            float* dx = raw(x.grad_or_room(add));
            cuda::product_of_any_shape(cuda::precision(), ByRows(dy, outputs, rows, outputs),
                                       ByRows(raw(weight.value()), outputs, inputs, outputs),
                                       Plain{dx, inputs, add}, rows, inputs, outputs,
                                       x.tape().scratch());
        }
        if (weight.needs_grad()) {  // (2.9) dW = X^T dY
            cuda::product(cuda::precision(), ByColumns(raw(x.value()), inputs, inputs, rows),
                          ByColumns(dy, outputs, outputs, rows),
                          Plain{raw(weight.grad()), outputs, true}, inputs, outputs, rows);
        }
        if (bias.needs_grad())
            cuda::add_column_sums(dy, rows, outputs, raw(bias.grad()),
                                  x.tape().scratch());  // (2.7)
    });
    return y;
}

template <>
Var<Float> mse(Var<Float> x, Var<Float> target) {
    require_same_shape("mse", x.value(), target.value());
    const Var<Float> y = x.tape().result({1}, x, target);
    const std::ptrdiff_t n = x.value().numel();
    {
        Arena::Scope scope(x.tape().scratch());
        float* d = raw(x.tape().scratch().make<Float>(x.shape()));
        cuda::for_each_number(n, cuda::Difference{raw(x.value()), raw(target.value()), d});
        cuda::sum_of_squares(d, n, raw(y.value()));
        cuda::for_each_number(1, cuda::Scale{1.0f / static_cast<float>(n), raw(y.value())});
    }
    x.tape().record(y, [=] {
        const auto pass = [&](Var<Float> to, Var<Float> a, Var<Float> b) {
            if (!to.needs_grad()) return;
            bool add = true;
            float* dx = raw(to.grad_or_room(add));
            cuda::for_each_number(n, cuda::MseVjp{raw(a.value()), raw(b.value()), raw(y.grad()),
                                                  2.0f / static_cast<float>(n), dx, add});
        };
        pass(x, x, target);
        pass(target, target, x);
    });
    return y;
}

namespace cuda {
namespace {

// ---- The checks against the CPU's code.
}  // namespace

void operations_stage(Stage& s) {
    compare_on_tapes(s, "mul", {{7, 5}, {7, 5}}, 1e-6,
                     [](const auto& v) { return mul(v[0], v[1]); });
    compare_on_tapes(s, "silu", {{7, 5}}, 1e-6, [](const auto& v) { return silu(v[0]); });
    compare_on_tapes(s, "reshape", {{6, 4}}, 0, [](const auto& v) {
        return reshape(v[0], Shape{3, 8});
    });
    compare_on_tapes(s, "linear", {{2, 3, 7}, {7, 5}, {5}}, 1e-6,
                     [](const auto& v) { return linear(v[0], v[1], v[2]); });
    compare_on_tapes(s, "linear without a bias", {{2, 3, 7}, {7, 5}}, 1e-6,
                     [](const auto& v) { return linear(v[0], v[1]); });
    for (const auto& [in, out] : {std::pair(600, 5), std::pair(5, 600)}) {  // y's, then dx's
        compare_on_tapes(s, "linear, sums of 600 in parts", {{2, 3, in}, {in, out}, {out}}, 2e-5,
                         [](const auto& v) { return linear(v[0], v[1], v[2]); });
    }
    compare_on_tapes(s, "mean squared error", {{3, 4}, {3, 4}}, 1e-6,
                     [](const auto& v) { return mse(v[0], v[1]); });
}

}  // namespace cuda
}  // namespace diffusion
