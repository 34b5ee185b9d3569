// Chapter 4's convolution (4.1) and its two VJPs (4.2), (4.3) on a GPU, as matrix products whose
// left side is never written down ("implicit GEMM"): the product's kernel asks for number (row, k),
// and a reader finds it in the image. Row is a pixel of the result, k a place in the window and a
// channel.
#include "02_gradients/gradients.hpp"
#include "04_unet/conv.hpp"
#include "cuda/reduce.hpp"
#include "cuda/stage.hpp"
#include "tensor/random.hpp"

namespace diffusion::cuda {
namespace {

/// What all three products know of a convolution.
struct Sizes {
    int images, height, width, channels;  ///< of x
    int out_height, out_width, outputs;   ///< of y
    int kernel, stride;

    int pixels() const { return images * out_height * out_width; }
    int taps() const { return kernel * kernel * channels; }
};

Sizes sizes_of(const Shape& x, const Shape& weight, int stride) {
    const Shape y = conv2d_shape(x, weight, stride);
    return {x[0], x[1], x[2], x[3], y[1], y[2], y[3], weight[0], stride};
}

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

    __device__ const float* place(int r, int k) const {
        const int tap = k / s.channels, c = k - tap * s.channels;
        const int u = tap / s.kernel, v = tap - u * s.kernel;
        const int line = r / s.out_width, n = line / s.out_height;
        const int pad = (s.kernel - 1) / 2;
        const int i = (line - n * s.out_height) * s.stride + u - pad,
                  j = (r - line * s.out_width) * s.stride + v - pad;
        if (i < 0 || i >= s.height || j < 0 || j >= s.width) return nullptr;
        return x + ((static_cast<std::ptrdiff_t>(n) * s.height + i) * s.width + j) * s.channels + c;
    }
    __device__ const float* four(int i, int k) const {
        const int r = along_k ? i : k, tap = along_k ? k : i;
        const bool inside =
            r < s.images * s.out_height * s.out_width && tap < s.kernel * s.kernel * s.channels;
        return inside ? place(r, tap) : nullptr;
    }
    __device__ float at(int i, int k) const {
        const float* p = four(i, k);
        return p != nullptr ? *p : 0.0f;
    }
};

/// dy seen from a pixel of x (4.2): row is that pixel, k = (u, v, o) the way its number took to y.
struct WindowsBack {
    static constexpr bool kAlongK = true;
    Sizes s;
    const float* dy;
    bool quads;

    __device__ const float* four(int row, int k) const {
        if (row >= s.images * s.height * s.width || k >= s.kernel * s.kernel * s.outputs)
            return nullptr;
        const int tap = k / s.outputs, o = k - tap * s.outputs;
        const int u = tap / s.kernel, v = tap - u * s.kernel;
        const int line = row / s.width, n = line / s.height, pad = (s.kernel - 1) / 2;
        const int i = line - n * s.height + pad - u, j = row - line * s.width + pad - v;
        if (i < 0 || j < 0 || i % s.stride != 0 || j % s.stride != 0) return nullptr;
        const int a = i / s.stride, b = j / s.stride;
        if (a >= s.out_height || b >= s.out_width) return nullptr;
        return dy +
               ((static_cast<std::ptrdiff_t>(n) * s.out_height + a) * s.out_width + b) * s.outputs +
               o;
    }
    __device__ float at(int row, int k) const {
        const float* p = four(row, k);
        return p != nullptr ? *p : 0.0f;
    }
};

/// The weights for (4.2): column is a channel of x, k = (u, v, o).
struct TurnedWeight {
    static constexpr bool kAlongK = true;
    Sizes s;
    const float* weight;
    bool quads;

    __device__ const float* four(int c, int k) const {
        if (c >= s.channels || k >= s.kernel * s.kernel * s.outputs) return nullptr;
        const int tap = k / s.outputs, o = k - tap * s.outputs;
        return weight + (static_cast<std::ptrdiff_t>(tap) * s.channels + c) * s.outputs + o;
    }
    __device__ float at(int c, int k) const {
        const float* p = four(c, k);
        return p != nullptr ? *p : 0.0f;
    }
};

/// y = sum + what is added to it before it is stored (Plus).
struct WithRows {
    float* y;
    const float *row, *pixels;
    int row_step, outputs, pixels_of_image;

