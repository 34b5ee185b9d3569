#include "04_unet/attention.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/exp.hpp"
#include "kernels/gemm.hpp"

namespace diffusion {

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
    const T factor = 1 / std::sqrt(static_cast<T>(width));
    Arena &arena = q.tape().arena(), &scratch = q.tape().scratch();
    Var<T> y = q.tape().result(q.shape(), q, k, v);
    const Tensor<T> weights = arena.template make<T>({images, heads, queries, keys});
    // Head h of image n: its channels begin at column h * width, and its rows are `channels` apart.
    const auto head = [=](Tensor<T> x, int n, int h) { return x[n].data() + h * width; };
    for (int n = 0; n < images; ++n) {
        for (int h = 0; h < heads; ++h) {
            T* w = weights[n][h].data();
            gemm<T>(queries, keys, width, {head(q.value(), n, h), channels, 1},
                    {head(k.value(), n, h), 1, channels}, w, false, scratch);
            for (int i = 0; i < queries; ++i) {
                T* row = w + static_cast<std::ptrdiff_t>(i) * keys;
                const auto kept = [&](int j) {
                    return keep.empty() || keep.data()[n * keys + j] != 0;
                };
                T largest = 0;
                bool any = false;
                for (int j = 0; j < keys; ++j) {
                    if (kept(j) && (!any || row[j] > largest)) largest = row[j], any = true;
                }
                require(any, "attention: image ", n, " keeps no key");
                T sum = 0;
                for (int j = 0; j < keys; ++j)
                    row[j] = kept(j) ? fast_exp(factor * (row[j] - largest)) : T(0);
                for (int j = 0; j < keys; ++j) sum += row[j];
                for (int j = 0; j < keys; ++j) row[j] /= sum;
            }
            gemm<T>(queries, width, keys, by_rows<T>(w, keys), {head(v.value(), n, h), channels, 1},
                    head(y.value(), n, h), false, scratch, channels);
        }
    }
    q.tape().record(y, [=, &scratch] {
        for (int n = 0; n < images; ++n) {
            for (int h = 0; h < heads; ++h) {
                Arena::Scope scope(scratch);
                const T *w = weights[n][h].data(), *dy = head(y.grad(), n, h);
                const Tensor<T> ds = scratch.template make<T>({queries, keys});
                // (4.10) dv = w^T dy
                if (v.needs_grad()) {
                    gemm<T>(keys, width, queries, transposed<T>(w, keys), {dy, channels, 1},
                            head(v.grad(), n, h), true, scratch, channels);
                }
                // dw = dy v^T, then softmax backwards (2.10), then the factor
                gemm<T>(queries, keys, width, {dy, channels, 1},
                        {head(v.value(), n, h), 1, channels}, ds.data(), false, scratch);
                for (int i = 0; i < queries; ++i) {
                    const T* row = w + static_cast<std::ptrdiff_t>(i) * keys;
                    T* d = ds[i].data();
                    // >>> exercise 4.4 points=2 hint="(4.10): d holds dP; make it dS / sqrt(D)"
                    T mean = 0;
                    for (int j = 0; j < keys; ++j) mean += row[j] * d[j];
                    for (int j = 0; j < keys; ++j) d[j] = factor * row[j] * (d[j] - mean);
                    // <<<
                }
                // dq = ds k, dk = ds^T q
                if (q.needs_grad()) {
                    gemm<T>(queries, width, keys, by_rows<T>(ds.data(), keys),
                            {head(k.value(), n, h), channels, 1}, head(q.grad(), n, h), true,
                            scratch, channels);
                }
                if (k.needs_grad()) {
                    gemm<T>(keys, width, queries, transposed<T>(ds.data(), keys),
                            {head(q.value(), n, h), channels, 1}, head(k.grad(), n, h), true,
                            scratch, channels);
                }
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
