#include "04_unet/attention.hpp"

#include <algorithm>
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

/// What all blocks of one head share: its channels begin at column head * width of q, k and v,
/// whose rows are `channels` apart.
template <class T>
struct Head {
    const T *q, *k, *v;
    int queries, keys, channels, width;
    const T* live;  ///< 1 for a key that is kept, 0 for one that is not, and 0 up to a whole block
    T factor;

    Strided<T> rows(const T* x, int first) const {
        return {x + static_cast<std::ptrdiff_t>(first) * channels, channels, 1};
    }
    Strided<T> columns(const T* x, int first) const {
        return {x + static_cast<std::ptrdiff_t>(first) * channels, 1, channels};
    }
    /// x^T in blocks of kKeys columns, ready to be the right side of a product.
    Tensor<Packed<T>> pack_blocks(const T* x, Arena& memory) const {
        const int blocks = (keys + kKeys - 1) / kKeys;
        const Tensor<Packed<T>> packed = memory.make<Packed<T>>({blocks});
        for (int b = 0; b < blocks; ++b) {
            packed(b) =
                pack(width, std::min(kKeys, keys - b * kKeys), columns(x, b * kKeys), memory);
        }
        return packed;
    }
};

/// f(j) for the first number of each register of a row of scores, the padding included.
template <class T, class F>
void for_each_score(int keys, F f) {
    for (int j = 0; j < keys; j += Simd<T>::width) f(j);
}

