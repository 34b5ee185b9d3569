// Chapter 4's convolution (4.1) and its two VJPs (4.2), (4.3) on a GPU, as matrix products whose
// left side is never written down ("implicit GEMM"): the product's kernel asks for number (row, k),
// and a reader finds it in the image. Row is a pixel of the result, k a place in the window and a
// channel.
#include <climits>

#include "02_gradients/compare.hpp"
#include "02_gradients/gradients.hpp"
#include "04_unet/conv.hpp"
#include "cuda/reduce.hpp"

namespace diffusion::cuda {
namespace {

/// What all three products know of a convolution.
struct Sizes {
    int images;
    Divisor height, width, channels;         ///< of x
    Divisor out_height, out_width, outputs;  ///< of y
    Divisor kernel, stride;
    int pad;  ///< rows and columns of zeros before x

    constexpr int pixels() const { return images * out_height * out_width; }
    constexpr int taps() const { return kernel * kernel * channels; }
};

Sizes sizes_of(const Shape& x, const Shape& weight, ConvOptions options) {
    const Shape y = conv2d_shape(x, weight, options);
    static_cast<void>(index_count(std::max(x.numel(), y.numel())));  // for offsets are ints
    return {x[0], x[1], x[2],      x[3],           y[1],
            y[2], y[3], weight[0], options.stride, options.before(weight[0])};
}

/// A row or column that there is not: no window reaches from here into an image.
constexpr int kOutside = -(1 << 30);

bool four_fit(const float* x, int contiguous) {
    return contiguous % 4 == 0 && reinterpret_cast<std::uintptr_t>(x) % 16 == 0;
}

/// x seen through the windows: pixel r of y, and k = (u, v, c). As a left side of (4.1) neighbours
/// are neighbours in k, as the transposed one of (4.3), with the window's place as row, in i.
template <bool along_k>
struct Windows {
    static constexpr bool kAlongK = along_k;
    Sizes s;
    const float* x;
    bool quads;

    struct Pixel {
        int i, j, offset;  ///< of the window's first place, which may lie outside
    };
    struct Tap {
        int u, v, offset;  ///< from there to a place, and to the channel
    };

    __device__ const float* memory() const { return x; }
    __device__ Pixel pixel(int r) const {
        const int line = r / s.out_width, n = line / s.out_height;
        const int i = (line - n * s.out_height) * s.stride - s.pad,
                  j = (r - line * s.out_width) * s.stride - s.pad;
        return {i, j, ((n * s.height + i) * s.width + j) * s.channels};
    }
    __device__ Tap tap(int k) const {
        const int tap = k / s.channels, c = k - tap * s.channels;
        const int u = tap / s.kernel, v = tap - u * s.kernel;
        return {u, v, (u * s.width + v) * s.channels + c};
    }
    __device__ int place(Pixel pixel, Tap tap) const {
        const int i = pixel.i + tap.u, j = pixel.j + tap.v;
        const bool inside = i >= 0 && i < s.height && j >= 0 && j < s.width;
        return inside ? pixel.offset + tap.offset : -1;
    }
    __device__ int place(Tap tap, Pixel pixel) const { return place(pixel, tap); }

    __device__ auto row(int i) const {
        if constexpr (along_k) {
            return i < s.pixels() ? pixel(i) : Pixel{kOutside, 0, 0};
        } else {
            return i < s.taps() ? tap(i) : Tap{kOutside, 0, 0};
        }
    }
    __device__ auto step(int k) const {
        if constexpr (along_k) {
            return tap(k);
        } else {
            return pixel(k);
        }
    }
};

/// dy seen from a pixel of x (4.2): row is that pixel, k = (u, v, o) the way its number took to y.
struct WindowsBack {
    static constexpr bool kAlongK = true;
    Sizes s;
    const float* dy;
    bool quads;

    struct Pixel {
        int i, j, line;  ///< counted from the padding; the first line of the image in dy
    };
    struct Tap {
        int u, v, o;
    };

    __device__ const float* memory() const { return dy; }
    __device__ Pixel row(int r) const {
        if (r >= s.images * s.height * s.width) return {kOutside, 0, 0};
        const int line = r / s.width, n = line / s.height;
        return {line - n * s.height + s.pad, r - line * s.width + s.pad, n * s.out_height};
    }
    __device__ Tap step(int k) const {
        const int tap = k / s.outputs, u = tap / s.kernel;
        return {u, tap - u * s.kernel, k - tap * s.outputs};
    }
    __device__ int place(Pixel pixel, Tap tap) const {
        const int i = pixel.i - tap.u, j = pixel.j - tap.v;
        const int a = i / s.stride, b = j / s.stride;
        const bool inside = i >= 0 && j >= 0 && a * s.stride == i && b * s.stride == j &&
                            a < s.out_height && b < s.out_width;
        return inside ? ((pixel.line + a) * s.out_width + b) * s.outputs + tap.o : -1;
    }
};

/// The weights for (4.2): column is a channel of x, k = (u, v, o).
struct TurnedWeight {
    static constexpr bool kAlongK = true;
    Sizes s;
    const float* weight;
    bool quads;

