#include "kernels/gemm.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "kernels/simd.hpp"

namespace diffusion {
namespace {

/// A tile of Rows x (2 vectors) of C stays in registers while k runs. Each step loads two vectors
/// of B and, for every row, multiplies them by one number of A: 2 * Rows multiply-adds for 2 + Rows
/// loads.
template <class T, int Rows>
void tile(int k, Strided<T> a, const T* panel, T* c, std::ptrdiff_t c_row, int columns,
          bool accumulate) {
    using V = typename Simd<T>::Vector;
    constexpr int w = Simd<T>::width;
    V sum[Rows][2] = {};
    for (int p = 0; p < k; ++p) {
        const V b0 = Simd<T>::load(panel), b1 = Simd<T>::load(panel + w);
        const T* column = a.data + p * a.column;
#pragma GCC unroll 16
        for (int i = 0; i < Rows; ++i) {
            const V x = Simd<T>::fill(column[i * a.row]);
            sum[i][0] += x * b0;
            sum[i][1] += x * b1;
        }
        panel += 2 * w;
    }
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i) {
        T* row = c + i * c_row;
        if (columns == 2 * w) {
            Simd<T>::store(row, accumulate ? Simd<T>::load(row) + sum[i][0] : sum[i][0]);
            Simd<T>::store(row + w, accumulate ? Simd<T>::load(row + w) + sum[i][1] : sum[i][1]);
        } else {
            alignas(kAlignment) T edge[2 * w];
            Simd<T>::store(edge, sum[i][0]);
            Simd<T>::store(edge + w, sum[i][1]);
            for (int j = 0; j < columns; ++j) row[j] = accumulate ? row[j] + edge[j] : edge[j];
        }
    }
}

template <class T>
using TileFunction = void (*)(int, Strided<T>, const T*, T*, std::ptrdiff_t, int, bool);

/// tiles[r]: the tile of r + 1 rows.
template <class T, std::size_t... R>
constexpr std::array<TileFunction<T>, sizeof...(R)> make_tiles(std::index_sequence<R...>) {
    return {tile<T, static_cast<int>(R) + 1>...};
}

}  // namespace

template <class T>
Packed<T> pack(int k, int n, Strided<T> b, Arena& memory) {
    constexpr int width = 2 * Simd<T>::width;
    const int panels = (n + width - 1) / width;
    T* to = memory.make<T>({panels, k, width}).data();
    const Packed<T> packed{to, k, n};
    for (int j = 0; j < n; j += width) {
        const int columns = std::min(width, n - j);
        for (int p = 0; p < k; ++p, to += width) {
            const T* from = b.data + p * b.row + j * b.column;
            for (int q = 0; q < columns; ++q) to[q] = from[q * b.column];
            std::fill(to + columns, to + width, T(0));  // never stored
        }
    }
    return packed;
}

template <class T>
void gemm(int m, Strided<T> a, Packed<T> b, T* c, bool accumulate, std::ptrdiff_t c_row) {
    if (c_row == 0) c_row = b.n;
    static constexpr auto tiles = make_tiles<T>(std::make_index_sequence<kTileRows>());
    constexpr int width = 2 * Simd<T>::width;
    // As many tiles as needed, all nearly equal in height: 14 rows are 7 + 7 rather than 12 + 2.
    const int count = (m + kTileRows - 1) / kTileRows;
    for (int j = 0; j < b.n; j += width) {
        const T* panel = b.panels + static_cast<std::ptrdiff_t>(j) * b.k;
        for (int t = 0; t < count; ++t) {
            const int begin = static_cast<int>(static_cast<std::ptrdiff_t>(m) * t / count);
            const int end = static_cast<int>(static_cast<std::ptrdiff_t>(m) * (t + 1) / count);
            tiles[static_cast<std::size_t>(end - begin - 1)](
                b.k, {a.data + begin * a.row, a.row, a.column}, panel, c + begin * c_row + j, c_row,
                std::min(width, b.n - j), accumulate);
        }
    }
}

template <class T>
void gemm(int m, int n, int k, Strided<T> a, Strided<T> b, T* c, bool accumulate, Arena& scratch,
          std::ptrdiff_t c_row) {
    Arena::Scope scope(scratch);
    gemm(m, a, pack(k, n, b, scratch), c, accumulate, c_row);
}

template <class T>
void gemm_obvious(int m, int n, int k, Strided<T> a, Strided<T> b, T* c, bool accumulate) {
    for (int i = 0; i < m; ++i) {
        for (int j = 0; j < n; ++j) {
            T sum = 0;
            for (int p = 0; p < k; ++p) {
                sum += a.data[i * a.row + p * a.column] * b.data[p * b.row + j * b.column];
            }
            T& out = c[static_cast<std::ptrdiff_t>(i) * n + j];
            out = accumulate ? out + sum : sum;
        }
    }
}

template Packed<float> pack(int, int, Strided<float>, Arena&);
template Packed<double> pack(int, int, Strided<double>, Arena&);
template void gemm(int, Strided<float>, Packed<float>, float*, bool, std::ptrdiff_t);
template void gemm(int, Strided<double>, Packed<double>, double*, bool, std::ptrdiff_t);
template void gemm(int, int, int, Strided<float>, Strided<float>, float*, bool, Arena&,
                   std::ptrdiff_t);
template void gemm(int, int, int, Strided<double>, Strided<double>, double*, bool, Arena&,
                   std::ptrdiff_t);
template void gemm_obvious(int, int, int, Strided<float>, Strided<float>, float*, bool);
template void gemm_obvious(int, int, int, Strided<double>, Strided<double>, double*, bool);

}  // namespace diffusion