/// y = softmax(q k^T / sqrt(D)) v for one head. log_sum [queries]: the logarithm of each row's
/// denominator in (4.9).
template <class T>
void attend(const Head<T>& head, T* y, T* log_sum, Arena& scratch) {
    using S = Simd<T>;
    using V = typename S::Vector;
    constexpr T kLowest = std::numeric_limits<T>::lowest() / 4;  // differences stay finite
    Arena::Scope scope(scratch);
    const Tensor<Packed<T>> k = head.pack_blocks(head.k, scratch);
    const Tensor<T> scores = scratch.make<T>({kQueries, kKeys});
    const Tensor<T> largest = scratch.make<T>({kQueries}), sum = scratch.make<T>({kQueries});
    for (int q0 = 0; q0 < head.queries; q0 += kQueries) {
        const int queries = std::min(kQueries, head.queries - q0);
        T* out = y + static_cast<std::ptrdiff_t>(q0) * head.channels;
        std::fill(largest.begin(), largest.end(), kLowest);
        std::fill(sum.begin(), sum.end(), T(0));
        for (int b = 0; b < k.size(0); ++b) {
            const T* live = head.live + b * kKeys;
            gemm<T>(queries, head.rows(head.q, q0), k(b), scores.data(), false, kKeys);
            for (int i = 0; i < queries; ++i) {
                T* row = scores[i].data();
                V most = S::fill(largest(i));
                for_each_score<T>(k(b).n, [&](int j) {
                    const V s =
                        S::load(live + j) > 0 ? head.factor * S::load(row + j) : S::fill(kLowest);
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
                T* y_row = out + static_cast<std::ptrdiff_t>(i) * head.channels;
                for (int c = 0; b > 0 && c < head.width; ++c) y_row[c] *= shrink;
                largest(i) = now;
            }
            gemm<T>(queries, head.width, k(b).n, by_rows<T>(scores.data(), kKeys),
                    head.rows(head.v, b * kKeys), out, b > 0, scratch, head.channels);
        }
        for (int i = 0; i < queries; ++i) {
            T* y_row = out + static_cast<std::ptrdiff_t>(i) * head.channels;
            for (int c = 0; c < head.width; ++c) y_row[c] /= sum(i);
            log_sum[q0 + i] = largest(i) + std::log(sum(i));
        }
    }
}

/// (4.10) for one head, from y and its gradient: adds to dq, dk and dv, where they are given.
template <class T>
void attend_vjp(const Head<T>& head, const T* y, const T* dy, const T* log_sum, T* dq, T* dk, T* dv,
                Arena& scratch) {
    using S = Simd<T>;
    using V = typename S::Vector;
    Arena::Scope scope(scratch);
    const Tensor<Packed<T>> k = head.pack_blocks(head.k, scratch),
                            v = head.pack_blocks(head.v, scratch);
    const Tensor<T> weights = scratch.make<T>({kQueries, kKeys}),
                    ds = scratch.make<T>({kQueries, kKeys});
    const auto at = [&](T* x, int row) {
        return x + static_cast<std::ptrdiff_t>(row) * head.channels;
    };
    for (int q0 = 0; q0 < head.queries; q0 += kQueries) {
        const int queries = std::min(kQueries, head.queries - q0);
        for (int b = 0; b < k.size(0); ++b) {
            const int k0 = b * kKeys, keys = k(b).n;
            const T* live = head.live + k0;
            gemm<T>(queries, head.rows(head.q, q0), k(b), weights.data(), false, kKeys);
            gemm<T>(queries, head.rows(dy, q0), v(b), ds.data(), false, kKeys);  // dP = dy v^T
            for (int i = 0; i < queries; ++i) {
                // The sum over j of P dP, all keys, is the scalar product of dy and y.
                const std::ptrdiff_t row = static_cast<std::ptrdiff_t>(q0 + i) * head.channels;
                T mean = 0;
                for (int c = 0; c < head.width; ++c) mean += dy[row + c] * y[row + c];
                T *p_row = weights[i].data(), *ds_row = ds[i].data();
                for_each_score<T>(keys, [&](int j) {
                    const V s = head.factor * S::load(p_row + j) - S::fill(log_sum[q0 + i]);
                    const V p = S::load(live + j) > 0 ? fast_exp(s) : V{};
                    V d = S::load(ds_row + j);
                    // >>> exercise 4.4 points=2 hint="(4.10): d holds dP, p holds P; make d dS / sqrt(D)"
                    d = head.factor * p * (d - mean);
                    // <<<
                    S::store(p_row + j, p);
                    S::store(ds_row + j, d);
                });
            }
            if (dv != nullptr) {  // dv = P^T dy
                gemm<T>(keys, head.width, queries, transposed<T>(weights.data(), kKeys),
                        head.rows(dy, q0), at(dv, k0), true, scratch, head.channels);
            }
            if (dq != nullptr) {  // dq = dS k
                gemm<T>(queries, head.width, keys, by_rows<T>(ds.data(), kKeys),
                        head.rows(head.k, k0), at(dq, q0), true, scratch, head.channels);
            }
            if (dk != nullptr) {  // dk = dS^T q
                gemm<T>(keys, head.width, queries, transposed<T>(ds.data(), kKeys),
                        head.rows(head.q, q0), at(dk, k0), true, scratch, head.channels);
            }
        }
    }
}

}  // namespace

template <class T>
Var<T> attention(Var<T> q, Var<T> k, Var<T> v, int heads, std::span<const unsigned char> keep) {
    require(q.shape().rank == 3 && k.shape() == v.shape() && k.shape().rank == 3 &&
                k.size(0) == q.size(0) && k.size(2) == q.size(2) && heads > 0 &&
                q.size(2) % heads == 0,
            "attention: q is ", q.shape(), ", k is ", k.shape(), ", v is ", v.shape(), ", heads ",
            heads, ", expected [N,L,C], [N,S,C], [N,S,C] and C a multiple of the heads");
    const int images = q.size(0), queries = q.size(1), keys = k.size(1), channels = q.size(2),
              width = channels / heads;
    require(keep.empty() || std::ssize(keep) == static_cast<std::ptrdiff_t>(images) * keys,
            "attention: keep has ", keep.size(), " entries, expected ", images, " x ", keys);
    Arena& scratch = q.tape().scratch();
    const Tensor<T> log_sum = q.tape().arena().template make<T>({images, heads, queries});
    const Tensor<T> live =
        q.tape().arena().template zeros<T>({images, (keys + kKeys - 1) / kKeys * kKeys});
    for (int n = 0; n < images; ++n) {
        bool any = false;
        for (int j = 0; j < keys; ++j) {
            const bool kept = keep.empty() || keep.data()[n * keys + j] != 0;
            live(n, j) = kept ? T(1) : T(0);
            any = any || kept;
        }
        require(any, "attention: image ", n, " keeps no key");
    }
    Var<T> y = q.tape().result(q.shape(), q, k, v);
    const auto slice = [=](Tensor<T> x, int n, int h) { return x[n].data() + h * width; };
    const auto head = [=](int n, int h) {
        return Head<T>{slice(q.value(), n, h),
                       slice(k.value(), n, h),
                       slice(v.value(), n, h),
                       queries,
                       keys,
                       channels,
                       width,
                       live[n].data(),
                       1 / std::sqrt(static_cast<T>(width))};
    };
    in_parts(images * heads, 1, [&](int begin, int end) {
        thread_local Arena own;  // several threads cannot share the tape's
        own.reset();
        for (int i = begin; i < end; ++i) {
            const int n = i / heads, h = i % heads;
            attend(head(n, h), slice(y.value(), n, h), log_sum[n][h].data(), own);
        }
    });
    q.tape().record(y, [=, &scratch] {
        for (int n = 0; n < images; ++n) {
            for (int h = 0; h < heads; ++h) {
                const auto into = [&](Var<T> x) {
                    return x.needs_grad() ? slice(x.grad(), n, h) : nullptr;
                };
                attend_vjp<T>(head(n, h), slice(y.value(), n, h), slice(y.grad(), n, h),
                              log_sum[n][h].data(), into(q), into(k), into(v), scratch);
            }
        }
    });
    return y;
}

template Var<float> attention(Var<float>, Var<float>, Var<float>, int,
                              std::span<const unsigned char>);
template Var<double> attention(Var<double>, Var<double>, Var<double>, int,
                               std::span<const unsigned char>);

}  // namespace diffusion