    __device__ const float* memory() const { return weight; }
    __device__ int row(int c) const { return c < s.channels ? c * s.outputs : INT_MIN; }
    __device__ int step(int k) const {
        const int tap = k / s.outputs, o = k - tap * s.outputs;
        return tap * s.channels * s.outputs + o;
    }
    __device__ int place(int row, int step) const { return row + step; }
};

/// y = sum + what is added to it before it is stored (Plus).
struct WithRows {
    float* y;
    const float *row, *pixels;
    int row_step;
    Divisor outputs, pixels_of_image;

    __device__ float plus(int r, int o) const {
        float p = row != nullptr ? row[r / pixels_of_image * row_step + o] : 0.0f;
        if (pixels != nullptr) p += pixels[r * outputs + o];
        return p;
    }
    __device__ void one(int, int r, int o, float x) const { y[r * outputs + o] = x + plus(r, o); }
    __device__ void pair(int, int r, int o, float x, float z) const {
        float* to = y + (r * outputs + o);
        x += plus(r, o);
        z += plus(r, o + 1);
        if (outputs % 2 == 0) {
            *reinterpret_cast<float2*>(to) = make_float2(x, z);
        } else {
            to[0] = x;
            to[1] = z;
        }
    }
};

/// (4.8)
struct Copy {
    Divisor height, width, channels;  ///< of y
    const float* x;
    float* y;
    __device__ void operator()(int at) const {
        const int pixel = at / channels, line = pixel / width, n = line / height;
        const int c = at % channels, j = pixel % width, i = line % height;
        const int h = (height + 1) / 2, w = (width + 1) / 2;
        y[at] = x[((n * h + i / 2) * w + j / 2) * channels + c];
    }
};
struct CollectCopies {
    int height, width;       ///< of y
    Divisor h, w, channels;  ///< of x
    const float* dy;
    float* dx;
    bool add;
    __device__ void operator()(int at) const {
        const int pixel = at / channels, line = pixel / w, n = line / h;
        const int c = at % channels, j = pixel % w, i = line % h;
        float sum = add ? dx[at] : 0.0f;
        for (int a = 2 * i; a < 2 * i + 2 && a < height; ++a) {
            for (int b = 2 * j; b < 2 * j + 2 && b < width; ++b)
                sum += dy[((n * height + a) * width + b) * channels + c];
        }
        dx[at] = sum;
    }
};

struct AddRows {
    const float *bias, *shift;
    Divisor outputs;
    float* row;
    __device__ void operator()(int i) const {
        row[i] = (bias != nullptr ? bias[i % outputs] : 0.0f) + shift[i];
    }
};

}  // namespace
}  // namespace diffusion::cuda

