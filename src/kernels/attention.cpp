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

// Scores are made, used and forgotten in blocks of queries x keys.
constexpr int kQueries = 64, kKeys = 128;

/// One head of one image: its channels begin at column head * width of q, k and v, whose rows are
/// `channels` apart.
template <class T>
struct Head {
    const AttentionInput<T>& in;
    int image, head;

    int width() const { return in.width(); }
    int channels() const { return in.q.size(2); }
    /// Row `row` of a tensor like q or k.
    T* at(Tensor<T> x, int row) const { return &x(image, row, head * width()); }
    Strided<T> rows(Tensor<T> x, int first) const { return {at(x, first), channels(), 1}; }
    Strided<T> columns(Tensor<T> x, int first) const { return {at(x, first), 1, channels()}; }

    /// x^T in blocks of kKeys columns, ready to be the right side of a product.
    Tensor<Packed<T>> pack_blocks(Tensor<T> x, Arena& memory) const {
        const int blocks = (in.keys() + kKeys - 1) / kKeys;
        const Tensor<Packed<T>> packed = memory.make<Packed<T>>({blocks});
        for (int b = 0; b < blocks; ++b) {
            packed(b) = pack(width(), std::min(kKeys, in.keys() - b * kKeys), columns(x, b * kKeys),
                             memory);
        }
        return packed;
    }
    /// Whether none of the queries before `end` sees a key of block b.
    bool out_of_reach(int end, int b) const { return in.reach(end - 1) <= b * kKeys; }

    /// Which keys of block b query i sees; `own` is room for a row that differs from the others.
    const T* live(int i, int b, std::array<T, kKeys>& own) const {
        const T* all = &in.live(image, b * kKeys);
        const int seen = in.reach(i) - b * kKeys;
        if (!in.causal || seen >= kKeys) return all;
        for (int j = 0; j < kKeys; ++j) own.data()[j] = j < seen ? all[j] : T(0);
        return own.data();
    }
    /// What scores still have to be multiplied by once the bias is in them.
    T factor() const { return in.bias ? T(1) : in.scale; }
    /// row = scale row + bias, for the scores of query i with block b. Without a bias they stay
    /// scalar products.
    void add_bias(T* row, int i, int b) const {
        if (!in.bias) return;
        const T* bias = &in.bias(head, i, b * kKeys);
        const int keys = std::min(kKeys, in.keys() - b * kKeys);
        for (int j = 0; j < keys; ++j) row[j] = in.scale * row[j] + bias[j];
    }
};

/// f(j) for the first number of each register of a row of scores, the padding included.
template <class T, class F>
void for_each_score(int keys, F f) {
    for (int j = 0; j < keys; j += Simd<T>::width) f(j);
}

/// y = softmax(scale q k^T + bias) v for one head. log_sum [L].
template <class T>
void attend(const Head<T>& head, Tensor<T> y, Tensor<T> log_sum, Arena& scratch) {
    using S = Simd<T>;
    using V = typename S::Vector;
    constexpr T kLowest = std::numeric_limits<T>::lowest() / 4;  // differences stay finite
    Arena::Scope scope(scratch);
    const AttentionInput<T>& in = head.in;
    const int channels = head.channels(), width = head.width();
    const T factor = head.factor();
    const Tensor<Packed<T>> k = head.pack_blocks(in.k, scratch);
    const Tensor<T> scores = scratch.make<T>({kQueries, kKeys});
    const Tensor<T> largest = scratch.make<T>({kQueries}), sum = scratch.make<T>({kQueries});
    std::array<T, kKeys> own;
    for (int q0 = 0; q0 < in.queries(); q0 += kQueries) {
        const int queries = std::min(kQueries, in.queries() - q0);
        T* out = head.at(y, q0);
        std::fill(largest.begin(), largest.end(), kLowest);
        std::fill(sum.begin(), sum.end(), T(0));
        for (int b = 0; b < k.size(0) && !head.out_of_reach(q0 + queries, b); ++b) {
            gemm<T>(queries, head.rows(in.q, q0), k(b), scores.data(), false, kKeys);
            for (int i = 0; i < queries; ++i) {
                const T* live = head.live(q0 + i, b, own);
                T* row = scores[i].data();
                head.add_bias(row, q0 + i, b);
                V most = S::fill(largest(i));
                for_each_score<T>(k(b).n, [&](int j) {
                    const V s =
                        S::load(live + j) > 0 ? factor * S::load(row + j) : S::fill(kLowest);
                    S::store(row + j, s);
                    most = s > most ? s : most;
                });
                T now = most[0];
                for (int l = 1; l < S::width; ++l) now = std::max<T>(now, most[l]);
                V total{};
                for_each_score<T>(k(b).n, [&](int j) {
                    const V p = fast_exp(S::load(row + j) - S::fill(now)) * S::load(live + j);
                    S::store(row + j, p);
                    total += p;
                });
                // What was added up so far had e^-(largest so far) taken out.
                const T shrink = fast_exp(largest(i) - now);
                sum(i) = shrink * sum(i) + sum_of_elements<T>(total);
                T* y_row = out + static_cast<std::ptrdiff_t>(i) * channels;
                for (int c = 0; b > 0 && c < width; ++c) y_row[c] *= shrink;
                largest(i) = now;
            }
            gemm<T>(queries, width, k(b).n, by_rows<T>(scores.data(), kKeys),
                    head.rows(in.v, b * kKeys), out, b > 0, scratch, channels);
        }
        for (int i = 0; i < queries; ++i) {
            T* y_row = out + static_cast<std::ptrdiff_t>(i) * channels;
            for (int c = 0; c < width; ++c) y_row[c] /= sum(i);
            log_sum(q0 + i) = largest(i) + std::log(sum(i));
        }
    }
}

