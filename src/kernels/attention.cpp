#include "kernels/attention.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>

#include "kernels/exp.hpp"
#include "kernels/gemm.hpp"
#include "kernels/simd.hpp"
#include "kernels/threads.hpp"

namespace diffusion {
namespace {

// Scores are made, used and forgotten in blocks of keys x queries. A row holds what all queries of
// the block say of one key: so the largest score of a query, and the sum of its weights, are taken
// register by register, and queries fill whole registers, however wide a head is.
//
// Scores are those of softmax times log2 e, so that its exponentials become powers of two.
//
// A block, and what its queries and keys say of themselves, should stay in the second-level cache.
constexpr int kMostQueries = 256, kKeys = 128;
/// Queries of a block: with few sequences there must be blocks enough for all cores.
template <class T>
int queries_of_block(const AttentionInput<T>& in, int cores) {
    const int sequences = std::max(1, in.q.size(0) * in.heads),
              blocks = (cores + sequences - 1) / sequences, unit = 2 * Simd<T>::width,
              share = (in.queries() + blocks - 1) / blocks;
    return std::clamp((share + unit - 1) / unit * unit, unit,
                      in.width() <= 128 ? kMostQueries : kMostQueries / 2);
}
template <class T>
constexpr T kLog2E = std::numbers::log2e_v<T>;

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
    int columns() const { return registers() * Simd<T>::width; }
    int registers() const { return (count + Simd<T>::width - 1) / Simd<T>::width; }
    /// From one row of them to the next: an odd number of registers. After a power of two all rows
    /// would meet in the same few places of the first-level cache.
    int row() const { return (registers() | 1) * Simd<T>::width; }
    /// Row `row` of a tensor like q or k.
    T* at(Tensor<T> x, int row) const { return &x(image, row, head * width()); }
    Strided<T> rows(Tensor<T> x, int row) const { return {at(x, row), channels(), 1}; }
    Strided<T> columns(Tensor<T> x, int row) const { return {at(x, row), 1, channels()}; }

