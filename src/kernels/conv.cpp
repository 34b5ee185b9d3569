#include "kernels/conv.hpp"

#include <algorithm>
#include <array>

#include "kernels/conv_2x2.hpp"
#include "kernels/conv_windows.hpp"
#include "kernels/gemm.hpp"
#include "kernels/simd.hpp"
#include "kernels/threads.hpp"
#include "kernels/winograd.hpp"

namespace diffusion {
namespace {

/// Image x[H,W,C] with `pad` zeros around it and `gap - 1` zeros between neighbouring pixels, in
/// [height,width,C]. With parts = 2 the even rows come first and then the odd ones; height is then
/// even.
template <class T>
Tensor<T> spread(Tensor<const T> x, int pad, int gap, int height, int width, Arena& memory,
                 int parts = 1) {
    const int channels = x.size(2);
    const Tensor<T> out = memory.make<T>({height, width, channels});
    for (int i = 0; i < height; ++i) {
        T *to = out[i % parts * (height / parts) + i / parts].data(),
          *const end = to + static_cast<std::ptrdiff_t>(width) * channels;
        const int row = (i - pad) / gap;
        if (i >= pad && row < x.size(0) && row * gap == i - pad) {
            to = std::fill_n(to, pad * channels, T(0));
            if (gap == 1) {
                to = std::copy_n(x[row].data(), x.size(1) * channels, to);
            } else {
                for (int j = 0; j < x.size(1); ++j) {
                    if (j > 0) to = std::fill_n(to, (gap - 1) * channels, T(0));
                    to = std::copy_n(&x(row, j, 0), channels, to);
                }
            }
        }
        std::fill(to, end, T(0));
    }
    return out;
}

/// y (+)= the convolution of an image that carries its padding, plus a row [O] at every pixel, if
/// there is one. The K pixels under one row of the kernel lie next to each other in memory, so a
/// row of outputs is the sum of K matrix products whose left operand has overlapping rows.
template <class T>
void convolve_padded(Tensor<T> padded, std::array<Packed<T>, 3> rows, int kernel, int stride,
                     Tensor<T> y, bool accumulate, const T* plus = nullptr) {
    const std::ptrdiff_t step = static_cast<std::ptrdiff_t>(stride) * padded.size(2);
    in_parts(y.size(0), 4, [&](int begin, int end) {
        for (int i = begin; i < end; ++i) {
            for (int u = 0; u < kernel; ++u) {
                gemm<T>(y.size(1), {&padded(stride * i + u, 0, 0), step, 1},
                        rows[static_cast<std::size_t>(u)], &y(i, 0, 0), accumulate || u > 0, 0,
                        u == 0 ? plus : nullptr);
            }
        }
    });
}

/// Whether a panel of outputs would be mostly padding.
template <class T>
bool few(int outputs) {
    return outputs <= Simd<T>::width / 4;
}

/// Whether Winograd's way pays for images x: for a few channels its transformations cost more than
/// they save.
template <class T>
bool use_winograd(const Shape& x, const Shape& weight, int stride) {
    return weight[0] == 3 && stride == 1 && x[3] >= Simd<T>::width / 2 &&
           weight[3] >= Simd<T>::width / 2;
}

/// Whether a convolution of images x has so many weights that reading them counts: then they are
/// read once for all windows, and Winograd's form, four times as large, only pays for many tiles.
bool use_windows(const Shape& x, const Shape& weight, int stride) {
    constexpr std::ptrdiff_t kMany = 1 << 18, kTiles = 12;
    return weight[0] == 3 && weight.numel() > kMany &&
           (stride == 2 || x.numel() / x[3] < 16 * kTiles);
}

/// Whether every output of a convolution of images x meets every pixel.
bool is_2x2(const Shape& x, const Shape& weight, int stride) {
    return weight[0] == 3 && stride == 1 && x[1] == 2 && x[2] == 2;
}

int padded_size(int size, int kernel, int stride, int outputs) {
    return std::max(size + kernel - 1, stride * (outputs - 1) + kernel);
}

/// y = conv2d + plus for images x or, with `rows`, one image of this shape that they make. A strip
/// of rows with zeros around it is written out at a time, so that it stays in the cache.
template <class T>
void convolve_rows(Tensor<const T> x, const Shape& shape, const Rows<T>* rows,
                   Tensor<const T> weight, ConvOptions options, Tensor<T> y, Arena& scratch,
                   Plus<T> plus) {
    constexpr std::ptrdiff_t kNumbersOfStrip = 1 << 20;
    const int kernel = weight.size(0), k = kernel * weight.size(2), outputs = weight.size(3),
              stride = options.stride, before = options.before(kernel);
    const bool accumulate = plus.pixels != nullptr;
    if (accumulate && plus.pixels != y.data()) std::copy_n(plus.pixels, y.numel(), y.data());
    std::array<Packed<T>, 3> kernels{};
    for (int u = 0; u < kernel; ++u) {
        kernels[static_cast<std::size_t>(u)] =
            pack(k, outputs, by_rows<T>(weight[u].data(), outputs), scratch);
    }
    const int width = padded_size(shape[2], kernel, stride, y.size(2)), channels = shape[3];
    const std::ptrdiff_t line = std::ptrdiff_t{width} * channels;
    const int most = static_cast<int>(std::min<std::ptrdiff_t>(
        y.size(1), std::max<std::ptrdiff_t>(8, kNumbersOfStrip / (stride * line))));
    for (int n = 0; n < y.size(0); ++n) {
        for (int first = 0; first < y.size(1); first += most) {
            Arena::Scope strip(scratch);
            const int count = std::min(most, y.size(1) - first);
            const Tensor<T> padded =
                scratch.make<T>({stride * (count - 1) + kernel, width, channels});
            in_parts(padded.size(0), 4, [&](int begin, int end) {
                for (int r = begin; r < end; ++r) {
                    const int row = stride * first - before + r;
                    T *to = padded[r].data(), *const last = to + line;
                    if (row >= 0 && row < shape[1]) {
                        to = std::fill_n(to, before * channels, T(0));
                        if (rows != nullptr) {
                            (*rows)(row, 1, to);
                        } else {
                            std::copy_n(x[n][row].data(), shape[2] * channels, to);
                        }
                        to += shape[2] * channels;
                    }
                    std::fill(to, last, T(0));
                }
            });
            const Tensor<T> out(y[n][first].data(), {count, y.size(2), outputs});
            convolve_padded(padded, kernels, kernel, stride, out, accumulate, plus.row_of(n));
        }
    }
}

}  // namespace

Shape conv2d_shape(const Shape& x, const Shape& weight, ConvOptions options) {
    require(x.rank == 4 && weight.rank == 4 && x[3] == weight[2] && weight[0] == weight[1] &&
                (weight[0] == 1 || weight[0] == 3),
            "conv2d: x is ", x, ", weight is ", weight,
            ", expected [N,H,W,C] and [1,1,C,O] or [3,3,C,O]");
    const int stride = options.stride;
    require(stride == 1 || stride == 2, "conv2d: stride is ", stride, ", expected 1 or 2");
    if (options.padding == Padding::after) {
        require(weight[0] == 3 && stride == 2 && x[1] > 1 && x[2] > 1, "conv2d: x is ", x,
                ", weight is ", weight, ", stride is ", stride,
                ": zeros after the image only take a 3 x 3 kernel, stride 2 and 2 x 2 pixels");
        return {x[0], x[1] / 2, x[2] / 2, weight[3]};
    }
    return {x[0], (x[1] + stride - 1) / stride, (x[2] + stride - 1) / stride, weight[3]};
}

template <class T>
void conv2d(Tensor<const T> x, Tensor<const T> weight, ConvOptions options, Tensor<T> y,
            Arena& scratch, Plus<T> plus) {
    require(conv2d_shape(x.shape(), weight.shape(), options) == y.shape(), "conv2d: y is ",
            y.shape());
    if (is_2x2(x.shape(), weight.shape(), options.stride)) {
        conv2d_2x2<T>(x, weight, plus, y, scratch);
    } else if (use_windows(x.shape(), weight.shape(), options.stride)) {
        conv2d_windows<T>(x, weight, options, plus, y);
    } else if (use_winograd<T>(x.shape(), weight.shape(), options.stride)) {
        winograd<T>(x, weight, plus, y, scratch);
    } else {
        conv2d_direct<T>(x, weight, options, y, scratch, plus);
    }
}

template <class T>
void conv2d_of_rows(const Shape& x, const Rows<T>& rows, Tensor<const T> weight,
                    ConvOptions options, Tensor<T> y, Arena& scratch, Plus<T> plus) {
    require(x[0] == 1, "conv2d_of_rows: x is ", x, ", expected one image");
    Arena::Scope scope(scratch);
    if (use_winograd<T>(x, weight.shape(), options.stride) &&
        !use_windows(x, weight.shape(), options.stride)) {
        winograd_of_rows<T>(x, rows, weight, plus, y, scratch);
    } else {
        convolve_rows<T>({}, x, &rows, weight, options, y, scratch, plus);
    }
}

template <class T>
void conv2d_direct(Tensor<const T> x, Tensor<const T> weight, ConvOptions options, Tensor<T> y,
                   Arena& scratch, Plus<T> plus) {
    Arena::Scope scope(scratch);
    if (weight.size(0) == 3 || options.stride == 2) {
        convolve_rows<T>(x, x.shape(), nullptr, weight, options, y, scratch, plus);
        return;
    }
    // Pixels are rows: one product for each image, nothing to pad.
    const int k = weight.size(2), outputs = weight.size(3);
    const bool accumulate = plus.pixels != nullptr;
    if (accumulate && plus.pixels != y.data()) std::copy_n(plus.pixels, y.numel(), y.data());
    const Packed<T> w = pack(k, outputs, by_rows<T>(weight.data(), outputs), scratch);
    for (int n = 0; n < x.size(0); ++n) {
        const Tensor<const T> in = x[n].rows();
        const Tensor<T> out = y[n].rows();
        in_parts(out.size(0), 48, [&](int begin, int end) {
            gemm<T>(end - begin, by_rows<T>(in[begin].data(), k), w, out[begin].data(), accumulate,
                    0, plus.row_of(n));
        });
    }
}

template <class T>
void conv2d_data_vjp(Tensor<const T> dy, Tensor<const T> weight, ConvOptions options, bool add,
                     Tensor<T> dx, Arena& scratch) {
    require(conv2d_shape(dx.shape(), weight.shape(), options) == dy.shape(),
            "conv2d_data_vjp: dy is ", dy.shape());
    if (is_2x2(dx.shape(), weight.shape(), options.stride)) {
        conv2d_2x2_data_vjp<T>(dy, weight, add, dx, scratch);
    } else if (use_winograd<T>(dx.shape(), weight.shape(), options.stride)) {
        winograd_data_vjp<T>(dy, weight, add, dx, scratch);
    } else {
        conv2d_data_vjp_direct<T>(dy, weight, options, add, dx, scratch);
    }
}

/// dx (+)= the adjoint of a 3x3 convolution with stride 2 and `before` rows of zeros above the
/// image, 0 or 1. Row r of dx was met by row u of the kernel from row i of dy if r + before =
/// 2 i + u: by the middle row alone if r + before is odd, and otherwise by the last one from one
/// row of dy and by the first one from the next. The same holds for columns, where the two meetings
/// are a single product with two neighbouring pixels of dy. So nothing is multiplied by zero.
template <class T>
void data_vjp_stride2(Tensor<const T> dy, Tensor<const T> weight, int before, bool add,
                      Tensor<T> dx, Arena& scratch) {
    const int inputs = weight.size(2), outputs = weight.size(3), step = 2 * inputs;
    std::array<Packed<T>, 3> middle{}, pairs{};  // for each row of the kernel
    for (int u = 0; u < 3; ++u) {
        const auto k = static_cast<std::size_t>(u);
        middle[k] = pack(outputs, inputs, transposed<T>(weight[u][1].data(), outputs), scratch);
        const Tensor<T> pair = scratch.make<T>({2, outputs, inputs});
        for (int v = 0; v < 2; ++v) {
            transpose(inputs, outputs, weight[u][2 - 2 * v].data(), outputs, pair[v].data(),
                      inputs);
        }
        pairs[k] = pack(2 * outputs, inputs, by_rows<T>(pair.data(), inputs), scratch);
    }
    const int lead = 1 - before;  // zeros before dy: the first pair may begin there
    const int width = dx.size(2);
    for (int n = 0; n < dx.size(0); ++n) {
        Arena::Scope image(scratch);
        const Tensor<T> padded = spread(dy[n], lead, 1, dy.size(1) + lead + 1,
                                        dy.size(2) + lead + 1, scratch);  // and at the end
        const auto products = [&](int u, int i, int row, bool accumulate) {
            const T* from = &padded(i + lead, 0, 0);
            const auto k = static_cast<std::size_t>(u);
            gemm<T>((width - lead + 1) / 2, by_rows<T>(from + lead * outputs, outputs), middle[k],
                    &dx(n, row, lead, 0), accumulate, step);
            if (width > before) {
                gemm<T>((width - before + 1) / 2, by_rows<T>(from, outputs), pairs[k],
                        &dx(n, row, before, 0), accumulate, step);
            }
        };
        for (int row = 0; row < dx.size(1); ++row) {
            const int i = (row + before) / 2;
            if ((row + before) % 2 == 1) {
                products(1, i, row, add);
            } else {
                products(2, i - 1, row, add);
                products(0, i, row, true);
            }
        }
    }
}

template <class T>
void conv2d_data_vjp_direct(Tensor<const T> dy, Tensor<const T> weight, ConvOptions options,
                            bool add, Tensor<T> dx, Arena& scratch) {
    Arena::Scope scope(scratch);
    const int kernel = weight.size(0), inputs = weight.size(2), outputs = weight.size(3);
    const int stride = options.stride;
    if (kernel == 1 && stride == 1) {
        gemm<T>(dx.rows().size(0), inputs, outputs, by_rows<T>(dy.data(), outputs),
                transposed<T>(weight.data(), outputs), dx.data(), add, scratch);
        return;
    }
    if (kernel == 3 && stride == 2) {
        data_vjp_stride2<T>(dy, weight, options.before(kernel), add, dx, scratch);
        return;
    }
    // The adjoint is again a convolution, of dy spread out by the stride, with the kernel turned by
    // half a turn and its channels exchanged.
    std::array<Packed<T>, 3> rows{};
    for (int u = 0; u < kernel; ++u) {
        const Tensor<T> turned = scratch.make<T>({kernel, outputs, inputs});
        for (int v = 0; v < kernel; ++v) {
            transpose(inputs, outputs, weight[kernel - 1 - u][kernel - 1 - v].data(), outputs,
                      turned[v].data(), inputs);
        }
        rows[static_cast<std::size_t>(u)] =
            pack(kernel * outputs, inputs, by_rows<T>(turned.data(), inputs), scratch);
    }
    for (int n = 0; n < dx.size(0); ++n) {
        Arena::Scope image(scratch);
        const Tensor<T> padded =
            spread(dy[n], kernel / 2, stride, padded_size(dx.size(1), kernel, 1, dx.size(1)),
                   padded_size(dx.size(2), kernel, 1, dx.size(2)), scratch);
        convolve_padded(padded, rows, kernel, 1, dx[n], add);
    }
}

template <class T>
void conv2d_weight_vjp(Tensor<const T> x, Tensor<const T> dy, ConvOptions options,
                       Tensor<T> dweight, Arena& scratch) {
    require(conv2d_shape(x.shape(), dweight.shape(), options) == dy.shape(),
            "conv2d_weight_vjp: dy is ", dy.shape());
    if (is_2x2(x.shape(), dweight.shape(), options.stride)) {
        conv2d_2x2_weight_vjp<T>(x, dy, dweight, scratch);
    } else if (use_winograd<T>(x.shape(), dweight.shape(), options.stride)) {
        winograd_weight_vjp<T>(x, dy, dweight, scratch);
    } else {
        conv2d_weight_vjp_direct<T>(x, dy, options, dweight, scratch);
    }
}

template <class T>
void conv2d_weight_vjp_direct(Tensor<const T> x, Tensor<const T> dy, ConvOptions options,
                              Tensor<T> dweight, Arena& scratch) {
    const int kernel = dweight.size(0), channels = x.size(3), outputs = dy.size(3);
    const int stride = options.stride, before = options.before(kernel);
    if (kernel == 1 && stride == 1) {
        gemm<T>(channels, outputs, dy.rows().size(0), transposed<T>(x.data(), channels),
                by_rows<T>(dy.data(), outputs), dweight.data(), true, scratch);
        return;
    }
    // Both are whole numbers of strides; one stride more rows than needed, because windows that
    // meet only zeros of dy reach past the last row.
    const auto whole = [=](int size) { return (size + stride - 1) / stride * stride; };
    const int height = whole(padded_size(x.size(1), kernel, stride, dy.size(1))) + stride;
    const int width = whole(padded_size(x.size(2), kernel, stride, dy.size(2)));
    const std::ptrdiff_t step = static_cast<std::ptrdiff_t>(stride) * channels;
    Arena::Scope scope(scratch);
    Tensor<T> by_output;  // dweight with its last two axes exchanged
    if (few<T>(outputs)) by_output = scratch.zeros<T>({kernel, outputs, kernel * channels});
    for (int n = 0; n < x.size(0); ++n) {
        Arena::Scope image(scratch);
        if (by_output || dy.size(2) >= 10) {
            // dy gets the width of the padded rows, with zeros where a window would cross the edge:
            // then from the windows of one row to those of the next it is as far as from window to
            // window, and the pixels of all rows form one long sum. With stride 2 this holds once
            // even and odd rows lie apart.
            const Tensor<T> padded = spread(x[n], before, 1, height, width, scratch, stride);
            const Tensor<T> wide = spread(dy[n], 0, 1, dy.size(1), width / stride, scratch);
            const int pixels = wide.size(0) * wide.size(1);
            const auto windows = [&](int u) {
                return &padded(u % stride * (height / stride) + u / stride, 0, 0);
            };
            if (by_output) {  // the transpose of the product below, for wider panels
                for (int u = 0; u < kernel; ++u) {
                    gemm<T>(outputs, kernel * channels, pixels, transposed<T>(wide.data(), outputs),
                            {windows(u), step, 1}, by_output[u].data(), true, scratch);
                }
                continue;
            }
            const Packed<T> gradients =
                pack(pixels, outputs, by_rows<T>(wide.data(), outputs), scratch);
            for (int u = 0; u < kernel; ++u) {
                gemm<T>(kernel * channels, {windows(u), 1, step}, gradients, dweight[u].data(),
                        true);
            }
        } else {
            // In a narrow picture those zeros are much of the row: windows are written out, for one
            // long sum over the pixels.
            const Tensor<T> padded = spread(x[n], before, 1, height, width, scratch);
            const int pixels = pixels_of(dy.shape()), run = kernel * channels;
            const Tensor<T> windows = scratch.make<T>({pixels, kernel, run});
            for (int p = 0; p < pixels; ++p) {
                const int i = stride * (p / dy.size(2)), j = stride * (p % dy.size(2));
                for (int u = 0; u < kernel; ++u)
                    std::copy_n(&padded(i + u, j, 0), run, &windows(p, u, 0));
            }
            gemm<T>(kernel * run, outputs, pixels, transposed<T>(windows.data(), kernel * run),
                    by_rows<T>(dy[n].data(), outputs), dweight.data(), true, scratch);
        }
    }
    if (!by_output) return;
    for (int u = 0; u < kernel; ++u) {
        for (int c = 0; c < kernel * channels; ++c) {
            for (int o = 0; o < outputs; ++o)
                dweight[u].data()[c * outputs + o] += by_output(u, o, c);
        }
    }
}

#define DIFFUSION_INSTANTIATE(T)                                                                  \
    template void conv2d(Tensor<const T>, Tensor<const T>, ConvOptions, Tensor<T>, Arena&,        \
                         Plus<T>);                                                                \
    template void conv2d_of_rows(const Shape&, const Rows<T>&, Tensor<const T>, ConvOptions,      \
                                 Tensor<T>, Arena&, Plus<T>);                                     \
    template void conv2d_direct(Tensor<const T>, Tensor<const T>, ConvOptions, Tensor<T>, Arena&, \
                                Plus<T>);                                                         \
    template void conv2d_data_vjp(Tensor<const T>, Tensor<const T>, ConvOptions, bool, Tensor<T>, \
                                  Arena&);                                                        \
    template void conv2d_data_vjp_direct(Tensor<const T>, Tensor<const T>, ConvOptions, bool,     \
                                         Tensor<T>, Arena&);                                      \
    template void conv2d_weight_vjp(Tensor<const T>, Tensor<const T>, ConvOptions, Tensor<T>,     \
                                    Arena&);                                                      \
    template void conv2d_weight_vjp_direct(Tensor<const T>, Tensor<const T>, ConvOptions,         \
                                           Tensor<T>, Arena&);
DIFFUSION_INSTANTIATE(float)
DIFFUSION_INSTANTIATE(double)
#undef DIFFUSION_INSTANTIATE

}  // namespace diffusion
