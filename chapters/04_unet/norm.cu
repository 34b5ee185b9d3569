// Chapter 4's group norm (4.5), with SiLU, and its VJP (4.6) on a GPU: a block for each image and
// group, whose sums meet in shared memory. The image is read once to normalise with (from memory)
// and twice more from the cache.
#include "02_gradients/gradients.hpp"
#include "04_unet/conv.hpp"
#include "cuda/reduce.hpp"

namespace diffusion::cuda {
namespace {

constexpr int kThreads = kBlockThreads;

/// One or two images, read as one (Joined), of which a block sees one group.
struct Parts {
    const float *a, *b;
    int a_channels, b_channels, pixels, per_group;

    __device__ std::ptrdiff_t offset_in_part(int n, int p, int c) const {
        const std::ptrdiff_t pixel = static_cast<std::ptrdiff_t>(n) * pixels + p;
        return c < a_channels ? pixel * a_channels + c : pixel * b_channels + c - a_channels;
    }
    __device__ float at(int n, int p, int c) const {
        return (c < a_channels ? a : b)[offset_in_part(n, p, c)];
    }
};

/// The lines z = scale x + shift of (4.5), and what they are made of.
struct Lines {
    float *scale, *shift;   ///< [N,C]
    float *mean, *inverse;  ///< [N,groups]
};

// Version 1, the obvious one: a thread for each image and group, three times through all its
// numbers. There are hardly ever more images times groups than the GPU has cores, and each waits
// for memory.
__global__ void group_norm_obvious(Parts x, int groups, int images, const float* gain,
                                   const float* bias, float eps, bool silu, float* y) {
    const int at = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (at >= images * groups) return;
    const int n = at / groups, first = at % groups * x.per_group, channels = groups * x.per_group;
    const float numbers = static_cast<float>(x.pixels * x.per_group);
    const auto for_all = [&](auto f) {
        for (int p = 0; p < x.pixels; ++p) {
            for (int c = first; c < first + x.per_group; ++c) f(p, c, x.at(n, p, c));
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

// Version 2: a block for each image and group.
__global__ void group_norm_kernel(Parts x, int groups, const float* gain, const float* bias,
                                  float eps, bool silu, Lines lines, float* y) {
    __shared__ float shared[33];
    const int n = static_cast<int>(blockIdx.y), g = static_cast<int>(blockIdx.x);
    const int first = g * x.per_group, channels = groups * x.per_group;
    const int count = x.pixels * x.per_group;
    const float numbers = static_cast<float>(count);
    float sum = 0;
    for (int i = static_cast<int>(threadIdx.x); i < count; i += kThreads)
        sum += x.at(n, i / x.per_group, first + i % x.per_group);
    const float mean = block_sum(sum, shared) / numbers;
    sum = 0;
    for (int i = static_cast<int>(threadIdx.x); i < count; i += kThreads) {
        const float d = x.at(n, i / x.per_group, first + i % x.per_group) - mean;
        sum += d * d;
    }
    const float inverse = 1.0f / sqrtf(block_sum(sum, shared) / numbers + eps);
    if (threadIdx.x == 0) {
        lines.mean[n * groups + g] = mean;
        lines.inverse[n * groups + g] = inverse;
    }
    for (int c = first + static_cast<int>(threadIdx.x); c < first + x.per_group; c += kThreads) {
        const float scale = inverse * gain[c];
        lines.scale[n * channels + c] = scale;  // (4.5)
        lines.shift[n * channels + c] = bias[c] - mean * scale;
    }
    for (int i = static_cast<int>(threadIdx.x); i < count; i += kThreads) {
        const int p = i / x.per_group, c = first + i % x.per_group;
        const float scale = inverse * gain[c], z = scale * x.at(n, p, c) + (bias[c] - mean * scale);
        y[(static_cast<std::ptrdiff_t>(n) * x.pixels + p) * channels + c] =
            silu ? z * logistic(z) : z;
    }
}

/// Where the gradients of the one or two images go; nullptr: not wanted.
struct Gradients {
    float *a, *b;
    bool add_a, add_b;
};

__global__ void group_norm_vjp_kernel(Parts x, int groups, const float* gain, bool silu,
                                      Lines lines, float* dy, float* y, Gradients dx, float* sums,
                                      float* alongs) {
    __shared__ float total[kThreads], along[kThreads], of_group[2];
    const int n = static_cast<int>(blockIdx.y), g = static_cast<int>(blockIdx.x);
    const int first = g * x.per_group, channels = groups * x.per_group;
    const float mean = lines.mean[n * groups + g], inverse = lines.inverse[n * groups + g];
    // A thread keeps to one channel: then its sums are that channel's.
    const int columns = kThreads / x.per_group, tid = static_cast<int>(threadIdx.x);
    const int c = first + tid % x.per_group, column = tid / x.per_group;
    const bool busy = column < columns;
    const float scale = lines.scale[n * channels + c], shift = lines.shift[n * channels + c];
    float own = 0, own_along = 0;
    for (int p = column; busy && p < x.pixels; p += columns) {
        const std::ptrdiff_t at = (static_cast<std::ptrdiff_t>(n) * x.pixels + p) * channels + c;
        const float v = x.at(n, p, c);
        float dz = dy[at];
        if (silu) {
            const float z = scale * v + shift, s = logistic(z), again = z * s;
            dz *= s + again * (1 - s);  // (2.6)
            dy[at] = dz;
            y[at] = again;
        }
        own += dz;
        own_along += dz * (v - mean);
    }
    total[tid] = own;
    along[tid] = own_along;
    __syncthreads();
    if (tid < x.per_group) {
        for (int k = 1; k < columns; ++k) {
            total[tid] += total[tid + k * x.per_group];
            along[tid] += along[tid + k * x.per_group];
        }
        along[tid] *= inverse;
        sums[n * channels + c] = total[tid];
        alongs[n * channels + c] = along[tid];
    }
    __syncthreads();
    if (tid == 0) {
        const float numbers = static_cast<float>(x.pixels * x.per_group);
        float g_mean = 0, g_along = 0;
        for (int i = 0; i < x.per_group; ++i) {
            g_mean += gain[first + i] * total[i] / numbers;
            g_along += gain[first + i] * along[i] / numbers;
        }
        of_group[0] = g_mean;
        of_group[1] = g_along;
    }
    __syncthreads();
    // (4.6) dx = inverse (g - mean(g) - normal mean(g normal)), as scale dz + q x + r
    const float q = -inverse * inverse * of_group[1], r = -inverse * of_group[0] - q * mean;
    float* to = c < x.a_channels ? dx.a : dx.b;
    const bool add = c < x.a_channels ? dx.add_a : dx.add_b;
    for (int p = column; busy && to != nullptr && p < x.pixels; p += columns) {
        const std::ptrdiff_t at = (static_cast<std::ptrdiff_t>(n) * x.pixels + p) * channels + c,
                             in_part = x.offset_in_part(n, p, c);
        const float d = scale * dy[at] + q * x.at(n, p, c) + r;
        to[in_part] = add ? to[in_part] + d : d;
    }
}

Parts parts_of(const Normed<Float>& norm) {
    const Shape s = norm.x.shape();
    require(norm.groups > 0 && s[3] % norm.groups == 0 && s[3] / norm.groups <= kThreads,
            "group_norm: ", s, " in ", norm.groups, " groups");
    const Var<Float> a = norm.x.a, b = norm.x.b;
    return {raw(a.value()), b ? raw(b.value()) : nullptr,
            a.size(3),      b ? b.size(3) : 0,
            s[1] * s[2],    s[3] / norm.groups};
}

Lines lines_of(const NormLines<Float>& lines) {
    return {raw(lines.scale), raw(lines.shift), raw(lines.mean), raw(lines.inverse)};
}

}  // namespace

void group_norm_by_obvious_kernel(const Normed<Float>& norm, Tensor<Float> y) {
    const int images = y.size(0);
    launch_apart(group_norm_obvious, blocks_for(images * norm.groups, kThreads), kThreads,
                 parts_of(norm), norm.groups, images, raw(norm.gain.value()),
                 raw(norm.bias.value()), norm.eps.value, norm.silu, raw(y));
}

}  // namespace diffusion::cuda

namespace diffusion {

using cuda::Float;
using cuda::raw;

template <>
NormLines<Float> group_norm_forward(const Normed<Float>& norm, Tensor<Float> y) {
    const int images = y.size(0), channels = y.size(3), groups = norm.groups;
    require(norm.gain.shape() == Shape{channels} && norm.bias.shape() == Shape{channels},
            "group_norm: x ends in ", channels, " channels, gain is ", norm.gain.shape(),
            ", bias is ", norm.bias.shape());
    Arena& numbers = norm.tape().numbers();
    const NormLines<Float> lines{
        numbers.make<Float>({images, channels}), numbers.make<Float>({images, channels}),
        numbers.make<Float>({images, groups}), numbers.make<Float>({images, groups})};
    cuda::launch(cuda::group_norm_kernel,
                 dim3(static_cast<unsigned>(groups), static_cast<unsigned>(images)), cuda::kThreads,
                 cuda::parts_of(norm), groups, raw(norm.gain.value()), raw(norm.bias.value()),
                 norm.eps.value, norm.silu, cuda::lines_of(lines), raw(y));
    return lines;
}

template <>
void group_norm_vjp(const Normed<Float>& norm, const NormLines<Float>& lines, Tensor<Float> dy,
                    Tensor<Float> y) {
    const int images = dy.size(0), channels = dy.size(3), groups = norm.groups;
    cuda::Gradients dx{};
    const auto wanted = [](Var<Float> x, float*& to, bool& add) {
        if (x.needs_grad()) to = raw(x.grad_or_room(add));
    };
    wanted(norm.x.a, dx.a, dx.add_a);
    wanted(norm.x.b, dx.b, dx.add_b);
    Arena& scratch = norm.tape().scratch();
    Arena::Scope scope(scratch);
    float *sums = raw(scratch.make<Float>({images, channels})),
          *alongs = raw(scratch.make<Float>({images, channels}));
    cuda::launch(cuda::group_norm_vjp_kernel,
                 dim3(static_cast<unsigned>(groups), static_cast<unsigned>(images)), cuda::kThreads,
                 cuda::parts_of(norm), groups, raw(norm.gain.value()), norm.silu,
                 cuda::lines_of(lines), raw(dy), norm.silu ? raw(y) : nullptr, dx, sums, alongs);
    if (norm.gain.needs_grad())
        cuda::add_column_sums(alongs, images, channels, raw(norm.gain.grad()));
    if (norm.bias.needs_grad())
        cuda::add_column_sums(sums, images, channels, raw(norm.bias.grad()));
}

template <>
Var<Float> group_norm(Var<Float> x, Var<Float> gain, Var<Float> bias, int groups, Float eps) {
    const Normed<Float> norm{x, gain, bias, groups, false, eps};
    const Var<Float> y = x.tape().result(x.shape(), x, gain, bias);
    const NormLines<Float> lines = group_norm_forward(norm, y.value());
    x.tape().record(y, [=] { group_norm_vjp(norm, lines, y.grad(), {}); });
    return y;
}

}  // namespace diffusion
