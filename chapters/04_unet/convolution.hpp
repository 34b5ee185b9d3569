#pragma once
// A convolution on the tape, whatever its input, for any kind of number: image_ops.cpp makes it for
// the CPU's, unet.cu for those on a GPU. The kernels that it calls are in kernels/conv.hpp and
// group_norm.hpp; and the sums of rows, below.
#include "04_unet/group_norm.hpp"
#include "04_unet/image_ops.hpp"
#include "kernels/conv.hpp"

namespace diffusion {

/// bias[O] + shift[N,O] for each image: what (4.12) adds to every pixel.
template <class T>
Tensor<T> sum_of_rows(Var<T> bias, Var<T> shift);
/// Adds dy's sums over the pixels to the gradient of shift, if it is there, and those over the
/// images, too, to that of bias.
template <class T>
void sum_of_rows_vjp(Tensor<T> dy, Var<T> bias, Var<T> shift);

/// The weights of a part's channels: a range of rows, as K = 1 if there are two parts.
template <class T>
Tensor<T> rows_of_part(Tensor<T> weight, int first, int channels) {
    return {&weight(0, 0, first, 0), {weight.size(0), weight.size(1), channels, weight.size(3)}};
}

// What a convolution needs of an input that is still to be computed: its values, which come with
// something to keep for the way back; and there the values once more, while the gradients of what
// they are made of are added to. dy is lost.
template <class T>
NormLines<T> compute_input(const Normed<T>& in, Tensor<T> y) {
    return group_norm_forward(in, y);
}
template <class T>
void compute_input_vjp(const Normed<T>& in, const NormLines<T>& kept, Tensor<T> dy, Tensor<T> y) {
    group_norm_vjp(in, kept, dy, y);
}

struct NothingKept {};
template <class T>
NothingKept compute_input(const Upsampled<T>& in, Tensor<T> y) {
    upsample<T>(in.x.value(), y);  // (4.8)
    return {};
}
template <class T>
void compute_input_vjp(const Upsampled<T>& in, NothingKept, Tensor<T> dy, Tensor<T> y) {
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
        plus.row = sum_of_rows(bias, shift).data();
        plus.row_step = outputs;
    }
    if (other) plus.pixels = other.value().data();
    if constexpr (joined) {
        require(!in.b || weight.size(0) == 1, "conv2d: joined images need K = 1");
        in.for_each_part([&](Var<T> x, int first) {
            if (first > 0) plus = {nullptr, 0, y.value().data()};
            conv2d<T>(x.value(), rows_of_part(weight.value(), first, x.size(3)), stride, y.value(),
                      scratch, plus);
        });
        tape.record(y, [=, &scratch] {
            sum_of_rows_vjp(y.grad(), bias, shift);
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
        const auto kept = compute_input(in, x);
        conv2d<T>(x, weight.value(), stride, y.value(), scratch, plus);
        tape.record(y, [=, &scratch] {
            Arena::Scope again(scratch);
            sum_of_rows_vjp(y.grad(), bias, shift);
            const Tensor<T> dy = y.grad(), z = scratch.template make<T>(in_shape),
                            dz = scratch.template make<T>(in_shape);
            conv2d_data_vjp<T>(dy, weight.value(), stride, false, dz, scratch);
            compute_input_vjp(in, kept, dz, z);
            if (weight.needs_grad()) conv2d_weight_vjp<T>(z, dy, stride, weight.grad(), scratch);
            if (other.needs_grad()) y.hand_gradient_to(other);  // (4.13)
        });
    }
    return y;
}

}  // namespace diffusion
