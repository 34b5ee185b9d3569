#include "04_unet/image_ops.hpp"

#include <algorithm>

#include "04_unet/group_norm.hpp"
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

/// The weights of a part's channels: a range of rows, as K = 1 if there are two parts.
template <class T>
Tensor<T> rows_of_part(Tensor<T> weight, int first, int channels) {
    return {&weight(0, 0, first, 0), {weight.size(0), weight.size(1), channels, weight.size(3)}};
}

/// The convolution of x, or of silu(group_norm(x)) if there is a gain.
template <class T>
Var<T> convolution(NormSilu<T> in, Var<T> weight, Var<T> bias, int stride, Var<T> shift,
                   Var<T> other, bool onto) {
    Tape<T>& tape = weight.tape();
    Arena& scratch = tape.scratch();
    const bool normed = static_cast<bool>(in.gain);
    const Shape in_shape = in.x.shape(), shape = conv2d_shape(in_shape, weight.shape(), stride);
    const int images = shape[0], outputs = shape[3];
    require(bias.shape() == Shape{outputs}, "conv2d: bias is ", bias.shape(), ", expected [",
            outputs, "]");
    require(!shift || shift.shape() == Shape{images, outputs}, "conv2d: shift is ",
            shift ? shift.shape() : Shape{}, ", expected [", images, ",", outputs, "]");
    require(!other || other.shape() == shape, "conv2d: the result is ", shape,
            ", what is added to it ", other ? other.shape() : Shape{});
    require(normed || !in.x.b || weight.size(0) == 1, "conv2d: joined images need K = 1");
    Var<T> y =
        onto ? tape.alias(other.value(), in.x.a, in.x.b, in.gain, in.bias, weight, bias, shift,
                          other)
             : tape.result(shape, in.x.a, in.x.b, in.gain, in.bias, weight, bias, shift, other);
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
    NormLines<T> lines;
    if (normed) {
        Arena::Scope scope(scratch);
        const Tensor<T> x = scratch.template make<T>(in_shape);
        lines = group_norm_forward(in, true, x);
        conv2d<T>(x, weight.value(), stride, y.value(), scratch, plus);
    } else {
        in.x.for_each_part([&](Var<T> x, int first) {
            if (first > 0) plus = {nullptr, 0, y.value().data()};
            conv2d<T>(x.value(), rows_of_part(weight.value(), first, x.size(3)), stride, y.value(),
                      scratch, plus);
        });
    }
    tape.record(y, [=, &scratch] {
        Arena::Scope scope(scratch);
        const Tensor<T> dy = y.grad();
        if (shift
                .needs_grad()) {  // (4.12) a sum over the pixels; the bias's is one over images too
            for (int n = 0; n < images; ++n) {
                Arena::Scope image(scratch);
                T* sum = scratch.template zeros<T>({outputs}).data();
                add_rows(dy[n].data(), dy[n].rows().size(0), outputs, sum);
                accumulate(shift.grad()[n].data(), sum, outputs);
                if (bias.needs_grad()) accumulate(bias.grad().data(), sum, outputs);
            }
        } else if (bias.needs_grad()) {  // (2.7)
            add_rows(dy.data(), dy.rows().size(0), outputs, bias.grad().data());
        }
        if (other.needs_grad()) other.add_to_grad(dy);  // (4.13)
        if (normed) {
            const Tensor<T> x = scratch.template make<T>(in_shape),
                            dx = scratch.template make<T>(in_shape);
            conv2d_data_vjp<T>(dy, weight.value(), stride, false, dx, scratch);
            group_norm_vjp(in, true, lines, dx, x);  // makes x again
            if (weight.needs_grad()) conv2d_weight_vjp<T>(x, dy, stride, weight.grad(), scratch);
            return;
        }
        in.x.for_each_part([&](Var<T> x, int first) {
            const Tensor<T> w = rows_of_part(weight.value(), first, x.size(3));
            if (weight.needs_grad()) {
                const Tensor<T> dw = rows_of_part(weight.grad(), first, x.size(3));
                conv2d_weight_vjp<T>(x.value(), dy, stride, dw, scratch);  // (4.3)
            }
            if (x.needs_grad()) {
                bool add = true;
                const Tensor<T> dx = x.grad_or_room(add);
                conv2d_data_vjp<T>(dy, w, stride, add, dx, scratch);  // (4.2)
            }
        });
    });
    return y;
}

}  // namespace

template <class T>
Var<T> conv2d(Joined<T> x, Var<T> weight, Var<T> bias, int stride, Var<T> shift, Var<T> other,
              bool onto) {
    return convolution<T>({x, {}, {}, 0}, weight, bias, stride, shift, other, onto);
}
template <class T>
Var<T> conv2d(NormSilu<T> x, Var<T> weight, Var<T> bias, int stride, Var<T> shift, Var<T> other,
              bool onto) {
    return convolution(x, weight, bias, stride, shift, other, onto);
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

#define DIFFUSION_INSTANTIATE(T)                                                    \
    template Var<T> conv2d(Joined<T>, Var<T>, Var<T>, int, Var<T>, Var<T>, bool);   \
    template Var<T> conv2d(NormSilu<T>, Var<T>, Var<T>, int, Var<T>, Var<T>, bool); \
    template Var<T> concat_channels(Var<T>, Var<T>);                                \
    template Var<T> slice_channels(Var<T>, int, int);                               \
    template Var<T> upsample_nearest(Var<T>, int, int);
DIFFUSION_INSTANTIATE(float)
DIFFUSION_INSTANTIATE(double)
#undef DIFFUSION_INSTANTIATE

}  // namespace diffusion
