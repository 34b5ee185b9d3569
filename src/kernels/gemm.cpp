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
void tile(int k, const T* a, std::ptrdiff_t a_row, std::ptrdiff_t a_column, const T* panel,
          std::ptrdiff_t panel_row, T* c, std::ptrdiff_t c_row, bool accumulate, const T* plus) {
    using V = typename Simd<T>::Vector;
    constexpr int w = Simd<T>::width;
    // One pointer for every four rows: base, base + row, base + 2 row and base + 3 row are
    // addresses that cost no registers of their own. With twelve offsets some of them would not
    // fit.
    const T* quad[(Rows + 3) / 4];
    for (int q = 0; 4 * q < Rows; ++q) quad[q] = a + 4 * q * a_row;
    const std::ptrdiff_t row[4] = {0, a_row, 2 * a_row, 3 * a_row};
    V sum[Rows][Vectors] = {};
    for (int p = 0; p < k; ++p) {
        V b[Vectors];
        for (int v = 0; v < Vectors; ++v) b[v] = Simd<T>::load(panel + v * w);
#pragma GCC unroll 24
        for (int i = 0; i < Rows; ++i) {
            const V x = Simd<T>::fill(quad[i / 4][row[i % 4]]);
            for (int v = 0; v < Vectors; ++v) sum[i][v] += x * b[v];
        }
        panel += panel_row;
        for (const T*& from : quad) from += a_column;
    }
#pragma GCC unroll 24
    for (int i = 0; i < Rows; ++i) {
        for (int v = 0; v < Vectors; ++v) {
            T* to = c + i * c_row + v * w;
            V total = sum[i][v];
            if (plus != nullptr) total += Simd<T>::load(plus + v * w);
            if (accumulate) total += Simd<T>::load(to);
            Simd<T>::store(to, total);
        }
    }
}

/// Numbers and pointers, no struct: a struct would travel through memory, and the tile, which reads
/// it as soon as it is written, would wait for all stores of the tile before.
template <class T>
using TileFunction = void (*)(int, const T*, std::ptrdiff_t, std::ptrdiff_t, const T*,
                              std::ptrdiff_t, T*, std::ptrdiff_t, bool, const T*);

/// tiles[r]: the tile of r + 1 rows.
template <class T, int Vectors, std::size_t... R>
constexpr std::array<TileFunction<T>, sizeof...(R)> make_tiles(std::index_sequence<R...>) {
    return {tile<T, Vectors, static_cast<int>(R) + 1>...};
}

/// All columns of one panel, in as many tiles as needed, all nearly equal in height: 14 rows are 7
/// + 7 rather than 12 + 2. A panel of which `columns` are wanted, fewer than it is wide, goes
/// through memory on the side.
template <class T, int Vectors>
void panel_product(int m, int k, Strided<T> a, const T* panel, std::ptrdiff_t panel_row, T* c,
                   std::ptrdiff_t c_row, int columns, bool accumulate, const T* plus) {
    constexpr int most = 2 * kTileRows / Vectors, width = Vectors * Simd<T>::width;
    static constexpr auto tiles = make_tiles<T, Vectors>(std::make_index_sequence<most>());
    const int count = (m + most - 1) / most;
    for (int t = 0, begin = 0; t < count; ++t) {
        const int rows = (m - begin) / (count - t);
        const auto product = tiles[static_cast<std::size_t>(rows - 1)];
        const T* from = a.data + begin * a.row;
        T* to = c + begin * c_row;
        begin += rows;
        if (columns == width) {
            product(k, from, a.row, a.column, panel, panel_row, to, c_row, accumulate, plus);
            continue;
        }
        alignas(kAlignment) T edge[most * width];
        product(k, from, a.row, a.column, panel, panel_row, edge, width, false, nullptr);
        for (int i = 0; i < rows; ++i) {
            T* row = to + i * c_row;
            const T* sum = edge + i * width;
            for (int j = 0; j < columns; ++j) {
                row[j] = sum[j] + (plus != nullptr ? plus[j] : T(0)) + (accumulate ? row[j] : T(0));
            }
        }
    }
}

}  // namespace

template <class T>
Packed<T> pack(int k, int n, Strided<T> b, Arena& memory) {
    constexpr int w = Simd<T>::width;
    if (b.column == 1 && n % w == 0) return {b.data, k, n, b.row, 1};
    const int padded = (n + w - 1) / w * w;
    T* to = memory.make<T>({k, padded}).data();
    const Packed<T> packed{to, k, n, 0, k};
    for (int j = 0; j < n; j += 2 * w) {
        const int width = std::min(2 * w, padded - j), columns = std::min(width, n - j);
        if (b.row == 1 && columns == width) {
            transpose(width, k, b.data + j * b.column, b.column, to, width);
            to += static_cast<std::ptrdiff_t>(k) * width;
            continue;
        }
        for (int p = 0; p < k; ++p, to += width) {
            const T* from = b.data + p * b.row + j * b.column;
            for (int q = 0; q < columns; ++q) to[q] = from[q * b.column];
            std::fill(to + columns, to + width, T(0));  // never stored
        }
    }
    return packed;
}

template <class T>
void gemm(int m, Strided<T> a, Packed<T> b, T* c, bool accumulate, std::ptrdiff_t c_row,
          const T* plus) {
    constexpr int w = Simd<T>::width;
    if (c_row == 0) c_row = b.n;
    for (int j = 0; j < b.n; j += 2 * w) {
        const int columns = std::min(2 * w, b.n - j), vectors = columns > w ? 2 : 1;
        const auto product = vectors == 2 ? panel_product<T, 2> : panel_product<T, 1>;
        product(m, b.k, a, b.data + j * b.column, b.row == 0 ? vectors * w : b.row, c + j, c_row,
                columns, accumulate, plus == nullptr ? nullptr : plus + j);
    }
}

template <class T>
void gemm(int m, int n, int k, Strided<T> a, Strided<T> b, T* c, bool accumulate, Arena& scratch,
          std::ptrdiff_t c_row) {
    Arena::Scope scope(scratch);
    gemm(m, a, pack(k, n, b, scratch), c, accumulate, c_row);
}

template Packed<float> pack(int, int, Strided<float>, Arena&);
template Packed<double> pack(int, int, Strided<double>, Arena&);
template void gemm(int, Strided<float>, Packed<float>, float*, bool, std::ptrdiff_t, const float*);
template void gemm(int, Strided<double>, Packed<double>, double*, bool, std::ptrdiff_t,
                   const double*);
template void gemm(int, int, int, Strided<float>, Strided<float>, float*, bool, Arena&,
                   std::ptrdiff_t);
template void gemm(int, int, int, Strided<double>, Strided<double>, double*, bool, Arena&,
                   std::ptrdiff_t);

}  // namespace diffusion
