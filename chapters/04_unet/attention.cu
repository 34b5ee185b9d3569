// Chapter 4's attention (4.9) and its VJP (4.10) on a GPU. Scores are made, used and forgotten: a
// warp takes a query and goes through the keys 32 at a time, each thread with a key of its own; the
// sums over keys are then made with a thread for each channel, which gets the 32 weights from its
// neighbours one after the other. As in attention.cpp the weights are never written to memory.
#include "02_gradients/compare.hpp"
#include "04_unet/conv.hpp"
#include "cuda/reduce.hpp"

namespace diffusion::cuda {
namespace {

constexpr int kThreads = kBlockThreads, kWarps = kThreads / 32;
constexpr int kMostWidth = 256, kParts = kMostWidth / 32;  // channels of a head; of a thread

/// One head of one image: rows of `width` channels that lie `channels` apart.
struct Heads {
    const float *q, *k, *v;
    int images, heads, queries, keys, channels, width;
    float factor;

    __device__ std::ptrdiff_t row(int n, int length, int i, int h) const {
        return (static_cast<std::ptrdiff_t>(n) * length + i) * channels + h * width;
    }
};

/// Which image, head and row belong to this warp; false: none.
__device__ __forceinline__ bool find_row(int images, int heads, int rows, int& n, int& h, int& i) {
    const int at = static_cast<int>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / 32;
    i = at % rows;
    h = at / rows % heads;
    n = at / rows / heads;
    return n < images;
}

__device__ __forceinline__ float dot(const float* a, const float* b, int n) {
    float sum = 0;
    for (int i = 0; i < n; ++i) sum += a[i] * b[i];
    return sum;
}

// Version 1, the obvious one: a thread for each number of y, which makes all scores of its query
// anew.
__global__ void attention_obvious(Heads a, float* y) {
    const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (at >= static_cast<std::ptrdiff_t>(a.images) * a.queries * a.channels) return;
    const int c = static_cast<int>(at % a.channels), h = c / a.width;
    const int i = static_cast<int>(at / a.channels % a.queries),
              n = static_cast<int>(at / a.channels / a.queries);
    const float* q = a.q + a.row(n, a.queries, i, h);
    float largest = -INFINITY, total = 0, sum = 0;
    for (int j = 0; j < a.keys; ++j) {
        const float s = a.factor * dot(q, a.k + a.row(n, a.keys, j, h), a.width);
        largest = s > largest ? s : largest;
    }
    for (int j = 0; j < a.keys; ++j) {
        const float p = expf(a.factor * dot(q, a.k + a.row(n, a.keys, j, h), a.width) - largest);
        total += p;
        sum += p * a.v[a.row(n, a.keys, j, h) + c % a.width];
    }
    y[at] = sum / total;
}

// Version 2. log_sum [N,heads,queries]: the logarithm of each row's denominator.
__global__ void attention_kernel(Heads a, float* y, float* log_sum) {
    int n = 0, h = 0, i = 0;
    if (!find_row(a.images, a.heads, a.queries, n, h, i)) return;  // the whole warp
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const float* q = a.q + a.row(n, a.queries, i, h);
    float largest = -INFINITY, total = 0, sum[kParts] = {};
    for (int first = 0; first < a.keys; first += 32) {
        const int j = first + lane;
        const float s =
            j < a.keys ? a.factor * dot(q, a.k + a.row(n, a.keys, j, h), a.width) : -INFINITY;
        const float now = fmaxf(largest, warp_max(s));
        const float p = expf(s - now), shrink = expf(largest - now);
        total = shrink * total + warp_sum(p);
        largest = now;
#pragma unroll
        for (int part = 0; part < kParts; ++part) sum[part] *= shrink;
        const int count = a.keys - first < 32 ? a.keys - first : 32;
        for (int l = 0; l < count; ++l) {
            const float weight = __shfl_sync(0xffffffffu, p, l);
            const float* v = a.v + a.row(n, a.keys, first + l, h);
#pragma unroll
            for (int part = 0; part < kParts; ++part) {
                const int c = lane + 32 * part;
                if (c < a.width) sum[part] += weight * v[c];
            }
        }
    }
    float* out = y + a.row(n, a.queries, i, h);
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
        const int c = lane + 32 * part;
        if (c < a.width) out[c] = sum[part] / total;
    }
    if (lane == 0) log_sum[(n * a.heads + h) * a.queries + i] = largest + logf(total);
}

/// dq, and for each query the sum over j of P dP, which is the scalar product of dy and y.
__global__ void attention_vjp_of_queries(Heads a, const float* y, const float* dy,
                                         const float* log_sum, float* means, float* dq) {
    int n = 0, h = 0, i = 0;
    if (!find_row(a.images, a.heads, a.queries, n, h, i)) return;
    const int lane = static_cast<int>(threadIdx.x) % 32, at = (n * a.heads + h) * a.queries + i;
    const std::ptrdiff_t row = a.row(n, a.queries, i, h);
    const float *q = a.q + row, *g = dy + row;
    float mean = 0, sum[kParts] = {};
    for (int c = lane; c < a.width; c += 32) mean += g[c] * y[row + c];
    mean = warp_sum(mean);
    if (lane == 0) means[at] = mean;
    for (int first = 0; first < a.keys; first += 32) {
        const int j = first + lane;
        float ds = 0;
        if (j < a.keys) {
            const std::ptrdiff_t key = a.row(n, a.keys, j, h);
            const float p = expf(a.factor * dot(q, a.k + key, a.width) - log_sum[at]);
            ds = a.factor * p * (dot(g, a.v + key, a.width) - mean);  // (4.10)
        }
        const int count = a.keys - first < 32 ? a.keys - first : 32;
        for (int l = 0; l < count; ++l) {
            const float weight = __shfl_sync(0xffffffffu, ds, l);
            const float* k = a.k + a.row(n, a.keys, first + l, h);
#pragma unroll
            for (int part = 0; part < kParts; ++part) {
                const int c = lane + 32 * part;
                if (c < a.width) sum[part] += weight * k[c];
            }
        }
    }
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
        const int c = lane + 32 * part;
        if (c < a.width) dq[row + c] += sum[part];
    }
}