/// (4.10) for one head, from y and its gradient: adds to dq, dk, dv and dbias, where they are
/// given.
template <class T>
void attend_vjp(const Head<T>& head, Tensor<T> y, Tensor<T> dy, Tensor<T> log_sum, Tensor<T> dq,
                Tensor<T> dk, Tensor<T> dv, Tensor<T> dbias, Arena& scratch) {
    using S = Simd<T>;
    using V = typename S::Vector;
    Arena::Scope scope(scratch);
    const AttentionInput<T>& in = head.in;
    const int channels = head.channels(), width = head.width();
    const T factor = head.factor();
    const Tensor<Packed<T>> k = head.pack_blocks(in.k, scratch),
                            v = head.pack_blocks(in.v, scratch);
    const Tensor<T> weights = scratch.make<T>({kQueries, kKeys}),
                    ds = scratch.make<T>({kQueries, kKeys});
    std::array<T, kKeys> own;
    for (int q0 = 0; q0 < in.queries(); q0 += kQueries) {
        const int queries = std::min(kQueries, in.queries() - q0);
        for (int b = 0; b < k.size(0) && !head.out_of_reach(q0 + queries, b); ++b) {
            const int k0 = b * kKeys, keys = k(b).n;
            gemm<T>(queries, head.rows(in.q, q0), k(b), weights.data(), false, kKeys);
            gemm<T>(queries, head.rows(dy, q0), v(b), ds.data(), false, kKeys);  // dP = dy v^T
            for (int i = 0; i < queries; ++i) {
                const T* live = head.live(q0 + i, b, own);
                // The sum over j of P dP, all keys, is the scalar product of dy and y.
                const T *dy_row = head.at(dy, q0 + i), *y_row = head.at(y, q0 + i);
                T mean = 0;
                for (int c = 0; c < width; ++c) mean += dy_row[c] * y_row[c];
                T *p_row = weights[i].data(), *ds_row = ds[i].data();
                head.add_bias(p_row, q0 + i, b);
                for_each_score<T>(keys, [&](int j) {
                    const V s = factor * S::load(p_row + j) - S::fill(log_sum(q0 + i));
                    const V p = S::load(live + j) > 0 ? fast_exp(s) : V{};
                    S::store(p_row + j, p);
                    S::store(ds_row + j, factor * p * (S::load(ds_row + j) - mean));
                });
                if (!in.bias) continue;
                for (int j = 0; dbias && j < keys; ++j)
                    dbias(head.head, q0 + i, k0 + j) += ds_row[j];
                for (int j = 0; j < keys; ++j) ds_row[j] *= in.scale;
            }
            if (dv) {  // dv = P^T dy
                gemm<T>(keys, width, queries, transposed<T>(weights.data(), kKeys),
                        head.rows(dy, q0), head.at(dv, k0), true, scratch, channels);
            }
            if (dq) {  // dq = dS k
                gemm<T>(queries, width, keys, by_rows<T>(ds.data(), kKeys), head.rows(in.k, k0),
                        head.at(dq, q0), true, scratch, channels);
            }
            if (dk) {  // dk = dS^T q
                gemm<T>(keys, width, queries, transposed<T>(ds.data(), kKeys), head.rows(in.q, q0),
                        head.at(dk, k0), true, scratch, channels);
            }
        }
    }
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
    in_parts(in.q.size(0) * in.heads, 1, [&](int begin, int end) {
        thread_local Arena own;  // several threads cannot share the caller's
        own.reset();
        for (int i = begin; i < end; ++i) {
            const int n = i / in.heads, h = i % in.heads;
            attend<T>({in, n, h}, y, log_sum[n][h], own);
        }
    });
}

template <class T>
void attention_vjp(const AttentionInput<T>& in, Tensor<T> y, Tensor<T> dy, Tensor<T> log_sum,
                   Tensor<T> dq, Tensor<T> dk, Tensor<T> dv, Tensor<T> dbias, Arena& scratch) {
    for (int n = 0; n < in.q.size(0); ++n) {
        for (int h = 0; h < in.heads; ++h)
            attend_vjp<T>({in, n, h}, y, dy, log_sum[n][h], dq, dk, dv, dbias, scratch);
    }
}

#define DIFFUSION_INSTANTIATE(T)                                                           \
    template Tensor<T> live_keys(std::span<const unsigned char>, int, int, Arena&);        \
    template void attention_forward(const AttentionInput<T>&, Tensor<T>, Tensor<T>);       \
    template void attention_vjp(const AttentionInput<T>&, Tensor<T>, Tensor<T>, Tensor<T>, \
                                Tensor<T>, Tensor<T>, Tensor<T>, Tensor<T>, Arena&);
DIFFUSION_INSTANTIATE(float)
DIFFUSION_INSTANTIATE(double)
#undef DIFFUSION_INSTANTIATE

}  // namespace diffusion
