#include "kernels/attention.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "kernels/exp.hpp"
#include "kernels/gemm.hpp"
#include "kernels/simd.hpp"
#include "kernels/threads.hpp"

namespace diffusion {
namespace {

// Scores are made, used and forgotten in blocks of keys x queries. A row holds what all queries of
// the block say of one key: so the largest score of a query, and the sum of its weights, are taken
// register by register, and queries fill whole registers, however wide a head is.
constexpr int kQueries = 64, kKeys = 128;

template <class T>
using Vector = typename Simd<T>::Vector;

/// Some queries of one head of one image, whose channels begin at column head * width of q, k and
/// v.
template <class T>
struct QueryBlock {
    const AttentionInput<T>& in;
    int image, head, first, count;

    int width() const { return in.width(); }
    int channels() const { return in.q.size(2); }
    /// Queries in whole registers; what is computed for the last ones is not used.
    int columns() const { return (count + Simd<T>::width - 1) / Simd<T>::width * Simd<T>::width; }
    /// Row `row` of a tensor like q or k.
    T* at(Tensor<T> x, int row) const { return &x(image, row, head * width()); }
    Strided<T> rows(Tensor<T> x, int row) const { return {at(x, row), channels(), 1}; }
    Strided<T> columns(Tensor<T> x, int row) const { return {at(x, row), 1, channels()}; }

    /// How many keys of the block that begins at key `begin` the queries see, and all blocks
    /// before.
    int keys(int begin) const { return std::clamp(in.reach(first + count - 1) - begin, 0, kKeys); }
    /// factor x^T for the queries' rows of x, [width, kQueries], with zeros after the last query.
    Tensor<T> transposed_rows(Tensor<T> x, T factor, Arena& memory) const {
        const Tensor<T> out = memory.zeros<T>({width(), kQueries});
        transpose(count, width(), at(x, first), channels(), out.data(), kQueries);
        for (T& value : out) value *= factor;
        return out;
    }
    /// x += factor out^T, the inverse of it; or x = it.
    void add_transposed(Tensor<T> out, T factor, bool add, Tensor<T> x) const {
        for (int i = 0; i < count; ++i) {
            T* to = at(x, first + i);
            for (int c = 0; c < width(); ++c) to[c] = (add ? to[c] : T(0)) + factor * out(c, i);
        }
    }