/// dk and dv: a warp takes a key, and goes through the queries.
__global__ void attention_vjp_of_keys(Heads a, const float* dy, const float* log_sum,
                                      const float* means, float* dk, float* dv) {
    int n = 0, h = 0, j = 0;
    if (!find_row(a.images, a.heads, a.keys, n, h, j)) return;
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const std::ptrdiff_t key = a.row(n, a.keys, j, h);
    float of_k[kParts] = {}, of_v[kParts] = {};
    for (int first = 0; first < a.queries; first += 32) {
        const int i = first + lane;
        float p = 0, ds = 0;
        if (i < a.queries) {
            const std::ptrdiff_t row = a.row(n, a.queries, i, h);
            const int at = (n * a.heads + h) * a.queries + i;
            p = expf(a.factor * dot(a.q + row, a.k + key, a.width) - log_sum[at]);
            ds = a.factor * p * (dot(dy + row, a.v + key, a.width) - means[at]);  // (4.10)
        }
        const int count = a.queries - first < 32 ? a.queries - first : 32;
        for (int l = 0; l < count; ++l) {
            const float weight = __shfl_sync(0xffffffffu, p, l),
                        slope = __shfl_sync(0xffffffffu, ds, l);
            const std::ptrdiff_t row = a.row(n, a.queries, first + l, h);
#pragma unroll
            for (int part = 0; part < kParts; ++part) {
                const int c = lane + 32 * part;
                if (c < a.width) {
                    of_v[part] += weight * dy[row + c];
                    of_k[part] += slope * a.q[row + c];
                }
            }
        }
    }
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
        const int c = lane + 32 * part;
        if (c < a.width) {
            dk[key + c] += of_k[part];
            dv[key + c] += of_v[part];
        }
    }
}

struct Slice {
    const float* x;
    int from, begin;  ///< channels of x; the first that is taken
    Divisor count;
    float* y;
    __device__ void operator()(int i) const { y[i] = x[i / count * from + begin + i % count]; }
};
struct SliceVjp {
    const float* dy;
    int from, begin;
    Divisor count;
    float* dx;
    __device__ void operator()(int i) const { dx[i / count * from + begin + i % count] += dy[i]; }
};

Heads heads_of(Var<Float> q, Var<Float> k, Var<Float> v, int heads) {
    const int width = q.size(2) / heads;
    return {raw(q.value()), raw(k.value()),
            raw(v.value()), q.size(0),
            heads,          q.size(1),
            k.size(1),      q.size(2),
            width,          1 / std::sqrt(static_cast<float>(width))};
}

}  // namespace
}  // namespace diffusion::cuda

