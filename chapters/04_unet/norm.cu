// Chapter 4's group norm (4.5), with SiLU, and its VJP (4.6) on a GPU. Both are bound by memory: of
// each number little is made, but nothing can be written before the whole group has been read once.
#include "02_gradients/compare.hpp"
#include "02_gradients/gradients.hpp"
#include "04_unet/conv.hpp"
#include "cuda/reduce.hpp"

namespace diffusion::cuda {
namespace {

// The VJP takes 48 registers a thread. A multiprocessor's 65,536 serve five blocks of 256 threads,
// but only two of 512.
constexpr int kThreads = kOnGpu ? 256 : 64;

/// One channel of one image: number p is x[p step].
template <class F>
struct Column {
    F* x;
    int step;
    __device__ F& operator[](int p) const { return x[static_cast<std::ptrdiff_t>(p) * step]; }
};

/// One or two images, read as one (ConvInput).
template <class F>
struct Parts {
    F *a, *b;  ///< nullptr: not there
    int a_channels, b_channels, pixels;

    __device__ Column<F> column(int n, int c) const {
        const std::ptrdiff_t before = static_cast<std::ptrdiff_t>(n) * pixels;
        if (c < a_channels) return {a + before * a_channels + c, a_channels};
        return {b + before * b_channels + c - a_channels, b_channels};
    }
};

/// The lines z = scale x + shift of (4.5), and what they are made of.
struct Lines {
    float *scale, *shift;   ///< [N,C]
    float *mean, *inverse;  ///< [N,groups]
};

/// How many numbers share a mean; an int would overflow first.
__device__ __forceinline__ float numbers_of_group(int pixels, int per_group) {
    return static_cast<float>(pixels) * static_cast<float>(per_group);
}

// ---- Version 1, the obvious one: a thread for each image and group, three times through all its
// numbers. There are hardly ever more images times groups than the GPU has cores, and each waits
// for memory.
__global__ void group_norm_obvious(Parts<const float> x, int groups, int per_group, int images,
                                   const float* gain, const float* bias, float eps, bool silu,
                                   float* y) {
    const int at = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (at >= images * groups) return;
    const int n = at / groups, first = at % groups * per_group, channels = groups * per_group;
    const float numbers = numbers_of_group(x.pixels, per_group);
    const auto for_all = [&](auto f) {
        for (int c = first; c < first + per_group; ++c) {
            const Column<const float> column = x.column(n, c);
            for (int p = 0; p < x.pixels; ++p) f(p, c, column[p]);
        }
    };
    float mean = 0, square = 0;
    for_all([&](int, int, float v) { mean += v; });
    mean /= numbers;
    for_all([&](int, int, float v) { square += (v - mean) * (v - mean); });
    const float inverse = 1.0f / sqrtf(square / numbers + eps);
    for_all([&](int p, int c, float v) {
        const float z = (v - mean) * inverse * gain[c] + bias[c];
        y[(static_cast<std::ptrdiff_t>(n) * x.pixels + p) * channels + c] =
            silu ? z * logistic(z) : z;
    });
}

// ---- Version 2: a block for each image and group, twice through its numbers. A thread keeps to
// one channel, so that its line (4.5) is in registers and nothing has to be divided.

/// What a thread of the block has to do.
struct Share {
    int channel, begin, step;  ///< pixels begin, begin + step, ..
    bool busy;
};
__device__ __forceinline__ Share share_of_thread(int per_group) {
    const int columns = kThreads / per_group, tid = static_cast<int>(threadIdx.x);
    return {static_cast<int>(blockIdx.x) * per_group + tid % per_group, tid / per_group, columns,
            tid / per_group < columns};
}

/// Mean and mean square deviation of a group in one reading. A sum of squares minus the square of a
/// sum would lose all digits if the mean is large. So each thread sums distances from the first
/// number that it meets, which is as far from the others as they are from each other; that gives it
/// the mean and the squares of its own numbers. The squares around the common mean follow:
/// sum (v - mean)^2 = sum (v - own mean)^2 + count (own mean - mean)^2.
__device__ __forceinline__ float2 moments_of_group(const Column<const float>& x, const Share& share,
                                                   int pixels, float numbers, float* shared) {
    float count = 0, sum = 0, square = 0;
    const float start = share.busy && share.begin < pixels ? x[share.begin] : 0.0f;
    for (int p = share.begin; share.busy && p < pixels; p += share.step) {
        const float d = x[p] - start;
        count += 1;
        sum += d;
        square += d * d;
    }
    const float shift = count > 0 ? sum / count : 0.0f, own_mean = start + shift;
    const float mean = block_sum(count * own_mean, shared) / numbers;
    const float around = square - sum * shift + count * (own_mean - mean) * (own_mean - mean);
    return make_float2(mean, block_sum(around, shared) / numbers);
}

__global__ void __launch_bounds__(kThreads)
    group_norm_kernel(Parts<const float> x, int groups, int per_group, const float* gain,
                      const float* bias, float eps, bool silu, Lines lines, float* y) {
    __shared__ float shared[33];
    uninitialised(shared);
    const int n = static_cast<int>(blockIdx.y), g = static_cast<int>(blockIdx.x);
    const int channels = groups * per_group;
    const Share share = share_of_thread(per_group);
    const Column<const float> in = x.column(n, share.channel);
    const float2 moments =
        moments_of_group(in, share, x.pixels, numbers_of_group(x.pixels, per_group), shared);
    const float mean = moments.x, inverse = 1.0f / sqrtf(moments.y + eps);
    const float scale = inverse * gain[share.channel];  // (4.5)
    const float shift = bias[share.channel] - mean * scale;
    if (threadIdx.x == 0) {
        lines.mean[n * groups + g] = mean;
        lines.inverse[n * groups + g] = inverse;
    }
    if (share.begin == 0) {
        lines.scale[n * channels + share.channel] = scale;
        lines.shift[n * channels + share.channel] = shift;
    }
    const Column<float> out{
        y + static_cast<std::ptrdiff_t>(n) * x.pixels * channels + share.channel, channels};
    for (int p = share.begin; share.busy && p < x.pixels; p += share.step) {
        const float z = scale * in[p] + shift;
        out[p] = silu ? z * logistic(z) : z;
    }
}

/// The gradients of the one or two images, where they are wanted, and whether they are added to.
struct Gradients {
    Parts<float> to;
    bool add_a, add_b;
};

/// dy: gradient of the result. y gets the result once more if it is not nullptr. sums and alongs
/// [N,C]: of each image, what gradients of bias and gain are the sums of.
__global__ void __launch_bounds__(kThreads)
    group_norm_vjp_kernel(Parts<const float> x, int groups, int per_group, const float* gain,
                          bool silu, Lines lines, const float* __restrict__ dy,
                          float* __restrict__ y, Gradients dx, float* sums, float* alongs) {
    __shared__ float total[kThreads], along[kThreads], of_group[2];
    uninitialised(total, along, of_group);
    const int n = static_cast<int>(blockIdx.y), g = static_cast<int>(blockIdx.x);
    const int channels = groups * per_group, tid = static_cast<int>(threadIdx.x);
    const Share share = share_of_thread(per_group);
    const int c = share.channel;
    const float mean = lines.mean[n * groups + g], inverse = lines.inverse[n * groups + g];
    const float scale = lines.scale[n * channels + c], shift = lines.shift[n * channels + c];
    const Column<const float> in = x.column(n, c);
    const std::ptrdiff_t before = static_cast<std::ptrdiff_t>(n) * x.pixels * channels + c;
    const Column<const float> of_y{dy + before, channels};
    // What arrives at z = scale x + shift; `again` gets SiLU's result.
    const auto gradient_of_line = [&](int p, float v, float& again) {
        const float z = scale * v + shift, s = logistic(z);
        again = z * s;
        return silu ? silu_slope(s, again) * of_y[p] : of_y[p];
    };
    float own = 0, own_along = 0, again = 0;
    // Nothing else points to y, so four pixels may be read before the first is written.
#pragma unroll 4
    for (int p = share.begin; share.busy && p < x.pixels; p += share.step) {
        const float v = in[p], dz = gradient_of_line(p, v, again);
        if (y != nullptr) y[before + static_cast<std::ptrdiff_t>(p) * channels] = again;
        own += dz;
        own_along += dz * (v - mean);
    }
    total[tid] = own;
    along[tid] = own_along;
    __syncthreads();
    if (tid < per_group) {  // each channel's threads
        for (int k = tid + per_group; k < share.step * per_group; k += per_group) {
            total[tid] += total[k];
            along[tid] += along[k];
        }
        along[tid] *= inverse;
        sums[n * channels + c] = total[tid];
        alongs[n * channels + c] = along[tid];
    }
    __syncthreads();
    if (tid == 0) {
        const float numbers = numbers_of_group(x.pixels, per_group);
        float g_mean = 0, g_along = 0;
        for (int i = 0; i < per_group; ++i) {
            g_mean += gain[g * per_group + i] * total[i] / numbers;
            g_along += gain[g * per_group + i] * along[i] / numbers;
        }
        of_group[0] = g_mean;
        of_group[1] = g_along;
    }
    __syncthreads();
    // (4.6) dx = inverse (g - mean(g) - normal mean(g normal)), as scale dz + q x + r
    const float q = -inverse * inverse * of_group[1], r = -inverse * of_group[0] - q * mean;
    const bool in_a = c < dx.to.a_channels, add = in_a ? dx.add_a : dx.add_b;
    if (!share.busy || (in_a ? dx.to.a : dx.to.b) == nullptr) return;
    const Column<float> out = dx.to.column(n, c);
    for (int p = share.begin; p < x.pixels; p += share.step) {
        const float v = in[p], d = scale * gradient_of_line(p, v, again) + q * v + r;
        out[p] = add ? out[p] + d : d;
    }
}

int channels_of_group(const GroupNormInput<Float>& x) {
    const int per_group = x.channels() / x.groups;
    require(per_group <= kThreads, "group_norm: ", x.channels(), " channels in ", x.groups,
            " groups, on a GPU at most ", kThreads, " in a group");
    return per_group;
}
Parts<const float> parts_of(const GroupNormInput<Float>& x) {
    return {raw(x.a), x.b ? raw(x.b) : nullptr, x.a.size(3), x.b ? x.b.size(3) : 0,
            pixels_of(x.a.shape())};
}

Lines lines_of(const GroupNormLines<Float>& lines) {
    return {raw(lines.scale), raw(lines.shift), raw(lines.mean), raw(lines.inverse)};
}

}  // namespace
}  // namespace diffusion::cuda

