#include "kernels/conv_2x2.hpp"

#include <algorithm>

#include "kernels/gemm.hpp"
#include "kernels/simd.hpp"
#include "kernels/threads.hpp"

namespace diffusion {
namespace {

constexpr int kPixels = 4;
constexpr int kTaps = 9;

/// Which of the 3x3 weights leads from pixel `from` of x to pixel `to` of y.
constexpr int tap(int from, int to) {
    return (from / 2 - to / 2 + 1) * 3 + (from % 2 - to % 2 + 1);
}

/// y[m,n] (+)= a[m,k] b[k,n], by rows; all cores share a single caller's rows.
template <class T>
void product(int m, int k, const T* a, Packed<T> b, T* y, bool add) {
    in_parts(m, kTileRows, [&](int begin, int end) {
        gemm<T>(end - begin, by_rows<T>(a + static_cast<std::ptrdiff_t>(begin) * k, k), b,
                y + static_cast<std::ptrdiff_t>(begin) * b.n, add);
    });
}

}  // namespace

template <class T>
void conv2d_2x2(Tensor<const T> x, Tensor<const T> weight, Plus<T> plus, Tensor<T> y,
                Arena& scratch) {
    Arena::Scope scope(scratch);
    const int inputs = weight.size(2), outputs = weight.size(3);
    const Tensor<const T> taps = weight.reshape({kTaps, inputs, outputs});
    const Tensor<T> matrix = scratch.make<T>({kPixels, inputs, kPixels, outputs});
    for (int from = 0; from < kPixels; ++from) {
        for (int c = 0; c < inputs; ++c) {
            for (int to = 0; to < kPixels; ++to)
                std::copy_n(&taps(tap(from, to), c, 0), outputs, &matrix(from, c, to, 0));
        }
    }
    const bool add = plus.start(y);
    const int k = kPixels * inputs, n = kPixels * outputs;
    product<T>(x.size(0), k, x.data(), pack(k, n, by_rows<T>(matrix.data(), n), scratch), y.data(),
               add);
}

template <class T>
void conv2d_2x2_data_vjp(Tensor<const T> dy, Tensor<const T> weight, bool add, Tensor<T> dx,
                         Arena& scratch) {
    Arena::Scope scope(scratch);
    const int inputs = weight.size(2), outputs = weight.size(3);
    const Tensor<const T> taps = weight.reshape({kTaps, inputs, outputs});
    const Tensor<T> adjoint = scratch.make<T>({kPixels, outputs, kPixels, inputs});
    const int k = kPixels * outputs, n = kPixels * inputs;
    for (int to = 0; to < kPixels; ++to) {
        for (int from = 0; from < kPixels; ++from) {
            transpose(inputs, outputs, taps[tap(from, to)].data(), outputs,
                      &adjoint(to, 0, from, 0), n);
        }
    }
    product<T>(dy.size(0), k, dy.data(), pack(k, n, by_rows<T>(adjoint.data(), n), scratch),
               dx.data(), add);
}

template <class T>
void conv2d_2x2_weight_vjp(Tensor<const T> x, Tensor<const T> dy, Tensor<T> dweight,
                           Arena& scratch) {
    Arena::Scope scope(scratch);
    const int inputs = dweight.size(2), outputs = dweight.size(3);
    const Tensor<T> taps = dweight.reshape({kTaps, inputs, outputs});
    const Tensor<T> dmatrix = scratch.make<T>({kPixels, inputs, kPixels, outputs});
    const int k = kPixels * inputs, n = kPixels * outputs;
    gemm<T>(k, n, x.size(0), transposed<T>(x.data(), k), by_rows<T>(dy.data(), n), dmatrix.data(),
            false, scratch);
    for (int from = 0; from < kPixels; ++from) {
        for (int c = 0; c < inputs; ++c) {
            for (int to = 0; to < kPixels; ++to) {
                const T* share = &dmatrix(from, c, to, 0);
                T* sum = &taps(tap(from, to), c, 0);
#pragma omp simd
                for (int o = 0; o < outputs; ++o) sum[o] += share[o];
            }
        }
    }
}

#define DIFFUSION_INSTANTIATE(T)                                                                  \
    template void conv2d_2x2(Tensor<const T>, Tensor<const T>, Plus<T>, Tensor<T>, Arena&);       \
    template void conv2d_2x2_data_vjp(Tensor<const T>, Tensor<const T>, bool, Tensor<T>, Arena&); \
    template void conv2d_2x2_weight_vjp(Tensor<const T>, Tensor<const T>, Tensor<T>, Arena&);
DIFFUSION_INSTANTIATE(float)
DIFFUSION_INSTANTIATE(double)
#undef DIFFUSION_INSTANTIATE

}  // namespace diffusion
