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

// What a convolution needs of an input that is still to be computed: its values, which come with
// something to keep for the way back; and there the values once more, while the gradients of what
// they are made of are added to. dy is lost.
template <class T>
NormLines<T> compute(const Normed<T>& in, Tensor<T> y) {
    return group_norm_forward(in, y);
}
template <class T>
void compute_vjp(const Normed<T>& in, const NormLines<T>& kept, Tensor<T> dy, Tensor<T> y) {
    group_norm_vjp(in, kept, dy, y);
}

struct Nothing {};
template <class T>
Nothing compute(const Upsampled<T>& in, Tensor<T> y) {
    upsample<T>(in.x.value(), y);  // (4.8)
    return {};
}
template <class T>
void compute_vjp(const Upsampled<T>& in, Nothing, Tensor<T> dy, Tensor<T> y) {
    upsample<T>(in.x.value(), y);
    if (!in.needs_grad()) return;
    bool add = true;
    const Tensor<T> dx = in.x.grad_or_room(add);
    upsample_vjp<T>(dy, add, dx);  // (4.8): a pixel that was copied to four places collects four
}

template <class T, class In>
Var<T> convolution(In in, Var<T> weight, Var<T> bias, int stride, Var<T> shift, Var<T> other,
                   bool onto) {
    constexpr bool joined = std::is_same_v<In, Joined<T>>;
    Tape<T>& tape = weight.tape();
    Arena& scratch = tape.scratch();
    const Shape in_shape = in.shape(), shape = conv2d_shape(in_shape, weight.shape(), stride);
    const int images = shape[0], outputs = shape[3];
    require(bias.shape() == Shape{outputs}, "conv2d: bias is ", bias.shape(), ", expected [",
            outputs, "]");
    require(!shift || shift.shape() == Shape{images, outputs}, "conv2d: shift is ",
            shift ? shift.shape() : Shape{}, ", expected [", images, ",", outputs, "]");
    require(!other || other.shape() == shape, "conv2d: the result is ", shape,
            ", what is added to it ", other ? other.shape() : Shape{});
    require(!onto || (other && !in.reads(other.value().data())),
            "conv2d: onto needs something to add to that is not its input");
    Var<T> y = onto ? tape.alias(other.value(), in, weight, bias, shift, other)
                    : tape.result(shape, in, weight, bias, shift, other);
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
    const auto rows_vjp = [=, &scratch] {  // of the rows that are added to the products
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
    };
    if constexpr (joined) {
        require(!in.b || weight.size(0) == 1, "conv2d: joined images need K = 1");
        in.for_each_part([&](Var<T> x, int first) {
            if (first > 0) plus = {nullptr, 0, y.value().data()};
            conv2d<T>(x.value(), rows_of_part(weight.value(), first, x.size(3)), stride, y.value(),
                      scratch, plus);
        });
        tape.record(y, [=, &scratch] {
            rows_vjp();
            const Tensor<T> dy = y.grad();
            in.for_each_part([&](Var<T> x, int first) {
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
            if (other.needs_grad()) y.hand_gradient_to(other);  // (4.13)
        });
    } else {
        Arena::Scope scope(scratch);
        const Tensor<T> x = scratch.template make<T>(in_shape);
        const auto kept = compute(in, x);
        conv2d<T>(x, weight.value(), stride, y.value(), scratch, plus);
        tape.record(y, [=, &scratch] {
            Arena::Scope again(scratch);
            rows_vjp();
            const Tensor<T> dy = y.grad(), z = scratch.template make<T>(in_shape),
                            dz = scratch.template make<T>(in_shape);
            conv2d_data_vjp<T>(dy, weight.value(), stride, false, dz, scratch);
            compute_vjp(in, kept, dz, z);
            if (weight.needs_grad()) conv2d_weight_vjp<T>(z, dy, stride, weight.grad(), scratch);
            if (other.needs_grad()) y.hand_gradient_to(other);  // (4.13)
        });
    }
    return y;
}

}  // namespace

template <class T>
Var<T> conv2d(Joined<T> x, Var<T> weight, Var<T> bias, int stride, Var<T> shift, Var<T> other,
              bool onto) {
    return convolution(x, weight, bias, stride, shift, other, onto);
}
template <class T>
Var<T> conv2d(Normed<T> x, Var<T> weight, Var<T> bias, int stride, Var<T> shift, Var<T> other,
              bool onto) {
    return convolution(x, weight, bias, stride, shift, other, onto);
}
template <class T>
Var<T> conv2d(Upsampled<T> x, Var<T> weight, Var<T> bias, int stride, Var<T> shift, Var<T> other,
              bool onto) {
    return convolution(x, weight, bias, stride, shift, other, onto);
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

#define DIFFUSION_INSTANTIATE(T)                                                     \
    template Var<T> conv2d(Joined<T>, Var<T>, Var<T>, int, Var<T>, Var<T>, bool);    \
    template Var<T> conv2d(Normed<T>, Var<T>, Var<T>, int, Var<T>, Var<T>, bool);    \
    template Var<T> conv2d(Upsampled<T>, Var<T>, Var<T>, int, Var<T>, Var<T>, bool); \
    template Var<T> slice_channels(Var<T>, int, int);
DIFFUSION_INSTANTIATE(float)
DIFFUSION_INSTANTIATE(double)
#undef DIFFUSION_INSTANTIATE

}  // namespace diffusion
