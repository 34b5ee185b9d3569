// Chapter 4's attention (4.9) and its VJP (4.10) on a GPU. Scores are made, used and forgotten: a
// block brings 32 keys into shared memory; each of its warps has a query, and each thread of the
// warp makes the score of a key of its own; the sums over keys are then made with a thread for each
// channel, which gets the 32 weights from its neighbours one after the other. As in attention.cpp
// the weights are never written to memory.
#include <cfloat>

#include "02_gradients/compare.hpp"
#include "04_unet/conv.hpp"
#include "cuda/reduce.hpp"

namespace diffusion::cuda {
namespace {

constexpr int kThreads = kBlockThreads, kWarps = kThreads / 32;
constexpr int kMostWidth = 128;  // channels of a head

/// Heads of images: rows of `width` channels that lie `channels` apart. The last three are those of
/// Attend.
struct Heads {
    const float *q, *k, *v;
    int images, heads, queries, keys, channels, width;
    float factor;
    const unsigned char* keep = nullptr;
    const float* bias = nullptr;
    bool causal = false;

    __device__ std::ptrdiff_t row(int n, int length, int i, int h) const {
        return (static_cast<std::ptrdiff_t>(n) * length + i) * channels + h * width;
    }
    __device__ std::ptrdiff_t bias_row(int h, int i) const {
        return (static_cast<std::ptrdiff_t>(h) * queries + i) * keys;
    }
    /// How many keys query i may see at most, and which query is the first that may see key j.
    __device__ int reach(int i) const {
        return causal && i < queries ? i + 1 + keys - queries : keys;
    }
    __device__ int first_query(int j) const {
        return causal && j > keys - queries ? j - keys + queries : 0;
    }
    /// The score of a scalar product q_i . k_j, whose weight is 0 if i does not see j.
    __device__ float score(int n, int h, int i, int j, float product) const {
        if (i >= queries || j >= reach(i)) return -INFINITY;
        if (keep != nullptr && keep[static_cast<std::ptrdiff_t>(n) * keys + j] == 0)
            return -INFINITY;
        return factor * product + (bias != nullptr ? bias[bias_row(h, i) + j] : 0.0f);
    }
};
constexpr float kLowest = -FLT_MAX / 4;  // the largest score before the first: differences exist

/// Which image and head are this block's, and which row this warp's; there may be none. `last` is
/// that of the last warp.
struct Place {
    int n, h, i, lane, last;
};
__device__ __forceinline__ Place place_of_thread() {
    const int warp = static_cast<int>(threadIdx.x) / 32;
    return {static_cast<int>(blockIdx.z), static_cast<int>(blockIdx.y),
            static_cast<int>(blockIdx.x) * kWarps + warp, static_cast<int>(threadIdx.x) % 32,
            static_cast<int>(blockIdx.x) * kWarps + kWarps - 1};
}
dim3 blocks_of(const Heads& a, int rows) {
    return {blocks_for(rows, kWarps), static_cast<unsigned>(a.heads),
            static_cast<unsigned>(a.images)};
}

/// 32 rows in shared memory, one number longer than they are: then 32 threads that read down a
/// column meet 32 banks.
template <int width>
struct Rows {
    static constexpr int kStep = width + 1;
    float x[32 * kStep];

