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
Var<T> conv2d(Var<T> x, Var<T> weight, Var<T> bias, int stride, Var<T> shift, Var<T> other) {
    Tape<T>& tape = x.tape();
    const Shape shape = conv2d_shape(x.shape(), weight.shape(), stride);
    const int images = shape[0], outputs = shape[3];
    require(bias.shape() == Shape{outputs}, "conv2d: bias is ", bias.shape(), ", expected [",
            outputs, "]");
    require(!shift || shift.shape() == Shape{images, outputs}, "conv2d: shift is ",
            shift ? shift.shape() : Shape{}, ", expected [", images, ",", outputs, "]");
    require(!other || other.shape() == shape, "conv2d: the result is ", shape,
            ", what is added to it ", other ? other.shape() : Shape{});
    Var<T> y = tape.result(shape, x, weight, bias, shift, other);
    Plus<T> plus{bias.value().data()};
    if (shift) {
        const Tensor<T> row = tape.arena().template make<T>({images, outputs});
        for (int n = 0; n < images; ++n) {
            for (int o = 0; o < outputs; ++o) row(n, o) = bias.value()(o) + shift.value()(n, o);
        }
        plus.row = row.data();
        plus.row_step = outputs;
    }
    if (other) plus.pixels = other.value().data();
    conv2d<T>(x.value(), weight.value(), stride, y.value(), tape.scratch(), plus);
    tape.record(y, [=] {
        Arena& scratch = x.tape().scratch();
        const Tensor<T> dy = y.grad();
        if (shift
                .needs_grad()) {  // (4.12) a sum over the pixels; the bias's is one over images too
            for (int n = 0; n < images; ++n) {
                Arena::Scope scope(scratch);
                T* sum = scratch.template zeros<T>({outputs}).data();
                add_rows(dy[n].data(), dy[n].rows().size(0), outputs, sum);
                accumulate(shift.grad()[n].data(), sum, outputs);
                if (bias.needs_grad()) accumulate(bias.grad().data(), sum, outputs);
            }
        } else if (bias.needs_grad()) {  // (2.7)
            add_rows(dy.data(), dy.rows().size(0), outputs, bias.grad().data());
        }
        if (other.needs_grad()) other.add_to_grad(dy);  // (4.13)
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

#define DIFFUSION_INSTANTIATE(T)                                         \
    template Var<T> conv2d(Var<T>, Var<T>, Var<T>, int, Var<T>, Var<T>); \
    template Var<T> concat_channels(Var<T>, Var<T>);                     \
    template Var<T> slice_channels(Var<T>, int, int);                    \
    template Var<T> upsample_nearest(Var<T>, int, int);
DIFFUSION_INSTANTIATE(float)
DIFFUSION_INSTANTIATE(double)
#undef DIFFUSION_INSTANTIATE

}  // namespace diffusion