namespace diffusion {

using cuda::Float;
using cuda::raw;

template <>
Var<Float> slice_channels(Var<Float> x, int begin, int count) {
    const int from = x.shape().back();
    require(begin >= 0 && count > 0 && begin + count <= from, "slice_channels: ", begin, "..",
            begin + count - 1, " of ", x.shape());
    Shape shape = x.shape();
    shape.n[static_cast<std::size_t>(shape.rank - 1)] = count;
    const Var<Float> y = x.tape().result(shape, x);
    cuda::for_each_number(y.value().numel(),
                          cuda::Slice{raw(x.value()), from, begin, count, raw(y.value())});
    x.tape().record(y, [=] {
        cuda::for_each_number(y.value().numel(),
                              cuda::SliceVjp{raw(y.grad()), from, begin, count, raw(x.grad())});
    });
    return y;
}

template <>
Var<Float> attention(Var<Float> q, Var<Float> k, Var<Float> v, int heads,
                     std::span<const unsigned char> keep) {
    require(q.shape().rank == 3 && k.shape() == v.shape() && k.shape().rank == 3 &&
                k.size(0) == q.size(0) && k.size(2) == q.size(2) && heads > 0 &&
                q.size(2) % heads == 0 && q.size(2) / heads <= cuda::kMostWidth,
            "attention: q is ", q.shape(), ", k is ", k.shape(), ", v is ", v.shape(), ", heads ",
            heads, ", expected [N,L,C], [N,S,C], [N,S,C] and C a multiple of the heads, ",
            cuda::kMostWidth, " channels each at most");
    require(keep.empty(), "attention: on a GPU all keys are kept");
    const cuda::Heads all = cuda::heads_of(q, k, v, heads);
    const Tensor<Float> log_sum = q.tape().numbers().make<Float>({all.images, heads, all.queries});
    const Var<Float> y = q.tape().result(q.shape(), q, k, v);
    const auto warps = [](const cuda::Heads& a, int rows) {
        return cuda::blocks_for(static_cast<std::ptrdiff_t>(a.images) * a.heads * rows,
                                cuda::kWarps);
    };
    cuda::launch(cuda::attention_kernel, warps(all, all.queries), cuda::kThreads, all,
                 raw(y.value()), raw(log_sum));
    q.tape().record(y, [=] {
        require(q.needs_grad() && k.needs_grad() && v.needs_grad(),
                "attention: on a GPU q, k and v all need gradients, or none");
        const cuda::Heads a = cuda::heads_of(q, k, v, heads);
        Arena& scratch = q.tape().scratch();
        Arena::Scope scope(scratch);
        float* means = raw(scratch.make<Float>(log_sum.shape()));
        cuda::launch(cuda::attention_vjp_of_queries, warps(a, a.queries), cuda::kThreads, a,
                     raw(y.value()), raw(y.grad()), raw(log_sum), means, raw(q.grad()));
        cuda::launch(cuda::attention_vjp_of_keys, warps(a, a.keys), cuda::kThreads, a,
                     raw(y.grad()), raw(log_sum), means, raw(k.grad()), raw(v.grad()));
    });
    return y;
}

namespace cuda {
namespace {

// ---- The checks against the CPU's code, and the times.

void check(Stage& s) {
    const Shape queries{2, 35, 24}, keys{2, 40, 24};
    const std::vector<float> q = random_numbers(queries.numel(), 1),
                             k = random_numbers(keys.numel(), 2),
                             v = random_numbers(keys.numel(), 3);
    const ByTape<> tape({{&q, queries}, {&k, keys}, {&v, keys}}, q,
                        [](const auto& in) { return attention(in[0], in[1], in[2], 3); });
    const auto gq = Buffer<float>::of(q), gk = Buffer<float>::of(k), gv = Buffer<float>::of(v);
    const Buffer<float> y(q.size());
    launch_apart(attention_obvious, blocks_for(queries.numel(), kThreads), kThreads,
                 Heads{gq.data(), gk.data(), gv.data(), 2, 3, 35, 40, 24, 8, 1 / std::sqrt(8.0f)},
                 y.data());
    s.check("attention 1: result", largest_difference(y.download(), tape.y), 1e-5);
    compare_on_tapes(s, "attention 2", {queries, keys, keys}, 3e-5,
                     [](const auto& in) { return attention(in[0], in[1], in[2], 3); });
    compare_on_tapes(s, "attention 2, a head of 40", {{1, 5, 40}, {1, 33, 40}, {1, 33, 40}}, 3e-5,
                     [](const auto& in) { return attention(in[0], in[1], in[2], 1); });
    compare_on_tapes(s, "slice of channels", {{2, 5, 12}}, 0,
                     [](const auto& in) { return slice_channels(in[0], 3, 6); });
}

void time_all(Stage& s) {
    constexpr int kImages = 128, kHeads = 4, kTokens = 256, kChannels = 256;
    const Shape shape{kImages, kTokens, kChannels};
    const auto size = static_cast<std::size_t>(shape.numel());
    const Buffer<float> x(3 * size), y(size);
    for_each_number(static_cast<std::ptrdiff_t>(3 * size), Mixed{x.data()});
    const double operations = 4.0 * kImages * kTokens * kTokens * kChannels;
    const Heads a{x.data(), x.data() + size, x.data() + 2 * size, kImages, kHeads,
                  kTokens,  kTokens,         kChannels,           64,      1 / 8.0f};
    s.time("attention 1: a thread for a number", 0, operations, [&] {
        launch_apart(attention_obvious, blocks_for(shape.numel(), kThreads), kThreads, a, y.data());
    });
    const Buffer<float> log_sum(std::size_t{kImages} * kHeads * kTokens);
    s.time("attention 2: a warp for a query", 0, operations, [&] {
        launch(attention_kernel, blocks_for(kImages * kHeads * kTokens, kWarps), kThreads, a,
               y.data(), log_sum.data());
    });
}

void stage(Stage& s) {
    check(s);
    if (s.times()) time_all(s);
}
const StageOfChapter registered("04", "attention", stage);

}  // namespace
}  // namespace cuda
}  // namespace diffusion