    /// Which queries see key j: nullptr for all of them; `own` is room for the answer.
    const T* seen_by(int j, std::array<T, kQueries>& own) const {
        // Query i sees j if it is in reach(i), which grows by one from query to query.
        const int before = in.causal ? std::clamp(j + 1 - in.reach(first), 0, kQueries) : 0;
        const bool live = in.live(image, j) > 0;
        if (live && before == 0) return nullptr;
        std::fill(own.begin(), own.end(), live ? T(1) : T(0));
        std::fill_n(own.begin(), before, T(0));
        return own.data();
    }
    /// scores += the bias of keys begin .. for these queries.
    void add_bias(int begin, int keys, Tensor<T> scores) const {
        if (!in.bias) return;
        for (int i = 0; i < count; ++i) {
            const T* bias = &in.bias(head, first + i, begin);
            for (int j = 0; j < keys; ++j) scores(j, i) += bias[j];
        }
    }
};

/// A block of rows of kQueries numbers as the right side of a product.
template <class T>
Packed<T> packed_rows(Tensor<T> x, int rows, int columns) {
    return {x.data(), rows, columns, kQueries, 1};
}

/// y = softmax(scale q k^T + bias) v for some queries, and the logarithms of their denominators.
template <class T>
void attend(const QueryBlock<T>& block, Tensor<T> y, T* log_sum, Arena& scratch) {
    using S = Simd<T>;
    using V = Vector<T>;
    constexpr T kLowest = std::numeric_limits<T>::lowest() / 4;  // differences stay finite
    Arena::Scope scope(scratch);
    const AttentionInput<T>& in = block.in;
    const int width = block.width(), columns = block.columns();
    const Tensor<T> q = block.transposed_rows(in.q, in.scale, scratch),
                    scores = scratch.make<T>({kKeys, kQueries}),
                    sums = scratch.zeros<T>({width, kQueries});  // of weights times values
    std::array<T, kQueries> own, largest, total;
    largest.fill(kLowest);
    total.fill(T(0));
    for (int k0 = 0; k0 < in.keys(); k0 += kKeys) {
        const int keys = std::min(block.keys(k0), in.keys() - k0);
        if (keys == 0) break;
        gemm<T>(keys, block.rows(in.k, k0), packed_rows(q, width, columns), scores.data(), false,
                kQueries);
        block.add_bias(k0, keys, scores);
        for (int j = 0; j < keys; ++j) {
            const T* seen = block.seen_by(k0 + j, own);
            for (int c = 0; seen != nullptr && c < columns; c += S::width) {
                T* at = &scores(j, c);
                S::store(at, S::load(seen + c) > 0 ? S::load(at) : S::fill(kLowest));
            }
        }
        for (int c = 0; c < columns; c += S::width) {
            const V before = S::load(largest.data() + c);
            V now = before, sum{};
            for (int j = 0; j < keys; ++j) {
                const V s = S::load(&scores(j, c));
                now = s > now ? s : now;
            }
            for (int j = 0; j < keys; ++j) {
                T* at = &scores(j, c);
                const V s = S::load(at), p = fast_exp(s - now);
                // What is not seen has no weight, even where nothing was seen so far.
                const V weight = s == S::fill(kLowest) ? V{} : p;
                S::store(at, weight);
                sum += weight;
            }
            // What was added up so far had e^-(largest so far) taken out.
            const V shrink = fast_exp(before - now);
            S::store(total.data() + c, shrink * S::load(total.data() + c) + sum);
            S::store(largest.data() + c, now);
            if (k0 == 0 || sum_of_elements<T>(now - before) == 0) continue;
            for (int d = 0; d < width; ++d) S::store(&sums(d, c), shrink * S::load(&sums(d, c)));
        }
        gemm<T>(width, block.columns(in.v, k0), packed_rows(scores, keys, columns), sums.data(),
                true, kQueries);
    }
    for (int c = 0; c < columns; c += S::width) {
        const V inverse = 1 / S::load(total.data() + c);
        for (int d = 0; d < width; ++d) S::store(&sums(d, c), inverse * S::load(&sums(d, c)));
    }
    block.add_transposed(sums, T(1), false, y);
    for (int i = 0; i < block.count; ++i)
        log_sum[i] = largest.data()[i] + std::log(total.data()[i]);
}

/// Where gradients are added; absent ones are not wanted.
template <class T>
struct AttentionGradients {
    Tensor<T> q, k, v, bias;
};

/// (4.10) for some queries, from y and its gradient.
template <class T>
void attend_vjp(const QueryBlock<T>& block, Tensor<T> y, Tensor<T> dy, const T* log_sum,
                const AttentionGradients<T>& to, Arena& scratch) {
    using S = Simd<T>;
    using V = Vector<T>;
    Arena::Scope scope(scratch);
    const AttentionInput<T>& in = block.in;
    const int width = block.width(), columns = block.columns(), channels = block.channels();
    const Tensor<T> q = block.transposed_rows(in.q, in.scale, scratch),
                    dy_columns = block.transposed_rows(dy, T(1), scratch),
                    weights = scratch.make<T>({kKeys, kQueries}),
                    ds = scratch.make<T>({kKeys, kQueries}),
                    dq = scratch.zeros<T>({width, kQueries});
    std::array<T, kQueries> own, mean{}, logs{};
    for (int i = 0; i < block.count; ++i) {
        // The sum over j of P dP, all keys, is the scalar product of dy and y.
        const T *dy_row = block.at(dy, block.first + i), *y_row = block.at(y, block.first + i);
        for (int c = 0; c < width; ++c) mean.data()[i] += dy_row[c] * y_row[c];
        logs.data()[i] = log_sum[i];
    }
    const Packed<T> dy_rows = pack(block.count, width, block.rows(dy, block.first), scratch),
                    q_rows = pack(block.count, width, block.rows(in.q, block.first), scratch);
    for (int k0 = 0; k0 < in.keys(); k0 += kKeys) {
        const int keys = std::min(block.keys(k0), in.keys() - k0);
        if (keys == 0) break;
        gemm<T>(keys, block.rows(in.k, k0), packed_rows(q, width, columns), weights.data(), false,
                kQueries);
        block.add_bias(k0, keys, weights);
        gemm<T>(keys, block.rows(in.v, k0), packed_rows(dy_columns, width, columns), ds.data(),
                false, kQueries);  // dP = dy v^T
        for (int j = 0; j < keys; ++j) {
            const T* seen = block.seen_by(k0 + j, own);
            for (int c = 0; c < columns; c += S::width) {
                V p = fast_exp(S::load(&weights(j, c)) - S::load(logs.data() + c));
                if (seen != nullptr) p = S::load(seen + c) > 0 ? p : V{};
                S::store(&weights(j, c), p);
                S::store(&ds(j, c), p * (S::load(&ds(j, c)) - S::load(mean.data() + c)));
            }
        }
        for (int i = 0; to.bias && i < block.count; ++i)
            for (int j = 0; j < keys; ++j) to.bias(block.head, block.first + i, k0 + j) += ds(j, i);
        if (to.q) {  // dq = scale dS k
            gemm<T>(width, block.columns(in.k, k0), packed_rows(ds, keys, columns), dq.data(), true,
                    kQueries);
        }
        if (to.v) {  // dv = P^T dy
            gemm<T>(keys, by_rows<T>(weights.data(), kQueries), dy_rows, block.at(to.v, k0), true,
                    channels);
        }
        if (to.k) {  // dk = scale dS^T q
            for (int j = 0; j < keys; ++j)
                for (int c = 0; c < columns; c += S::width)
                    S::store(&ds(j, c), in.scale * S::load(&ds(j, c)));
            gemm<T>(keys, by_rows<T>(ds.data(), kQueries), q_rows, block.at(to.k, k0), true,
                    channels);
        }
    }
    if (to.q) block.add_transposed(dq, in.scale, true, to.q);
}

}  // namespace

template <class T>
Tensor<T> live_keys(std::span<const unsigned char> keep, int images, int keys, Arena& memory) {
    const Tensor<T> live = memory.zeros<T>({images, (keys + kKeys - 1) / kKeys * kKeys});
    for (int n = 0; n < images; ++n) {
        for (int j = 0; j < keys; ++j) {
            const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(n) * keys + j;
            live(n, j) = keep.empty() || keep.data()[at] != 0 ? T(1) : T(0);
        }
    }
    return live;
}

template <class T>
void attention_forward(const AttentionInput<T>& in, Tensor<T> y, Tensor<T> log_sum) {
    const int blocks = (in.queries() + kQueries - 1) / kQueries;
    in_parts(in.q.size(0) * in.heads * blocks, 1, [&](int begin, int end) {
        thread_local Arena own;  // several threads cannot share the caller's
        own.reset();
        for (int i = begin; i < end; ++i) {
            const int n = i / blocks / in.heads, h = i / blocks % in.heads,
                      first = i % blocks * kQueries;
            attend<T>({in, n, h, first, std::min(kQueries, in.queries() - first)}, y,
                      &log_sum(n, h, first), own);
        }
    });
}

template <class T>
void attention_vjp(const AttentionInput<T>& in, Tensor<T> y, Tensor<T> dy, Tensor<T> log_sum,
                   Tensor<T> dq, Tensor<T> dk, Tensor<T> dv, Tensor<T> dbias) {
    const AttentionGradients<T> to{dq, dk, dv, dbias};
    in_parts(in.heads, 1, [&](int begin, int end) {  // a head's keys collect from all its queries
        thread_local Arena own;
        own.reset();
        for (int n = 0; n < in.q.size(0); ++n) {
            for (int h = begin; h < end; ++h) {
                for (int first = 0; first < in.queries(); first += kQueries) {
                    attend_vjp<T>({in, n, h, first, std::min(kQueries, in.queries() - first)}, y,
                                  dy, &log_sum(n, h, first), to, own);
                }
            }
        }
    });
}

#define DIFFUSION_INSTANTIATE(T)                                                           \
    template Tensor<T> live_keys(std::span<const unsigned char>, int, int, Arena&);        \
    template void attention_forward(const AttentionInput<T>&, Tensor<T>, Tensor<T>);       \
    template void attention_vjp(const AttentionInput<T>&, Tensor<T>, Tensor<T>, Tensor<T>, \
                                Tensor<T>, Tensor<T>, Tensor<T>, Tensor<T>);
DIFFUSION_INSTANTIATE(float)
DIFFUSION_INSTANTIATE(double)
#undef DIFFUSION_INSTANTIATE

}  // namespace diffusion
