#pragma once
// Convolution and group norm on the tape, for any kind of number: image_ops.cpp makes them for the
// CPU's, unet.cu for those on a GPU. The kernels that they call are in kernels/conv.hpp,
// upsample.hpp and group_norm.hpp; the sums of rows are declared below.
#include <algorithm>

#include "04_unet/image_ops.hpp"
#include "kernels/group_norm.hpp"
#include "kernels/upsample.hpp"

namespace diffusion {

/// shift[N,O], plus bias[O] if there is one, for each image: what (4.12) adds to every pixel.
template <class T>
Tensor<T> sum_of_rows(Var<T> bias, Var<T> shift);
/// Adds dy's sums over the pixels to the gradient of shift, if it is there, and those over the
/// images, too, to that of bias.
template <class T>
void sum_of_rows_vjp(Tensor<T> dy, Var<T> bias, Var<T> shift, Arena& scratch);

/// How many numbers of an image that is computed for one convolution the convolution should find
/// in the second-level cache. Larger batches go through norm and convolution a few images at a
/// time.
template <class T>
inline constexpr std::ptrdiff_t kNumbersInCache = std::ptrdiff_t{1} << 17;

/// Some images of a batch.
struct Images {
    int first, count;

    Shape shape(Shape all) const {
        all.n[0] = count;
        return all;
    }
    /// These of x, if x is there.
    template <class T>
    Tensor<T> of(Tensor<T> x) const {
        return x && count < x.size(0) ? Tensor<T>(x[first].data(), shape(x.shape())) : x;
    }
};

/// visit(images) for all images of a batch of this shape, as many at a time as the cache holds; or,
/// where a convolution has more weights than that, which are read anew each time, as many as have
/// no more numbers than it has weights.
template <class T, class Visit>
void for_images_in_cache(const Shape& shape, std::ptrdiff_t weights, Visit visit) {
    const std::ptrdiff_t image = shape.numel() / std::max(1, shape[0]);
    const int most = static_cast<int>(std::clamp<std::ptrdiff_t>(
        std::max(kNumbersInCache<T>, weights) / std::max<std::ptrdiff_t>(1, image), 1,
        std::max(1, shape[0])));
    for (int first = 0; first < shape[0]; first += most)
        visit(Images{first, std::min(most, shape[0] - first)});
}

// ---- A norm: what the kernel is told of it, forward and back.

template <class T>
GroupNormInput<T> norm_input(const ConvInput<T>& x, Images images) {
    const Norm<T>& norm = x.norm;
    const Shape shape = x.shape();
    const Shape row{shape[3]};
    require(norm.groups > 0 && shape[3] % norm.groups == 0, "group_norm: ", shape, " in ",
            norm.groups, " groups");
    require(norm.gain.shape() == row && norm.bias.shape() == row, "group_norm: x ends in ",
            shape[3], " channels, gain is ", norm.gain.shape(), ", bias is ", norm.bias.shape());
    return {images.of(x.a.value()),
            x.b ? images.of(x.b.value()) : Tensor<T>(),
            norm.gain.value(),
            norm.bias.value(),
            norm.groups,
            norm.eps,
            norm.silu};
}

/// What the way back needs to know of x's norm.
template <class T>
GroupNormLines<T> norm_lines(const ConvInput<T>& x) {
    Tape<T>& tape = x.tape();
    const Shape shape = x.shape(), channels{shape[0], shape[3]}, groups{shape[0], x.norm.groups};
    return {tape.aside(channels), tape.aside(channels), tape.aside(groups), tape.aside(groups)};
}
template <class T>
GroupNormLines<T> lines_of(const GroupNormLines<T>& all, Images images) {
    GroupNormLines<T> lines;
    lines.scale = images.of(all.scale), lines.shift = images.of(all.shift);
    lines.mean = images.of(all.mean), lines.inverse = images.of(all.inverse);
    return lines;
}

/// Where the gradients of what is computed belong: each is written once, or added to.
template <class T>
GroupNormGradients<T> gradients_of(const ConvInput<T>& x) {
    GroupNormGradients<T> to;
    if (x.a.needs_grad()) to.a = x.a.grad_or_room(to.add_a);
    if (x.b.needs_grad()) to.b = x.b.grad_or_room(to.add_b);
    if (x.norm.gain.needs_grad()) to.gain = x.norm.gain.grad();
    if (x.norm.bias.needs_grad()) to.bias = x.norm.bias.grad();
    return to;
}

/// The norm of some images, to y, which has room for these.
template <class T>
void norm_forward(const ConvInput<T>& x, const GroupNormLines<T>& lines, Images images,
                  Tensor<T> y) {
    group_norm_forward(norm_input(x, images), lines_of(lines, images), y,
                       x.tape().scratch());  // (4.5)
}
/// With SiLU, y is written once more and dy is lost.
template <class T>
void norm_vjp(const ConvInput<T>& x, const GroupNormLines<T>& lines, GroupNormGradients<T> to,
              Images images, Tensor<T> dy, Tensor<T> y) {
    to.a = images.of(to.a), to.b = images.of(to.b);
    group_norm_vjp(norm_input(x, images), lines_of(lines, images), dy, y, to,
                   x.tape().scratch());  // (4.6)
}

template <class T>
Var<T> group_norm(Var<T> x, const std::type_identity_t<Norm<T>>& norm) {
    const ConvInput<T> in = normed(ConvInput<T>(x), norm);
    const Var<T> y = x.tape().result(x.shape(), in);
    const GroupNormLines<T> lines = norm_lines(in);
    const Images all{0, x.size(0)};
    norm_forward(in, lines, all, y.value());
    x.tape().record(y, [=] { norm_vjp(in, lines, gradients_of(in), all, y.grad(), y.value()); });
    return y;
}

// ---- A convolution of an image that is still to be normalised.

/// What is added to these images of y.
template <class T>
Plus<T> plus_of(Plus<T> all, Images images, Tensor<T> y) {
    all.row = all.row_of(images.first);
    if (all.pixels != nullptr) all.pixels += images.first * (y.numel() / y.size(0));
    return all;
}

/// An image of so many numbers is never written with its norm: its rows are normalised where the
/// convolution reads them.
inline constexpr std::ptrdiff_t kLargeImage = std::ptrdiff_t{1} << 20;

template <class T>
void convolve_normed_rows(const ConvInput<T>& in, const GroupNormLines<T>& lines, Tensor<T> weight,
                          ConvOptions options, const Plus<T>& plus, Tensor<T> y, Arena& scratch) {
    for (int n = 0; n < y.size(0); ++n) {
        const Images one{n, 1};
        const GroupNormInput<T> x = norm_input(in, one);
        const GroupNormLines<T> its = lines_of(lines, one);
        group_norm_lines(x, its, 0, scratch);  // (4.5)
        const auto rows = [&](int first, int count, T* to) {
            group_norm_rows(x, its, 0, first, count, to);
        };
        conv2d_of_rows<T>(one.shape(in.shape()), rows, weight, options, one.of(y), scratch,
                          plus_of(plus, one, y));  // (4.1)
    }
}

template <class T>
void convolve_normed(const ConvInput<T>& in, const GroupNormLines<T>& lines, Tensor<T> weight,
                     ConvOptions options, const Plus<T>& plus, Tensor<T> y, Arena& scratch) {
    if constexpr (std::is_floating_point_v<T>) {
        if (in.shape().numel() > in.shape()[0] * kLargeImage) {
            convolve_normed_rows(in, lines, weight, options, plus, y, scratch);
            return;
        }
    }
    for_images_in_cache<T>(in.shape(), weight.numel(), [&](Images images) {
        Arena::Scope scope(scratch);
        const Tensor<T> x = scratch.template make<T>(images.shape(in.shape()));
        norm_forward(in, lines, images, x);
        conv2d<T>(x, weight, options, images.of(y), scratch, plus_of(plus, images, y));  // (4.1)
    });
}

template <class T>
void convolve_normed_vjp(const ConvInput<T>& in, const GroupNormLines<T>& lines, Var<T> weight,
                         ConvOptions options, Tensor<T> dy, Arena& scratch) {
    const GroupNormGradients<T> to = gradients_of(in);
    for_images_in_cache<T>(in.shape(), weight.value().numel(), [&](Images images) {
        Arena::Scope scope(scratch);
        const Shape shape = images.shape(in.shape());
        const Tensor<T> x = scratch.template make<T>(shape), dx = scratch.template make<T>(shape);
        const Tensor<T> dy_part = images.of(dy);
        conv2d_data_vjp<T>(dy_part, weight.value(), options, false, dx, scratch);  // (4.2)
        norm_vjp(in, lines, to, images, dx, x);
        if (weight.needs_grad())
            conv2d_weight_vjp<T>(x, dy_part, options, weight.grad(), scratch);  // (4.3)
    });
}

// ---- A convolution of an image that is doubled (4.8).

template <class T>
void convolve_doubled_vjp(const ConvInput<T>& in, Var<T> weight, Tensor<T> dy, Arena& scratch) {
    DoubledGradients<T> to;
    if (in.a.needs_grad()) to.x = in.a.grad_or_room(to.add_x);
    if (weight.needs_grad()) to.weight = weight.grad();
    conv2d_doubled_vjp<T>(in.a.value(), weight.value(), dy, to, scratch);
}

// ---- A convolution of one or two images that lie in memory: y = x_a W_a + x_b W_b.

/// f(x, the rows of `weight` for its channels) for each image.
template <class T, class F>
void for_each_part(const ConvInput<T>& in, Tensor<T> weight, F f) {
    if (!in.b) {
        f(in.a, weight);
        return;
    }
    const int a = in.a.size(3), b = in.b.size(3), outputs = weight.size(3);
    f(in.a, Tensor<T>(weight.data(), {1, 1, a, outputs}));
    f(in.b, Tensor<T>(&weight(0, 0, a, 0), {1, 1, b, outputs}));
}

template <class T>
void convolve_stored(const ConvInput<T>& in, Tensor<T> weight, ConvOptions options, Plus<T> plus,
                     Tensor<T> y, Arena& scratch) {
    for_each_part(in, weight, [&](Var<T> x, Tensor<T> w) {
        conv2d<T>(x.value(), w, options, y, scratch, plus);  // (4.1)
        plus = {nullptr, 0, y.data()};
    });
}

template <class T>
void convolve_stored_vjp(const ConvInput<T>& in, Var<T> weight, ConvOptions options, Tensor<T> dy,
                         Arena& scratch) {
    if (weight.needs_grad()) {
        for_each_part(in, weight.grad(), [&](Var<T> x, Tensor<T> dw) {
            conv2d_weight_vjp<T>(x.value(), dy, options, dw, scratch);  // (4.3)
        });
    }
    for_each_part(in, weight.value(), [&](Var<T> x, Tensor<T> w) {
        if (!x.needs_grad()) return;
        bool add = true;
        const Tensor<T> dx = x.grad_or_room(add);
        conv2d_data_vjp<T>(dy, w, options, add, dx, scratch);  // (4.2)
    });
}

// ---- The operation.

template <class T>
Var<T> conv2d(std::type_identity_t<ConvInput<T>> in, Var<T> weight,
              std::type_identity_t<Var<T>> bias, ConvOptions options,
              std::type_identity_t<Added<T>> added) {
    Tape<T>& tape = weight.tape();
    Arena& scratch = tape.scratch();
    const Shape shape = conv2d_shape(in.shape(), weight.shape(), options);
    const int images = shape[0], outputs = shape[3];
    const Var<T> shift = added.shift, other = added.image;
    require(!bias || bias.shape() == Shape{outputs}, "conv2d: bias is ",
            bias ? bias.shape() : Shape{}, ", expected [", outputs, "]");
    require(!shift || shift.shape() == Shape{images, outputs}, "conv2d: shift is ",
            shift ? shift.shape() : Shape{}, ", expected [", images, ",", outputs, "]");
    require(!other || other.shape() == shape, "conv2d: the result is ", shape,
            ", what is added to it ", other ? other.shape() : Shape{});
    require(!added.in_place || (other && !in.reads(other.value().data())),
            "conv2d: in_place needs an image to add to that is not its input");
    require(in.normed() || !in.b || weight.size(0) == 1, "conv2d: joined images need K = 1");
    require(!in.doubled() || options.stride == 1, "conv2d: a doubled image needs stride 1");

    Plus<T> plus;
    if (bias) plus.row = bias.value().data();
    if (shift) {
        plus.row = sum_of_rows(bias, shift).data();
        plus.row_step = outputs;
    }
    if (other) plus.pixels = other.value().data();
    const Var<T> y = added.in_place ? tape.alias(other, other.value(), in, weight, bias, shift)
                                    : tape.result(shape, in, weight, bias, shift, other);
    GroupNormLines<T> lines;
    if (in.normed()) lines = norm_lines(in);
    if (in.normed()) {
        convolve_normed(in, lines, weight.value(), options, plus, y.value(), scratch);
    } else if (in.doubled()) {
        conv2d_doubled<T>(in.a.value(), weight.value(), y.value(), scratch, plus);  // (4.8)
    } else {
        convolve_stored(in, weight.value(), options, plus, y.value(), scratch);
    }
    tape.record(y, [=, &scratch] {
        sum_of_rows_vjp(y.grad(), bias, shift, scratch);
        if (in.normed()) {
            convolve_normed_vjp(in, lines, weight, options, y.grad(), scratch);
        } else if (in.doubled()) {
            convolve_doubled_vjp(in, weight, y.grad(), scratch);
        } else {
            convolve_stored_vjp(in, weight, options, y.grad(), scratch);
        }
        if (other.needs_grad()) y.hand_gradient_to(other);  // (4.13)
    });
    return y;
}

}  // namespace diffusion
