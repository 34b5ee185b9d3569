#include "kernels/gemm.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "kernels/simd.hpp"

namespace diffusion {
namespace {

/// A tile of Rows x Vectors registers of C stays in registers while k runs. Each step loads Vectors
/// registers of B and, for every row, multiplies them by one number of A: Rows * Vectors
/// multiply-adds for Rows + Vectors loads.
template <class T, int Vectors, int Rows>
void tile(int k, Strided<T> a, const T* panel, std::ptrdiff_t panel_row, T* c, std::ptrdiff_t c_row,
          int columns, bool accumulate) {
    using V = typename Simd<T>::Vector;
    constexpr int w = Simd<T>::width;
    V sum[Rows][Vectors] = {};
    for (int p = 0; p < k; ++p) {
        V b[Vectors];
        for (int v = 0; v < Vectors; ++v) b[v] = Simd<T>::load(panel + v * w);
        const T* column = a.data + p * a.column;
#pragma GCC unroll 24
        for (int i = 0; i < Rows; ++i) {
            const V x = Simd<T>::fill(column[i * a.row]);
            for (int v = 0; v < Vectors; ++v) sum[i][v] += x * b[v];
        }
        panel += panel_row;
    }
#pragma GCC unroll 24
    for (int i = 0; i < Rows; ++i) {
        T* row = c + i * c_row;
        if (columns == Vectors * w) {
            for (int v = 0; v < Vectors; ++v) {
                T* to = row + v * w;
                Simd<T>::store(to, accumulate ? Simd<T>::load(to) + sum[i][v] : sum[i][v]);
            }
        } else {
            alignas(kAlignment) T edge[Vectors * w];
            for (int v = 0; v < Vectors; ++v) Simd<T>::store(edge + v * w, sum[i][v]);
            for (int j = 0; j < columns; ++j) row[j] = accumulate ? row[j] + edge[j] : edge[j];
        }
    }
}

template <class T>
using TileFunction = void (*)(int, Strided<T>, const T*, std::ptrdiff_t, T*, std::ptrdiff_t, int,
                              bool);

/// tiles[r]: the tile of r + 1 rows.
template <class T, int Vectors, std::size_t... R>
constexpr std::array<TileFunction<T>, sizeof...(R)> make_tiles(std::index_sequence<R...>) {
    return {tile<T, Vectors, static_cast<int>(R) + 1>...};
}

/// All columns of one panel, in as many tiles as needed, all nearly equal in height: 14 rows are 7
/// + 7 rather than 12 + 2.
template <class T, int Vectors>
void panel_product(int m, int k, Strided<T> a, const T* panel, std::ptrdiff_t panel_row, T* c,
                   std::ptrdiff_t c_row, int columns, bool accumulate) {
    constexpr int most = 2 * kTileRows / Vectors;
    static constexpr auto tiles = make_tiles<T, Vectors>(std::make_index_sequence<most>());
    const int count = (m + most - 1) / most;
    for (int t = 0; t < count; ++t) {
        const int begin = static_cast<int>(static_cast<std::ptrdiff_t>(m) * t / count);
        const int end = static_cast<int>(static_cast<std::ptrdiff_t>(m) * (t + 1) / count);
        tiles[static_cast<std::size_t>(end - begin - 1)](
            k, {a.data + begin * a.row, a.row, a.column}, panel, panel_row, c + begin * c_row,
            c_row, columns, accumulate);
    }
}

}  // namespace

template <class T>
Packed<T> pack(int k, int n, Strided<T> b, Arena& memory) {
    const int width = n <= Simd<T>::width ? Simd<T>::width : 2 * Simd<T>::width;
    if (b.column == 1 && n % width == 0) return {b.data, k, n, width, b.row, width};
    const int panels = (n + width - 1) / width;
    T* to = memory.make<T>({panels, k, width}).data();
    const Packed<T> packed{to, k, n, width, width, static_cast<std::ptrdiff_t>(k) * width};
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
    const auto product = b.width == Simd<T>::width ? panel_product<T, 1> : panel_product<T, 2>;
    for (int j = 0; j < b.n; j += b.width) {
        product(m, b.k, a, b.panels + j / b.width * b.panel, b.row, c + j, c_row,
                std::min(b.width, b.n - j), accumulate);
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