    /// Row first, first + 1, .. of one head of one image of `from`; zeros after the last.
    __device__ void bring(const float* from, const Heads& a, const Place& at, int length,
                          int first) {
        for (int r = static_cast<int>(threadIdx.x) / 32; r < 32; r += kWarps) {
            for (int c = at.lane; c < a.width; c += 32)
                x[r * kStep + c] =
                    first + r < length ? from[a.row(at.n, length, first + r, at.h) + c] : 0.0f;
        }
    }
    __device__ float operator()(int r, int c) const { return x[r * kStep + c]; }
    /// The scalar product of row r with numbers that are spread over the threads of the warp.
    __device__ float dot(int r, const float (&spread)[width / 32], int count) const {
        float sum = 0;
#pragma unroll
        for (int part = 0; part < width / 32; ++part) {
#pragma unroll
            for (int l = 0; l < 32; ++l) {
                if (32 * part + l >= count) break;  // the same for all threads
                sum += __shfl_sync(0xffffffffu, spread[part], l) * x[r * kStep + 32 * part + l];
            }
        }
        return sum;
    }
};

/// A row of `count` numbers, spread over the threads of a warp: channel 32 part + lane.
template <int width>
__device__ __forceinline__ void spread_row(const float* row, int lane, int count,
                                           float (&spread)[width / 32]) {
#pragma unroll
    for (int part = 0; part < width / 32; ++part) {
        const int c = 32 * part + lane;
        spread[part] = row != nullptr && c < count ? row[c] : 0.0f;
    }
}
/// to[c] = or += from spread numbers.
template <int width>
__device__ __forceinline__ void write_row(float* row, int lane, int count, bool add, float scale,
                                          const float (&spread)[width / 32]) {
#pragma unroll
    for (int part = 0; part < width / 32; ++part) {
        const int c = 32 * part + lane;
        if (c < count) row[c] = scale * spread[part] + (add ? row[c] : 0.0f);
    }
}
/// sum += the sum over the 32 rows of weight times row; each thread has the weight of one.
template <int width>
__device__ __forceinline__ void add_rows(float weight, const Rows<width>& rows, int lane,
                                         float (&sum)[width / 32]) {
    for (int l = 0; l < 32; ++l) {
        const float w = __shfl_sync(0xffffffffu, weight, l);
#pragma unroll
        for (int part = 0; part < width / 32; ++part) sum[part] += w * rows(l, 32 * part + lane);
    }
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
    const auto score = [&](int j) {
        return a.score(n, h, i, j, dot(q, a.k + a.row(n, a.keys, j, h), a.width));
    };
    float largest = kLowest, total = 0, sum = 0;
    for (int j = 0; j < a.keys; ++j) largest = fmaxf(largest, score(j));
    for (int j = 0; j < a.keys; ++j) {
        const float p = expf(score(j) - largest);
        total += p;
        sum += p * a.v[a.row(n, a.keys, j, h) + c % a.width];
    }
    y[at] = sum / total;
}

// Version 2. `width` is that of a head, rounded up to whole warps. log_sum [N,heads,queries]: the
// logarithm of each row's denominator.
template <int width>
__global__ void attention_kernel(Heads a, float* y, float* log_sum) {
    __shared__ Rows<width> keys, values;
    uninitialised(keys, values);
    const Place at = place_of_thread();
    const bool busy = at.i < a.queries;
    float q[width / 32], sum[width / 32] = {}, largest = kLowest, total = 0;
    spread_row<width>(busy ? a.q + a.row(at.n, a.queries, at.i, at.h) : nullptr, at.lane, a.width,
                      q);
    for (int first = 0; first < a.reach(at.last); first += 32) {
        __syncthreads();  // everybody is done with the last ones
        keys.bring(a.k, a, at, a.keys, first);
        values.bring(a.v, a, at, a.keys, first);
        __syncthreads();
        if (!busy) continue;  // the whole warp
        const float s = a.score(at.n, at.h, at.i, first + at.lane, keys.dot(at.lane, q, a.width));
        const float now = fmaxf(largest, warp_max(s));
        const float p = expf(s - now), shrink = expf(largest - now);
        total = shrink * total + warp_sum(p);
        largest = now;
#pragma unroll
        for (int part = 0; part < width / 32; ++part) sum[part] *= shrink;
        add_rows(p, values, at.lane, sum);
    }
    if (!busy) return;
    write_row<width>(y + a.row(at.n, a.queries, at.i, at.h), at.lane, a.width, false, 1 / total,
                     sum);
    if (at.lane == 0) log_sum[(at.n * a.heads + at.h) * a.queries + at.i] = largest + logf(total);
}

/// dq, and for each query the sum over j of P dP, which is the scalar product of dy and y.
template <int width>
__global__ void attention_vjp_of_queries(Heads a, const float* y, const float* dy,
                                         const float* log_sum, float* means, float* dq) {
    __shared__ Rows<width> keys, values;
    uninitialised(keys, values);
    const Place at = place_of_thread();
    const bool busy = at.i < a.queries;
    const std::ptrdiff_t row = busy ? a.row(at.n, a.queries, at.i, at.h) : 0;
    const int query = (at.n * a.heads + at.h) * a.queries + at.i;
    float q[width / 32], g[width / 32], result[width / 32], sum[width / 32] = {}, mean = 0;
    spread_row<width>(busy ? a.q + row : nullptr, at.lane, a.width, q);
    spread_row<width>(busy ? dy + row : nullptr, at.lane, a.width, g);
    spread_row<width>(busy ? y + row : nullptr, at.lane, a.width, result);
#pragma unroll
    for (int part = 0; part < width / 32; ++part) mean += g[part] * result[part];
    mean = warp_sum(mean);
    const float denominator = busy ? log_sum[query] : 0.0f;
    if (busy && at.lane == 0) means[query] = mean;
    for (int first = 0; first < a.reach(at.last); first += 32) {
        __syncthreads();
        keys.bring(a.k, a, at, a.keys, first);
        values.bring(a.v, a, at, a.keys, first);
        __syncthreads();
        if (!busy) continue;
        const float s = a.score(at.n, at.h, at.i, first + at.lane, keys.dot(at.lane, q, a.width));
        const float ds =
            expf(s - denominator) * (values.dot(at.lane, g, a.width) - mean);  // (4.10)
        add_rows(a.factor * ds, keys, at.lane, sum);
    }
    if (busy && dq != nullptr) write_row<width>(dq + row, at.lane, a.width, true, 1.0f, sum);
}

/// dk and dv: a warp has a key, and the block goes through the queries.
template <int width>
__global__ void attention_vjp_of_keys(Heads a, const float* dy, const float* log_sum,
                                      const float* means, float* dk, float* dv) {
    __shared__ Rows<width> queries, gradients;
    uninitialised(queries, gradients);
    const Place at = place_of_thread();
    const bool busy = at.i < a.keys;
    const std::ptrdiff_t row = busy ? a.row(at.n, a.keys, at.i, at.h) : 0;
    float k[width / 32], v[width / 32], of_k[width / 32] = {}, of_v[width / 32] = {};
    spread_row<width>(busy ? a.k + row : nullptr, at.lane, a.width, k);
    spread_row<width>(busy ? a.v + row : nullptr, at.lane, a.width, v);
    for (int first = a.first_query(at.last - kWarps + 1); first < a.queries; first += 32) {
        __syncthreads();
        queries.bring(a.q, a, at, a.queries, first);
        gradients.bring(dy, a, at, a.queries, first);
        __syncthreads();
        if (!busy) continue;
        const bool there = first + at.lane < a.queries;
        const int query = (at.n * a.heads + at.h) * a.queries + first + at.lane;
        const float s =
            a.score(at.n, at.h, first + at.lane, at.i, queries.dot(at.lane, k, a.width));
        const float p = there ? expf(s - log_sum[query]) : 0.0f;
        const float mean = there ? means[query] : 0.0f;
        const float ds = p * (gradients.dot(at.lane, v, a.width) - mean);  // (4.10)
        add_rows(p, gradients, at.lane, of_v);
        add_rows(a.factor * ds, queries, at.lane, of_k);
    }
    if (!busy) return;
    if (dk != nullptr) write_row<width>(dk + row, at.lane, a.width, true, 1.0f, of_k);
    if (dv != nullptr) write_row<width>(dv + row, at.lane, a.width, true, 1.0f, of_v);
}

/// dbias: a thread has one number of it and goes through the images, whose scores it makes anew.
struct AttentionBiasVjp {
    Heads a;
    const float *dy, *log_sum, *means;
    float* dbias;
    __device__ void operator()(int at) const {
        const int j = at % a.keys, i = at / a.keys % a.queries, h = at / a.keys / a.queries;
        float sum = 0;
        for (int n = 0; n < a.images; ++n) {
            const std::ptrdiff_t row = a.row(n, a.queries, i, h), key = a.row(n, a.keys, j, h);
            const int query = (n * a.heads + h) * a.queries + i;
            const float s = a.score(n, h, i, j, dot(a.q + row, a.k + key, a.width));
            sum += expf(s - log_sum[query]) *
                   (dot(dy + row, a.v + key, a.width) - means[query]);  // (4.10)
        }
        dbias[at] += sum;
    }
};

/// f with the width of a head, rounded up, as its template argument.
template <class F>
void with_width(int width, F f) {
    if (width <= 32) {
        f(std::integral_constant<int, 32>());
    } else if (width <= 64) {
        f(std::integral_constant<int, 64>());
    } else {
        f(std::integral_constant<int, kMostWidth>());
    }
}

void attention_forward(const Heads& a, float* y, float* log_sum) {
    with_width(a.width, [&](auto width) {
        launch(attention_kernel<width>, blocks_of(a, a.queries), kThreads, a, y, log_sum);
    });
}
/// Adds to dq, dk, dv and dbias, where they are given.
void attention_vjp(const Heads& a, const float* y, const float* dy, const float* log_sum,
                   float* means, float* dq, float* dk, float* dv, float* dbias) {
    with_width(a.width, [&](auto width) {
        launch(attention_vjp_of_queries<width>, blocks_of(a, a.queries), kThreads, a, y, dy,
               log_sum, means, dq);
        if (dk == nullptr && dv == nullptr) return;
        launch(attention_vjp_of_keys<width>, blocks_of(a, a.keys), kThreads, a, dy, log_sum, means,
               dk, dv);
    });
    if (dbias == nullptr) return;
    for_each_number(static_cast<std::ptrdiff_t>(a.heads) * a.queries * a.keys,
                    AttentionBiasVjp{a, dy, log_sum, means, dbias});
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

Heads heads_of(Var<Float> q, Var<Float> k, Var<Float> v, const Attend<Float>& how) {
    const int heads = how.heads, width = q.size(2) / heads;
    return {
        raw(q.value()),
        raw(k.value()),
        raw(v.value()),
        q.size(0),
        heads,
        q.size(1),
        k.size(1),
        q.size(2),
        width,
        how.scale == 0 ? 1 / std::sqrt(static_cast<float>(width)) : static_cast<float>(how.scale),
        how.keep.data(),
        how.bias ? raw(how.bias.value()) : nullptr,
        how.causal};
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

/// Here the bytes of `keep` lie on the GPU, too.
template <>
Var<Float> attention(Var<Float> q, Var<Float> k, Var<Float> v, const Attend<Float>& how) {
    const int heads = how.heads;
    const Var<Float> bias = how.bias;
    require(q.shape().rank == 3 && k.shape() == v.shape() && k.shape().rank == 3 &&
                k.size(0) == q.size(0) && k.size(2) == q.size(2) && heads > 0 &&
                q.size(2) % heads == 0 && q.size(2) / heads <= cuda::kMostWidth,
            "attention: q is ", q.shape(), ", k is ", k.shape(), ", v is ", v.shape(), ", heads ",
            heads, ", expected [N,L,C], [N,S,C], [N,S,C] and C a multiple of the heads, ",
            cuda::kMostWidth, " channels each at most");
    const int queries = q.size(1), keys = k.size(1);
    const auto kept = static_cast<std::ptrdiff_t>(k.size(0)) * keys;
    require(how.keep.empty() || std::ssize(how.keep) == kept, "attention: keep has ",
            how.keep.size(), " entries, expected ", k.size(0), " x ", keys);
    require(!bias || bias.shape() == Shape{heads, queries, keys}, "attention: bias is ",
            bias ? bias.shape() : Shape{}, ", expected [", heads, ",", queries, ",", keys, "]");
    require(!how.causal || queries <= keys, "attention: causal, with ", queries,
            " queries and only ", keys, " keys, query 0 sees no key");
    const cuda::Heads all = cuda::heads_of(q, k, v, how);
    const Tensor<Float> log_sum = q.tape().numbers().make<Float>({all.images, heads, queries});
    const Var<Float> y = q.tape().result(q.shape(), q, k, v, bias);
    cuda::attention_forward(all, raw(y.value()), raw(log_sum));
    q.tape().record(y, [=] {
        const auto wanted = [](Var<Float> x) { return x.needs_grad() ? raw(x.grad()) : nullptr; };
        Arena& scratch = q.tape().scratch();
        Arena::Scope scope(scratch);
        float* means = raw(scratch.make<Float>(log_sum.shape()));
        cuda::attention_vjp(all, raw(y.value()), raw(y.grad()), raw(log_sum), means, wanted(q),
                            wanted(k), wanted(v), wanted(bias));
    });
    return y;
}

namespace cuda {
namespace {

// ---- The checks against the CPU's code, and the times.

/// Each restriction alone and all at once, also where a block of keys is out of sight.
void check_restrictions(Stage& s) {
    constexpr int kImages = 2, kHeads = 3, kQueries = 70, kKeys = 75, kChannels = 24;
    std::vector<unsigned char> keep(kImages * kKeys, 1);
    for (int j = 0; j < 40; ++j) keep[static_cast<std::size_t>(kKeys + (j == 3 ? 50 : j))] = 0;
    const auto on_keep = Buffer<unsigned char>::of(keep);
    for (const auto& [what, masked, causal, biased] :
         {std::tuple("padding", true, false, false), std::tuple("causal", false, true, false),
          std::tuple("bias", false, false, true), std::tuple("all three", true, true, true)}) {
        std::vector<Shape> shapes{{kImages, kQueries, kChannels},
                                  {kImages, kKeys, kChannels},
                                  {kImages, kKeys, kChannels}};
        if (biased) shapes.push_back({kHeads, kQueries, kKeys});
        compare_on_tapes(s, std::string("attention 2, ") + what, shapes, 3e-5,
                         [&, masked = masked, causal = causal, biased = biased](const auto& in) {
                             using T = typename std::decay_t<decltype(in[0].value())>::value_type;
                             Attend<T> how{.heads = kHeads, .causal = causal, .scale = 0.5};
                             if (masked) {
                                 how.keep = {
                                     std::is_same_v<T, Float> ? on_keep.data() : keep.data(),
                                     keep.size()};
                             }
                             if (biased) how.bias = in[3];
                             return attention(in[0], in[1], in[2], how);
                         });
    }
}

void check(Stage& s) {
    const Shape queries{2, 35, 24}, keys{2, 40, 24};
    const std::vector<float> q = random_numbers(queries.numel(), 1),
                             k = random_numbers(keys.numel(), 2),
                             v = random_numbers(keys.numel(), 3);
    const ByTape<> tape({{&q, queries}, {&k, keys}, {&v, keys}}, q,
                        [](const auto& in) { return attention(in[0], in[1], in[2], {3}); });
    const auto gq = Buffer<float>::of(q), gk = Buffer<float>::of(k), gv = Buffer<float>::of(v);
    const Buffer<float> y(q.size());
    launch_apart(attention_obvious, blocks_for(queries.numel(), kThreads), kThreads,
                 Heads{gq.data(), gk.data(), gv.data(), 2, 3, 35, 40, 24, 8, 1 / std::sqrt(8.0f)},
                 y.data());
    s.check("attention 1: result", largest_difference(y.download(), tape.y), 1e-5);
    compare_on_tapes(s, "attention 2", {queries, keys, keys}, 3e-5,
                     [](const auto& in) { return attention(in[0], in[1], in[2], {3}); });
    compare_on_tapes(s, "attention 2, a head of 100", {{1, 3, 100}, {1, 2, 100}, {1, 2, 100}}, 3e-5,
                     [](const auto& in) { return attention(in[0], in[1], in[2], {1}); });
    compare_on_tapes(s, "attention 2, a head of 40", {{1, 5, 40}, {1, 33, 40}, {1, 33, 40}}, 3e-5,
                     [](const auto& in) { return attention(in[0], in[1], in[2], {1}); });
    check_restrictions(s);
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
    const std::size_t rows = std::size_t{kImages} * kHeads * kTokens;
    const Buffer<float> log_sum(rows), means(rows), dx(3 * size);
    s.time("attention 2: a warp for a query", 0, operations,
           [&] { attention_forward(a, y.data(), log_sum.data()); });
    // Scores twice, and the products for dP, dq, dk and dv: 7 where the forward pass has 2.
    s.time("its VJP", 0, 3.5 * operations, [&] {
        attention_vjp(a, y.data(), x.data(), log_sum.data(), means.data(), dx.data(),
                      dx.data() + size, dx.data() + 2 * size, nullptr);
    });
}

}  // namespace

void attention_stage(Stage& s) {
    check(s);
    if (s.times()) time_all(s);
}

}  // namespace cuda
}  // namespace diffusion