namespace diffusion {

using cuda::Float;
using cuda::raw;

template <>
void conv2d(Tensor<const Float> x, Tensor<const Float> weight, ConvOptions options, Tensor<Float> y,
            Arena& scratch, Plus<Float> plus) {
    const cuda::Sizes s = cuda::sizes_of(x.shape(), weight.shape(), options);
    const cuda::Windows<true> windows{s, raw(x), cuda::four_fit(raw(x), s.channels)};
    const cuda::WithRows out{raw(y),
                             reinterpret_cast<const float*>(plus.row),
                             reinterpret_cast<const float*>(plus.pixels),
                             plus.row_step,
                             s.outputs,
                             s.out_height * s.out_width};
    cuda::product_of_any_shape(cuda::precision(), windows,
                               cuda::ByColumns(raw(weight), s.outputs, s.outputs, s.taps()), out,
                               s.pixels(), s.outputs, s.taps(), scratch);  // (4.1)
}

template <>
void conv2d_data_vjp(Tensor<const Float> dy, Tensor<const Float> weight, ConvOptions options,
                     bool add, Tensor<Float> dx, Arena& scratch) {
    const cuda::Sizes s = cuda::sizes_of(dx.shape(), weight.shape(), options);
    const bool quads = cuda::four_fit(raw(dy), s.outputs) && cuda::four_fit(raw(weight), s.outputs);
    cuda::product_of_any_shape(cuda::precision(), cuda::WindowsBack{s, raw(dy), quads},
                               cuda::TurnedWeight{s, raw(weight), quads},
                               cuda::Plain{raw(dx), s.channels, add}, s.images * s.height * s.width,
                               s.channels, s.kernel * s.kernel * s.outputs, scratch);  // (4.2)
}

template <>
void conv2d_weight_vjp(Tensor<const Float> x, Tensor<const Float> dy, ConvOptions options,
                       Tensor<Float> dweight, Arena& scratch) {
    const cuda::Sizes s = cuda::sizes_of(x.shape(), dweight.shape(), options);
    // The result is small and the sums are long: over all pixels of all images. So they are cut.
    const int parts = cuda::parts_for(s.taps(), s.outputs, s.pixels());
    Arena::Scope scope(scratch);
    const std::ptrdiff_t size = dweight.numel();
    float* sums = raw(scratch.make<Float>({parts, s.taps(), s.outputs}));
    const cuda::Windows<false> windows{s, raw(x), cuda::four_fit(raw(x), s.channels)};
    cuda::product(cuda::precision(), windows,
                  cuda::ByColumns(raw(dy), s.outputs, s.outputs, s.pixels()),
                  cuda::Plain{sums, s.outputs, false, size}, s.taps(), s.outputs, s.pixels(),
                  parts);  // (4.3)
    cuda::add_parts(sums, parts, size, raw(dweight));
}

template <>
void upsample(Tensor<const Float> x, Tensor<Float> y) {
    cuda::for_each_number(y.numel(), cuda::Copy{y.size(1), y.size(2), y.size(3), raw(x), raw(y)});
}
template <>
void upsample_vjp(Tensor<const Float> dy, bool add, Tensor<Float> dx) {
    cuda::for_each_number(
        dx.numel(), cuda::CollectCopies{dy.size(1), dy.size(2), dx.size(1), dx.size(2), dx.size(3),
                                        raw(dy), raw(dx), add});
}

template <>
void conv2d_doubled(Tensor<const Float> x, Tensor<const Float> weight, Tensor<Float> y,
                    Arena& scratch, Plus<Float> plus) {
    conv2d_doubled_copy(x, weight, y, scratch, plus);
}
template <>
void conv2d_doubled_vjp(Tensor<const Float> x, Tensor<const Float> weight, Tensor<const Float> dy,
                        const DoubledGradients<Float>& to, Arena& scratch) {
    conv2d_doubled_copy_vjp(x, weight, dy, to, scratch);
}

template <>
Tensor<Float> sum_of_rows(Var<Float> bias, Var<Float> shift) {
    const Tensor<Float> row = shift.tape().numbers().make<Float>(shift.shape());
    cuda::for_each_number(row.numel(), cuda::AddRows{bias ? raw(bias.value()) : nullptr,
                                                     raw(shift.value()), shift.size(1), raw(row)});
    return row;
}

template <>
void sum_of_rows_vjp(Tensor<Float> dy, Var<Float> bias, Var<Float> shift, Arena& scratch) {
    const int images = dy.size(0), pixels = pixels_of(dy.shape()), outputs = dy.size(3);
    if (!shift.needs_grad() && !bias.needs_grad()) return;
    Arena::Scope scope(scratch);
    const Tensor<Float> sums = scratch.make<Float>({images, outputs});
    cuda::column_sums(raw(dy), images * pixels, pixels, outputs, raw(sums));
    if (shift.needs_grad()) shift.add_to_grad(sums);  // (4.12)
    if (bias.needs_grad())
        cuda::add_column_sums(raw(sums), images, outputs, raw(bias.grad()), scratch);  // (2.7)
}

namespace cuda {
namespace {

// ---- The checks against the CPU's code, and the times.

/// Version 1: a thread for each number of y.
void conv2d_obvious(Tensor<const Float> x, Tensor<const Float> weight, Tensor<Float> y) {
    const Sizes s = sizes_of(x.shape(), weight.shape(), 1);
    const WithRows out{raw(y), nullptr, nullptr, 0, s.outputs, s.out_height * s.out_width};
    launch_apart(product_obvious<Windows<true>, ByColumns, WithRows>,
                 dim3(blocks_for(s.outputs, 16), blocks_for(s.pixels(), 16)), dim3(16, 16),
                 Windows<true>{s, raw(x), false},
                 ByColumns(raw(weight), s.outputs, s.outputs, s.taps()), out, s.pixels(), s.outputs,
                 s.taps());
}

/// (4.1), (4.2), (4.3) in all versions, of inputs as the tensor cores see them.
void check_versions(Stage& s) {
    const Shape in{2, 7, 5, 8}, window{3, 3, 8, 12}, out{2, 7, 5, 12};
    const std::vector<float> zero(12);
    const Precision before = precision();
    for (const Precision p : {Precision::fp32, Precision::tf32, Precision::bf16}) {
        if (p != Precision::fp32 && !has_tensor_cores()) continue;
        const auto x = rounded(p, random_numbers(in.numel(), 1)),
                   w = rounded(p, random_numbers(window.numel(), 2)),
                   dy = rounded(p, random_numbers(out.numel(), 3));
        // In double: Winograd's convolution, which the CPU makes in float, rounds more than ours.
        const ByTape<double> tape({{&x, in}, {&w, window}, {&zero, {12}}}, dy,
                                  [](const auto& v) { return conv2d(v[0], v[1], v[2]); });
        DeviceTape gpu;
        const Tensor<Float> gx = put(x, in, gpu.tape), gw = put(w, window, gpu.tape),
                            gdy = put(dy, out, gpu.tape), y = gpu.tape.numbers().make<Float>(out),
                            dx = gpu.tape.numbers().make<Float>(in),
                            dw = put(std::vector<float>(w.size()), window, gpu.tape);
        // Of sums of up to 108 products of normal numbers; tensor cores cut off where they add.
        const double allowed = p == Precision::fp32 ? 2e-5 : 6e-5;
        if (p == Precision::fp32) {
            conv2d_obvious(gx, gw, y);
            s.check("conv 1", largest_difference(take(y), tape.y), allowed);
        }
        precision() = p;
        Arena& scratch = gpu.tape.scratch();
        conv2d<Float>(gx, gw, 1, y, scratch);
        conv2d_data_vjp<Float>(gdy, gw, 1, false, dx, scratch);
        conv2d_weight_vjp<Float>(gx, gdy, 1, dw, scratch);
        precision() = before;
        const std::string what = p == Precision::fp32 ? std::string("conv 2, float")
                                                      : std::string("conv 3, ") + precision_name(p);
        s.check(what + ": y", largest_difference(take(y), tape.y), allowed);
        s.check(what + ": dx", largest_difference(take(dx), tape.gradient(0)), allowed);
        s.check(what + ": dw", largest_difference(take(dw), tape.gradient(1)), allowed);
    }
}

void time_all(Stage& s) {
    // The most frequent convolution of DDPM's network for CIFAR-10.
    constexpr int kImages = 128, kSide = 32, kChannels = 128;
    const Shape image{kImages, kSide, kSide, kChannels}, window{3, 3, kChannels, kChannels};
    const auto pixels = static_cast<std::size_t>(image.numel()),
               weights = static_cast<std::size_t>(window.numel());
    const Buffer<float> bx(pixels), by(pixels), bdx(pixels), bw(weights), bdw(weights);
    for_each_number(image.numel(), Mixed{bx.data()});
    for_each_number(window.numel(), Mixed{bw.data()});
    const Tensor<Float> x{as_device(bx.data()), image}, y{as_device(by.data()), image},
        dx{as_device(bdx.data()), image}, w{as_device(bw.data()), window},
        dw{as_device(bdw.data()), window};
    const double operations = 2.0 * kImages * kSide * kSide * 9 * kChannels * kChannels;
    s.time("conv 1: a thread for a number", 0, operations, [&] { conv2d_obvious(x, w, y); });
    Arena scratch(kGpuMemory);
    const Precision before = precision();
    for (const Precision p : {Precision::fp32, Precision::tf32, Precision::bf16}) {
        if (p != Precision::fp32 && !has_tensor_cores()) continue;
        precision() = p;
        const std::string what =
            p == Precision::fp32 ? "conv 2" : std::string("conv 3, ") + precision_name(p);
        s.time(
            what + ": y", 0, operations, [&] { conv2d<Float>(x, w, 1, y, scratch); }, p);
        s.time(
            what + ": dx", 0, operations,
            [&] { conv2d_data_vjp<Float>(y, w, 1, false, dx, scratch); }, p);
        s.time(
            what + ": dw", 0, operations, [&] { conv2d_weight_vjp<Float>(x, y, 1, w, scratch); },
            p);
    }
    precision() = before;
}

}  // namespace

void convolution_stage(Stage& s) {
    check_versions(s);
    if (s.times()) time_all(s);
}

}  // namespace cuda
}  // namespace diffusion