    __device__ float plus(int r, int o) const {
        float p = row != nullptr ? row[r / pixels_of_image * row_step + o] : 0.0f;
        if (pixels != nullptr) p += pixels[static_cast<std::ptrdiff_t>(r) * outputs + o];
        return p;
    }
    __device__ void one(int, int r, int o, float x) const {
        y[static_cast<std::ptrdiff_t>(r) * outputs + o] = x + plus(r, o);
    }
    __device__ void pair(int, int r, int o, float x, float z) const {
        float* to = y + static_cast<std::ptrdiff_t>(r) * outputs + o;
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

/// total[i] += the sum of the parts, in their order.
struct AddParts {
    const float* part;
    int parts;
    std::ptrdiff_t size;
    float* total;
    __device__ void operator()(std::ptrdiff_t i) const {
        float sum = 0;
        for (int p = 0; p < parts; ++p) sum += part[p * size + i];
        total[i] += sum;
    }
};

/// (4.8)
struct Copy {
    int height, width, channels;  ///< of y
    const float* x;
    float* y;
    __device__ void operator()(std::ptrdiff_t at) const {
        const int c = static_cast<int>(at % channels);
        const std::ptrdiff_t pixel = at / channels, line = pixel / width;
        const int j = static_cast<int>(pixel % width), i = static_cast<int>(line % height);
        const std::ptrdiff_t n = line / height;
        const int h = (height + 1) / 2, w = (width + 1) / 2;
        y[at] = x[((n * h + i / 2) * w + j / 2) * channels + c];
    }
};
struct CollectCopies {
    int height, width, channels;  ///< of y
    const float* dy;
    float* dx;
    bool add;
    __device__ void operator()(std::ptrdiff_t at) const {
        const int h = (height + 1) / 2, w = (width + 1) / 2;
        const int c = static_cast<int>(at % channels);
        const std::ptrdiff_t pixel = at / channels, line = pixel / w;
        const int j = static_cast<int>(pixel % w), i = static_cast<int>(line % h);
        const std::ptrdiff_t n = line / h;
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
    int outputs;
    float* row;
    __device__ void operator()(std::ptrdiff_t i) const { row[i] = bias[i % outputs] + shift[i]; }
};

// The sums of each image over its pixels: a block for an image and 32 channels, as in
// column_sums_kernel of chapter 2.
constexpr int kThreads = kBlockThreads, kWarps = kThreads / 32;
__global__ void image_sums_kernel(const float* dy, int pixels, int channels, float* sum) {
    __shared__ float parts[kWarps][33];
    const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
    const int c = static_cast<int>(blockIdx.x) * 32 + lane, n = static_cast<int>(blockIdx.y);
    float own = 0;
    for (int p = warp; c < channels && p < pixels; p += kWarps)
        own += dy[(static_cast<std::ptrdiff_t>(n) * pixels + p) * channels + c];
    parts[warp][lane] = own;
    __syncthreads();
    if (warp == 0 && c < channels) {
        float total = 0;
        for (int w = 0; w < kWarps; ++w) total += parts[w][lane];
        sum[n * channels + c] = total;
    }
}

}  // namespace
}  // namespace diffusion::cuda

namespace diffusion {

using cuda::Float;
using cuda::raw;

template <>
void conv2d(Tensor<const Float> x, Tensor<const Float> weight, int stride, Tensor<Float> y, Arena&,
            Plus<Float> plus) {
    const cuda::Sizes s = cuda::sizes_of(x.shape(), weight.shape(), stride);
    const cuda::Windows<true> windows{s, raw(x), cuda::four_fit(raw(x), s.channels)};
    const cuda::WithRows out{raw(y),
                             reinterpret_cast<const float*>(plus.row),
                             reinterpret_cast<const float*>(plus.pixels),
                             plus.row_step,
                             s.outputs,
                             s.out_height * s.out_width};
    cuda::product(cuda::precision(), windows,
                  cuda::ByColumns(raw(weight), s.outputs, s.outputs, s.taps()), out, s.pixels(),
                  s.outputs, s.taps());  // (4.1)
}

template <>
void conv2d_data_vjp(Tensor<const Float> dy, Tensor<const Float> weight, int stride, bool add,
                     Tensor<Float> dx, Arena&) {
    const cuda::Sizes s = cuda::sizes_of(dx.shape(), weight.shape(), stride);
    const bool quads = cuda::four_fit(raw(dy), s.outputs) && cuda::four_fit(raw(weight), s.outputs);
    cuda::product(cuda::precision(), cuda::WindowsBack{s, raw(dy), quads},
                  cuda::TurnedWeight{s, raw(weight), quads}, cuda::Plain{raw(dx), s.channels, add},
                  s.images * s.height * s.width, s.channels,
                  s.kernel * s.kernel * s.outputs);  // (4.2)
}

template <>
void conv2d_weight_vjp(Tensor<const Float> x, Tensor<const Float> dy, int stride,
                       Tensor<Float> dweight, Arena& scratch) {
    const cuda::Sizes s = cuda::sizes_of(x.shape(), dweight.shape(), stride);
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
    cuda::for_each_number(size, cuda::AddParts{sums, parts, size, raw(dweight)});
}

template <>
void upsample(Tensor<const Float> x, Tensor<Float> y) {
    cuda::for_each_number(y.numel(), cuda::Copy{y.size(1), y.size(2), y.size(3), raw(x), raw(y)});
}
template <>
void upsample_vjp(Tensor<const Float> dy, bool add, Tensor<Float> dx) {
    cuda::for_each_number(
        dx.numel(), cuda::CollectCopies{dy.size(1), dy.size(2), dy.size(3), raw(dy), raw(dx), add});
}

template <>
Tensor<Float> sum_of_rows(Var<Float> bias, Var<Float> shift) {
    const Tensor<Float> row = shift.tape().numbers().make<Float>(shift.shape());
    cuda::for_each_number(
        row.numel(), cuda::AddRows{raw(bias.value()), raw(shift.value()), shift.size(1), raw(row)});
    return row;
}

template <>
void sum_of_rows_vjp(Tensor<Float> dy, Var<Float> bias, Var<Float> shift) {
    const int images = dy.size(0), pixels = dy.size(1) * dy.size(2), outputs = dy.size(3);
    if (!shift.needs_grad() && !bias.needs_grad()) return;
    Arena& scratch = bias.tape().scratch();
    Arena::Scope scope(scratch);
    const Tensor<Float> sums = scratch.make<Float>({images, outputs});
    cuda::launch(cuda::image_sums_kernel,
                 dim3(cuda::blocks_for(outputs, 32), static_cast<unsigned>(images)), cuda::kThreads,
                 raw(dy), pixels, outputs, raw(sums));
    if (shift.needs_grad()) shift.add_to_grad(sums);  // (4.12)
    if (bias.needs_grad())
        cuda::add_column_sums(raw(sums), images, outputs, raw(bias.grad()));  // (2.7)
}

}  // namespace diffusion
