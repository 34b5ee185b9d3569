#include "04_unet/image_ops.hpp"

#include <algorithm>

#include "kernels/conv.hpp"
#include "kernels/simd.hpp"

namespace diffusion {
namespace {

/// to[i] += from[i]
template <class T>
void accumulate(T* to, const T* from, std::ptrdiff_t n) {
#pragma omp simd
    for (std::ptrdiff_t i = 0; i < n; ++i) to[i] += from[i];
}

}  // namespace

template <class T>
Var<T> conv2d(Var<T> x, Var<T> weight, Var<T> bias, int stride) {
    Var<T> y = x.tape().result(conv2d_shape(x.shape(), weight.shape(), stride), x, weight, bias);
    require(bias.shape() == Shape{y.size(3)}, "conv2d: bias is ", bias.shape(), ", expected [",
            y.size(3), "]");
    conv2d<T>(x.value(), weight.value(), stride, y.value(), x.tape().scratch());
    const Tensor<T> rows = y.value().rows();
    for (int i = 0; i < rows.size(0); ++i)
        accumulate(rows[i].data(), bias.value().data(), rows.size(1));
    x.tape().record(y, [=] {
        Arena& scratch = x.tape().scratch();
        const Tensor<T> dy = y.grad();
        if (bias.needs_grad()) {  // (2.7)
            add_rows(dy.data(), dy.rows().size(0), dy.size(3), bias.grad().data());
        }
        if (weight.needs_grad())
            conv2d_weight_vjp<T>(x.value(), dy, stride, weight.grad(), scratch);  // (4.3)
        if (x.needs_grad()) {
            bool add = true;
            const Tensor<T> dx = x.grad_or_room(add);
            conv2d_data_vjp<T>(dy, weight.value(), stride, add, dx, scratch);  // (4.2)
        }
    });
    return y;
}

template <class T>
Var<T> add_per_channel(Var<T> x, Var<T> shift) {
    require(x.shape().rank == 4 && shift.shape() == Shape{x.size(0), x.size(3)},
            "add_per_channel: x is ", x.shape(), ", shift is ", shift.shape(),
            ", expected [N,H,W,C] and [N,C]");
    Var<T> y = x.tape().result(x.shape(), x, shift);
    const int channels = x.size(3);
    for (int n = 0; n < x.size(0); ++n) {
        const Tensor<T> in = x.value()[n].rows(), out = y.value()[n].rows();
        const T* s = shift.value()[n].data();
        for (int p = 0; p < in.size(0); ++p) {
            const T* from = in[p].data();
            T* to = out[p].data();
#pragma omp simd
            for (int c = 0; c < channels; ++c) to[c] = from[c] + s[c];
        }
    }
    x.tape().record(y, [=] {
        const Tensor<T> dy = y.grad();
        if (x.needs_grad()) x.add_to_grad(dy);
        if (!shift.needs_grad()) return;
        for (int n = 0; n < dy.size(0); ++n)
            add_rows(dy[n].data(), dy[n].rows().size(0), channels, shift.grad()[n].data());
    });
    return y;
}

template <class T>
Var<T> concat_channels(Var<T> a, Var<T> b) {
    const Tensor<T> left = a.value().rows(), right = b.value().rows();
    require(a.shape().rank == b.shape().rank && left.size(0) == right.size(0),
            "concat_channels: shapes are ", a.shape(), " and ", b.shape());
    const int na = left.size(1), nb = right.size(1);
    Shape shape = a.shape();
    shape.n[static_cast<std::size_t>(shape.rank - 1)] = na + nb;
    Var<T> y = a.tape().result(shape, a, b);
    const Tensor<T> out = y.value().rows();
    for (int p = 0; p < out.size(0); ++p) {
        std::copy_n(left[p].data(), na, out[p].data());
        std::copy_n(right[p].data(), nb, out[p].data() + na);
    }
    a.tape().record(y, [=] {
        const Tensor<T> dy = y.grad().rows();
        const auto part = [&](Var<T> into, int begin, int count) {
            bool add = true;
            const Tensor<T> to = into.grad_or_room(add).rows();
            for (int p = 0; p < dy.size(0); ++p) {
                if (add) {
                    accumulate(to[p].data(), dy[p].data() + begin, count);
                } else {
                    std::copy_n(dy[p].data() + begin, count, to[p].data());
                }
            }
        };
        if (a.needs_grad()) part(a, 0, na);
        if (b.needs_grad()) part(b, na, nb);
    });
    return y;
}

template <class T>
Var<T> slice_channels(Var<T> x, int begin, int count) {
    const Tensor<T> in = x.value().rows();
    require(begin >= 0 && count > 0 && begin + count <= in.size(1), "slice_channels: ", begin, "..",
            begin + count - 1, " of ", x.shape());
    Shape shape = x.shape();
    shape.n[static_cast<std::size_t>(shape.rank - 1)] = count;
    Var<T> y = x.tape().result(shape, x);
    const Tensor<T> out = y.value().rows();
    for (int p = 0; p < out.size(0); ++p) std::copy_n(in[p].data() + begin, count, out[p].data());
    x.tape().record(y, [=] {
        const Tensor<T> dy = y.grad().rows(), dx = x.grad().rows();
        for (int p = 0; p < dy.size(0); ++p) accumulate(dx[p].data() + begin, dy[p].data(), count);
    });
    return y;
}

template <class T>
Var<T> upsample_nearest(Var<T> x, int height, int width) {
    require(x.shape().rank == 4 && (height + 1) / 2 == x.size(1) && (width + 1) / 2 == x.size(2),
            "upsample_nearest: ", x.shape(), " does not double to ", height, " x ", width);
    const int channels = x.size(3);
    Var<T> y = x.tape().result({x.size(0), height, width, channels}, x);
    const auto for_each_pixel = [=](auto visit) {
        for (int n = 0; n < x.size(0); ++n) {
            for (int i = 0; i < height; ++i) {
                for (int j = 0; j < width; ++j) visit(n, i, j);
            }
        }
    };
    const Tensor<T> in = x.value(), out = y.value();
    for_each_pixel([=](int n, int i, int j) {
        std::copy_n(&in(n, i / 2, j / 2, 0), channels, &out(n, i, j, 0));
    });
    x.tape().record(y,
                    [=] {  // (4.8): a pixel that was copied to four places collects four gradients
                        const Tensor<T> dy = y.grad(), dx = x.grad();
                        for_each_pixel([=](int n, int i, int j) {
                            accumulate(&dx(n, i / 2, j / 2, 0), &dy(n, i, j, 0), channels);
                        });
                    });
    return y;
}

#define DIFFUSION_INSTANTIATE(T)                         \
    template Var<T> conv2d(Var<T>, Var<T>, Var<T>, int); \
    template Var<T> add_per_channel(Var<T>, Var<T>);     \
    template Var<T> concat_channels(Var<T>, Var<T>);     \
    template Var<T> slice_channels(Var<T>, int, int);    \
    template Var<T> upsample_nearest(Var<T>, int, int);
DIFFUSION_INSTANTIATE(float)
DIFFUSION_INSTANTIATE(double)
#undef DIFFUSION_INSTANTIATE

}  // namespace diffusion