namespace diffusion {

using cuda::Float;
using cuda::raw;

template <>
void group_norm_forward(const GroupNormInput<Float>& x, const GroupNormLines<Float>& lines,
                        Tensor<Float> y, Arena&) {
    cuda::launch(cuda::group_norm_kernel,
                 dim3(static_cast<unsigned>(x.groups), static_cast<unsigned>(y.size(0))),
                 cuda::kThreads, cuda::parts_of(x), x.groups, cuda::channels_of_group(x),
                 raw(x.gain), raw(x.bias), static_cast<float>(x.eps), x.silu, cuda::lines_of(lines),
                 raw(y));
}

template <>
void group_norm_vjp(const GroupNormInput<Float>& x, const GroupNormLines<Float>& lines,
                    Tensor<Float> dy, Tensor<Float> y, const GroupNormGradients<Float>& to,
                    Arena& scratch) {
    const int images = dy.size(0), channels = dy.size(3);
    const cuda::Parts<const float> in = cuda::parts_of(x);
    const auto wanted = [](Tensor<Float> t) { return t ? raw(t) : nullptr; };
    const cuda::Gradients dx{
        {wanted(to.a), wanted(to.b), in.a_channels, in.b_channels, in.pixels}, to.add_a, to.add_b};
    Arena::Scope scope(scratch);
    float *sums = raw(scratch.make<Float>({images, channels})),
          *alongs = raw(scratch.make<Float>({images, channels}));
    cuda::launch(cuda::group_norm_vjp_kernel,
                 dim3(static_cast<unsigned>(x.groups), static_cast<unsigned>(images)),
                 cuda::kThreads, in, x.groups, cuda::channels_of_group(x), raw(x.gain), x.silu,
                 cuda::lines_of(lines), raw(dy), x.silu ? raw(y) : nullptr, dx, sums, alongs);
    if (to.gain) cuda::add_column_sums(alongs, images, channels, raw(to.gain), scratch);
    if (to.bias) cuda::add_column_sums(sums, images, channels, raw(to.bias), scratch);
}

namespace cuda {
namespace {

// ---- The checks against the CPU's code, and the times.

constexpr auto norm_of_eight = []<class V>(const std::vector<V>& v) {
    return group_norm(v[0], {v[1], v[2], 8});
};

void check(Stage& s) {
    // Version 1 alone; version 2, as all others, on the tape.
    const Shape shape{2, 5, 3, 24};
    const std::vector<float> x = random_numbers(shape.numel(), 1), gain = random_numbers(24, 2),
                             bias = random_numbers(24, 3);
    const ByTape<> tape({{&x, shape}, {&gain, {24}}, {&bias, {24}}}, x, norm_of_eight);
    const auto gx = Buffer<float>::of(x), ggain = Buffer<float>::of(gain),
               gbias = Buffer<float>::of(bias);
    const Buffer<float> y(x.size());
    launch_apart(group_norm_obvious, 1, kThreads, Parts<const float>{gx.data(), nullptr, 24, 0, 15},
                 8, 3, 2, ggain.data(), gbias.data(), 1e-5f, false, y.data());
    s.check("group norm 1: result", largest_difference(y.download(), tape.y), 1e-5);
    compare_on_tapes(s, "group norm 2", {shape, {24}, {24}}, 3e-5, norm_of_eight);

    // Numbers around 1000 whose deviation is 1: of their squares a float keeps no digit of it.
    std::vector<float> far = x;
    for (float& v : far) v += 1000;
    DeviceTape gpu;
    const auto constant = [&](const std::vector<float>& numbers, Shape of) {
        return gpu.tape.constant(put(numbers, of, gpu.tape));
    };
    const std::vector<float> found =
        take(norm_of_eight(std::vector{constant(far, {1, 30, 1, 24}), constant(gain, {24}),
                                       constant(bias, {24})})
                 .value());
    const ByTape<double> exact({{&far, {1, 30, 1, 24}}, {&gain, {24}}, {&bias, {24}}}, far,
                               norm_of_eight);
    s.check("group norm 2 of numbers around 1000, against double",
            largest_difference(found, exact.y), 1e-3);
}

void time_all(Stage& s) {
    constexpr int kImages = 128, kSide = 32, kChannels = 128, kGroups = 8;
    const Shape shape{kImages, kSide, kSide, kChannels};
    const auto size = static_cast<std::size_t>(shape.numel());
    const double bytes = 4.0 * static_cast<double>(size);
    const Buffer<float> x(size), y(size), dy(size), again(size), gain(kChannels), bias(kChannels);
    for_each_number(shape.numel(), Mixed{x.data()});
    for_each_number(shape.numel(), Mixed{dy.data()});
    for_each_number(kChannels, Mixed{gain.data()});
    s.time("group norm and SiLU 1: a thread for a group", 2 * bytes, 0, [&] {
        launch_apart(group_norm_obvious, blocks_for(kImages * kGroups, 64), 64,
                     Parts<const float>{x.data(), nullptr, kChannels, 0, kSide * kSide}, kGroups,
                     kChannels / kGroups, kImages, gain.data(), bias.data(), 1e-5f, true, y.data());
    });
    DeviceTape gpu;
    const auto leaf = [&](const Buffer<float>& of, Shape s_) {
        return gpu.tape.leaf({as_device(of.data()), s_});
    };
    const ConvInput<Float> norm =
        normed(ConvInput<Float>(leaf(x, shape)),
               Norm<Float>{leaf(gain, {kChannels}), leaf(bias, {kChannels}), kGroups, 1e-5, true});
    const Tensor<Float> out{as_device(y.data()), shape};
    const GroupNormLines<Float> lines = norm_lines(norm);
    const Images all{0, kImages};
    s.time("group norm and SiLU 2: a block for a group", 2 * bytes, 0,
           [&] { norm_forward(norm, lines, all, out); });
    // The first run makes room for the gradient, the others add to it: one more reading.
    s.time("its VJP, adding to dx", 5 * bytes, 0, [&] {
        norm_vjp(norm, lines, gradients_of(norm), all, {as_device(dy.data()), shape},
                 {as_device(again.data()), shape});
    });
}

}  // namespace

void norm_stage(Stage& s) {
    check(s);
    if (s.times()) time_all(s);
}

}  // namespace cuda
}  // namespace diffusion