    /// How many keys of the block that begins at key `begin` the queries see, and all blocks
    /// before.
    int keys(int begin) const { return std::clamp(in.reach(first + count - 1) - begin, 0, kKeys); }
    /// factor x^T for the queries' rows of x, [width, row()], with zeros after the last query.
    Tensor<T> transposed_rows(Tensor<T> x, T factor, Arena& memory) const {
        const Tensor<T> out = memory.zeros<T>({width(), row()});
        transpose(count, width(), at(x, first), channels(), out.data(), row());
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
    const T* seen_by(int j, std::array<T, kMostQueries>& own) const {
        // Query i sees j if it is in reach(i), which grows by one from query to query.
        const int before = in.causal ? std::clamp(j + 1 - in.reach(first), 0, kMostQueries) : 0;
        const bool live = in.live(image, j) > 0;
        if (live && before == 0) return nullptr;
        std::fill(own.begin(), own.end(), live ? T(1) : T(0));
        std::fill_n(own.begin(), before, T(0));
        return own.data();
    }
    /// scores += log2 e times the bias of keys begin .. for these queries.
    void add_bias(int begin, int keys, Tensor<T> scores) const {
        if (!in.bias) return;
        for (int i = 0; i < count; ++i) {
            const T* bias = &in.bias(head, first + i, begin);
            for (int j = 0; j < keys; ++j) scores(j, i) += kLog2E<T> * bias[j];
        }
    }
};

/// y = softmax(scale q k^T + bias) v for some queries, and the logarithms of their denominators.
template <class T>
void attend(const QueryBlock<T>& block, Tensor<T> y, T* log_sum, Arena& scratch) {
    using S = Simd<T>;
    using V = Vector<T>;
    constexpr T kLowest = std::numeric_limits<T>::lowest() / 4;  // differences stay finite
    Arena::Scope scope(scratch);
    const AttentionInput<T>& in = block.in;
    const int width = block.width(), columns = block.columns(), row = block.row();
    const Tensor<T> q = block.transposed_rows(in.q, kLog2E<T> * in.scale, scratch),
                    scores = scratch.make<T>({kKeys, row}),
                    sums = scratch.zeros<T>({width, row});  // of weights times values
    std::array<T, kMostQueries> own, largest, total;
    largest.fill(kLowest);
    total.fill(T(0));
    for (int k0 = 0; k0 < in.keys(); k0 += kKeys) {
        const int keys = std::min(block.keys(k0), in.keys() - k0);
        if (keys == 0) break;
        gemm<T>(keys, block.rows(in.k, k0),
                pack(width, columns, by_rows<T>(q.data(), row), scratch), scores.data(), false,
                row);
        block.add_bias(k0, keys, scores);
        bool masked = false;
        for (int j = 0; j < keys; ++j) {
            const T* seen = block.seen_by(k0 + j, own);
            masked |= seen != nullptr;
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
                const V s = S::load(at);
                V weight = power_of_two(s - now);
                // What is not seen has no weight, even where nothing was seen so far.
                if (masked) weight = s == S::fill(kLowest) ? V{} : weight;
                S::store(at, weight);
                sum += weight;
            }
            // What was added up so far had 2^-(largest so far) taken out.
            const V shrink = power_of_two(before - now);
            S::store(total.data() + c, shrink * S::load(total.data() + c) + sum);
            S::store(largest.data() + c, now);
            if (k0 == 0 || sum_of_elements<T>(now - before) == 0) continue;
            for (int d = 0; d < width; ++d) S::store(&sums(d, c), shrink * S::load(&sums(d, c)));
        }
        gemm<T>(width, block.columns(in.v, k0),
                pack(keys, columns, by_rows<T>(scores.data(), row), scratch), sums.data(), true,
                row);
    }
    for (int c = 0; c < columns; c += S::width) {
        const V inverse = 1 / S::load(total.data() + c);
        for (int d = 0; d < width; ++d) S::store(&sums(d, c), inverse * S::load(&sums(d, c)));
    }
    block.add_transposed(sums, T(1), false, y);
    for (int i = 0; i < block.count; ++i)
        log_sum[i] = largest.data()[i] / kLog2E<T> + std::log(total.data()[i]);
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
    const int width = block.width(), columns = block.columns(), channels = block.channels(),
              row = block.row();
    const Tensor<T> q = block.transposed_rows(in.q, kLog2E<T> * in.scale, scratch),
                    dy_columns = block.transposed_rows(dy, T(1), scratch),
                    weights = scratch.make<T>({kKeys, row}), ds = scratch.make<T>({kKeys, row}),
                    dq = scratch.zeros<T>({width, row});
    std::array<T, kMostQueries> own, mean{}, logs{};
    for (int i = 0; i < block.count; ++i) {
        // The sum over j of P dP, all keys, is the scalar product of dy and y.
        const T *dy_row = block.at(dy, block.first + i), *y_row = block.at(y, block.first + i);
        for (int c = 0; c < width; ++c) mean.data()[i] += dy_row[c] * y_row[c];
        logs.data()[i] = kLog2E<T> * log_sum[i];
    }
    const Packed<T> dy_rows = pack(block.count, width, block.rows(dy, block.first), scratch),
                    q_rows = pack(block.count, width, block.rows(in.q, block.first), scratch);
    for (int k0 = 0; k0 < in.keys(); k0 += kKeys) {
        const int keys = std::min(block.keys(k0), in.keys() - k0);
        if (keys == 0) break;
        gemm<T>(keys, block.rows(in.k, k0),
                pack(width, columns, by_rows<T>(q.data(), row), scratch), weights.data(), false,
                row);
        block.add_bias(k0, keys, weights);
        gemm<T>(keys, block.rows(in.v, k0),
                pack(width, columns, by_rows<T>(dy_columns.data(), row), scratch), ds.data(), false,
                row);  // dP = dy v^T
        for (int j = 0; j < keys; ++j) {
            const T* seen = block.seen_by(k0 + j, own);
            for (int c = 0; c < columns; c += S::width) {
                V p = power_of_two(S::load(&weights(j, c)) - S::load(logs.data() + c));
                if (seen != nullptr) p = S::load(seen + c) > 0 ? p : V{};
                S::store(&weights(j, c), p);
                S::store(&ds(j, c), p * (S::load(&ds(j, c)) - S::load(mean.data() + c)));
            }
        }
        for (int i = 0; to.bias && i < block.count; ++i)
            for (int j = 0; j < keys; ++j) to.bias(block.head, block.first + i, k0 + j) += ds(j, i);
        if (to.q) {  // dq = scale dS k
            gemm<T>(width, block.columns(in.k, k0),
                    pack(keys, columns, by_rows<T>(ds.data(), row), scratch), dq.data(), true, row);
        }
        if (to.v) {  // dv = P^T dy
            gemm<T>(keys, by_rows<T>(weights.data(), row), dy_rows, block.at(to.v, k0), true,
                    channels);
        }
        if (to.k) {  // dk = scale dS^T q
            for (int j = 0; j < keys; ++j)
                for (int c = 0; c < columns; c += S::width)
                    S::store(&ds(j, c), in.scale * S::load(&ds(j, c)));
            gemm<T>(keys, by_rows<T>(ds.data(), row), q_rows, block.at(to.k, k0), true, channels);
        }
    }
    if (to.q) block.add_transposed(dq, in.scale, true, to.q);
}

}  // namespace

template <class T>
Tensor<T> live_keys(std::span<const unsigned char> keep, int images, int keys, Arena& memory) {
    const Tensor<T> live = memory.make<T>({images, keys});
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
    const int most = queries_of_block(in, in_parallel() ? 1 : thread_count()),
              blocks = (in.queries() + most - 1) / most;
    in_parts(in.q.size(0) * in.heads * blocks, 1, [&](int begin, int end) {
        thread_local Arena own;  // several threads cannot share the caller's
        own.reset();
        for (int i = begin; i < end; ++i) {
            const int n = i / blocks / in.heads, h = i / blocks % in.heads,
                      first = i % blocks * most;
            attend<T>({in, n, h, first, std::min(most, in.queries() - first)}, y,
                      &log_sum(n, h, first), own);
        }
    });
}

template <class T>
void attention_vjp(const AttentionInput<T>& in, Tensor<T> y, Tensor<T> dy, Tensor<T> log_sum,
                   Tensor<T> dq, Tensor<T> dk, Tensor<T> dv, Tensor<T> dbias) {
    const AttentionGradients<T> to{dq, dk, dv, dbias};
    const int most = queries_of_block(in, 1);
    // The gradients of a head's keys collect from all its queries, that of a bias from all images.
    const int images = in.q.size(0), together = dbias ? std::max(1, images) : 1,
              groups = images / together;
    in_parts(in.heads * groups, 1, [&](int begin, int end) {
        thread_local Arena own;
        own.reset();
        for (int i = begin; i < end; ++i) {
            const int h = i / groups, first_image = i % groups * together;
            for (int n = first_image; n < first_image + together; ++n) {
                for (int first = 0; first < in.queries(); first += most) {
                    attend_vjp<T>({in, n, h, first, std::min(most, in.queries() - first)}, y, dy,
                                  &log_sum(n, h, first), to, own);
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
