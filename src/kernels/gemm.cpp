#include "kernels/gemm.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "kernels/simd.hpp"
#include "kernels/threads.hpp"

namespace diffusion {
namespace {

/// A tile of Rows x Vectors registers of C stays in registers while k runs. Each step loads Vectors
/// registers of B and, for every row, multiplies them by one number of A: Rows * Vectors
/// multiply-adds for Rows + Vectors loads. With `ahead` B is fetched so many numbers before it is
/// needed.
///
/// The arguments are numbers and pointers, no struct: that would travel through memory, and the
/// tile, which reads it as soon as it is written, would wait for all stores of the tile before.
template <class T, int Vectors, int Rows>
void tile(int k, const T* a, std::ptrdiff_t a_row, std::ptrdiff_t a_column, const T* panel,
          std::ptrdiff_t panel_row, std::ptrdiff_t ahead, T* c, std::ptrdiff_t c_row,
          bool accumulate, const T* plus) {
    using V = typename Simd<T>::Vector;
    constexpr int w = Simd<T>::width;
    // One pointer for every four rows: base, base + row, base + 2 row and base + 3 row are
    // addresses that cost no registers of their own. With twelve offsets some of them would not
    // fit.
    const T* quad[(Rows + 3) / 4];
    for (int q = 0; 4 * q < Rows; ++q) quad[q] = a + 4 * q * a_row;
    const std::ptrdiff_t row[4] = {0, a_row, 2 * a_row, 3 * a_row};
    V sum[Rows][Vectors] = {};
    if (plus != nullptr) {
#pragma GCC unroll 24
        for (int i = 0; i < Rows; ++i)
            for (int v = 0; v < Vectors; ++v) sum[i][v] = Simd<T>::load(plus + v * w);
    }
    if (accumulate) {
#pragma GCC unroll 24
        for (int i = 0; i < Rows; ++i)
            for (int v = 0; v < Vectors; ++v) sum[i][v] += Simd<T>::load(c + i * c_row + v * w);
    } else if (ahead > 0) {
        for (int i = 0; i < Rows; ++i)
            for (int v = 0; v < Vectors; ++v) __builtin_prefetch(c + i * c_row + v * w, 1);
    }
    for (int p = 0; p < k; ++p) {
        V b[Vectors];
        for (int v = 0; v < Vectors; ++v) {
            b[v] = Simd<T>::load(panel + v * w);
            if (ahead > 0) __builtin_prefetch(panel + ahead + v * w);
        }
#pragma GCC unroll 24
        for (int i = 0; i < Rows; ++i) {
            const V x = Simd<T>::fill(quad[i / 4][row[i % 4]]);
            for (int v = 0; v < Vectors; ++v) sum[i][v] += x * b[v];
        }
        panel += panel_row;
        for (const T*& from : quad) from += a_column;
    }
#pragma GCC unroll 24
    for (int i = 0; i < Rows; ++i)
        for (int v = 0; v < Vectors; ++v) Simd<T>::store(c + i * c_row + v * w, sum[i][v]);
}

template <class T>
using TileFunction = void (*)(int, const T*, std::ptrdiff_t, std::ptrdiff_t, const T*,
                              std::ptrdiff_t, std::ptrdiff_t, T*, std::ptrdiff_t, bool, const T*);

/// tiles[r]: the tile of r + 1 rows.
template <class T, int Vectors, std::size_t... R>
constexpr std::array<TileFunction<T>, sizeof...(R)> make_tiles(std::index_sequence<R...>) {
    return {tile<T, Vectors, static_cast<int>(R) + 1>...};
}

/// The highest tile of a panel of so many registers.
template <int Vectors>
inline constexpr int kMostRows = 2 * kTileRows / Vectors;

/// How wide the next panel is of so many registers: 3, where there are enough of them for 24 sums,
/// else 2. The wider one loads less for each multiply-add. A single one is avoided.
constexpr int panel_registers(int left) {
    constexpr bool many = kTileRows >= 12;
    return many && left >= 3 && left != 4 ? 3 : std::min(2, left);
}

/// f(begin, rows) for parts of m rows, as few as needed, all nearly equal in height: 14 rows in
/// tiles of at most 12 are 7 + 7 rather than 12 + 2.
template <class F>
void for_each_part(int m, int most, F f) {
    const int count = m == 0 ? 0 : (m + most - 1) / most;
    for (int t = 0, begin = 0; t < count; ++t) {
        const int rows = (m - begin) / (count - t);
        f(begin, rows);
        begin += rows;
    }
}

/// All columns of one panel. A panel of which `columns` are wanted, fewer than it is wide, goes
/// through memory on the side.
template <class T, int Vectors>
void panel_product(int m, int k, Strided<T> a, const T* panel, std::ptrdiff_t panel_row,
                   std::ptrdiff_t ahead, T* c, std::ptrdiff_t c_row, int columns, bool accumulate,
                   const T* plus) {
    constexpr int most = kMostRows<Vectors>, width = Vectors * Simd<T>::width;
    static constexpr auto tiles = make_tiles<T, Vectors>(std::make_index_sequence<most>());
    alignas(kAlignment) T edge[most * width], edge_plus[width];
    for_each_part(m, most, [&](int begin, int rows) {
        const auto product = tiles[static_cast<std::size_t>(rows - 1)];
        const T* from = a.data + begin * a.row;
        T* to = c + begin * c_row;
        if (columns == width) {
            product(k, from, a.row, a.column, panel, panel_row, ahead, to, c_row, accumulate, plus);
            return;
        }
        for (int i = 0; accumulate && i < rows; ++i)
            std::copy_n(to + i * c_row, columns, edge + i * width);
        if (plus != nullptr) std::copy_n(plus, columns, edge_plus);
        product(k, from, a.row, a.column, panel, panel_row, ahead, edge, width, accumulate,
                plus == nullptr ? nullptr : edge_plus);
        for (int i = 0; i < rows; ++i) std::copy_n(edge + i * width, columns, to + i * c_row);
    });
}

// Large products are made in blocks that stay in the second-level cache: rows of a, columns of b.
// Sums go on where the block before has left them, so blocks change no bit of a result.
constexpr int kRows = 72, kColumns = 528;
constexpr std::ptrdiff_t kNumbersInCache = 1 << 18, kNumbersOfRows = 1 << 15;
/// Of a sum, so that what a tile reads of b is met again by the next tile: of panels that are
/// copies, and of rows of b where they lie, far from each other, or beside blocks of a transposed a
/// that are copied, too. Of b so much is copied at a time beside those.
constexpr int kDepth = 2048, kDepthInPlace = 256, kDepthBesideCopies = 512;
/// Rows of a from which on it pays to copy b, and columns of b for a block of a transposed a.
constexpr int kRowsForCopy = 72, kColumnsForCopy = 128;

/// b[k,n] in panels, copied.
template <class T>
Packed<T> copy_panels(int k, int n, Strided<T> b, Arena& memory) {
    constexpr int w = Simd<T>::width;
    const int padded = (n + w - 1) / w * w;
    T* to = memory.make<T>({k, padded}).data();
    const Packed<T> packed{to, k, n, 0, k};
    for (int j = 0, width = 0; j < n; j += width) {
        width = panel_registers((padded - j) / w) * w;
        const int columns = std::min(width, n - j);
        if (b.row == 1 && columns == width) {
            transpose(width, k, b.data + j * b.column, b.column, to, width);
            to += static_cast<std::ptrdiff_t>(k) * width;
            continue;
        }
        for (int p = 0; p < k; ++p, to += width) {
            const T* from = b.data + p * b.row + j * b.column;
            if (b.column == 1) {
                std::copy_n(from, columns, to);
            } else {
                for (int q = 0; q < columns; ++q) to[q] = from[q * b.column];
            }
            std::fill(to + columns, to + width, T(0));  // never stored
        }
    }
    return packed;
}

/// A block of a transposed matrix a, whose columns lie far from each other, with its columns side
/// by side.
template <class T>
Strided<T> copy_columns(int rows, int k, Strided<T> a) {
    thread_local Arena own;
    own.reset();
    T* const to = own.make<T>({k, rows}).data();
    for (int p = 0; p < k; ++p)
        std::copy_n(a.data + p * a.column, rows, to + static_cast<std::ptrdiff_t>(p) * rows);
    return {to, 1, rows};
}

/// A small b is in the cache after the first rows of a.
template <class T>
bool is_small(const Packed<T>& b) {
    return std::ptrdiff_t{b.k} * b.n <= kNumbersInCache / 2;
}

/// c[m,n] (+)= a[m,k] times the rows p .. p + k - 1 of b.
template <class T>
void block_product(int m, int k, Strided<T> a, const Packed<T>& b, int p, T* c,
                   std::ptrdiff_t c_row, bool accumulate, const T* plus) {
    constexpr int w = Simd<T>::width, kRowsAhead = 8;
    const bool in_place = b.row > 0, small = is_small(b);
    for (int j = 0, vectors = 0; j < b.n; j += vectors * w) {
        vectors = panel_registers((b.n - j + w - 1) / w);
        const int columns = std::min(vectors * w, b.n - j);
        const auto product = vectors == 3   ? panel_product<T, 3>
                             : vectors == 2 ? panel_product<T, 2>
                                            : panel_product<T, 1>;
        const std::ptrdiff_t row = in_place ? b.row : vectors * w, ahead = small ? 0
                                                                           : in_place
                                                                               ? vectors * w
                                                                               : kRowsAhead * row;
        product(m, k, a, b.data + j * b.column + p * row, row, ahead, c + j, c_row, columns,
                accumulate, plus == nullptr ? nullptr : plus + j);
    }
}

/// One core's share of a product.
template <class T>
void share_of_product(int m, int n, int k, Strided<T> a, Strided<T> b, T* c, bool accumulate,
                      std::ptrdiff_t c_row, const T* plus, Arena& scratch) {
    Arena::Scope scope(scratch);
    if (m < kRowsForCopy) {
        gemm<T>(m, a, pack(k, n, b, scratch), c, accumulate, c_row, plus);
        return;
    }
    const int depth = a.row == 1 ? kDepthBesideCopies : kDepth;
    for (int j = 0; j < n; j += kColumns) {
        for (int p = 0; p < std::max(1, k); p += depth) {
            Arena::Scope block(scratch);
            const Packed<T> panels =
                copy_panels<T>(std::min(depth, k - p), std::min(kColumns, n - j),
                               {b.data + p * b.row + j * b.column, b.row, b.column}, scratch);
            gemm<T>(m, {a.data + p * a.column, a.row, a.column}, panels, c + j, accumulate || p > 0,
                    c_row, plus == nullptr || p > 0 ? nullptr : plus + j);
        }
    }
}

}  // namespace

template <class T>
Packed<T> pack(int k, int n, Strided<T> b, Arena& memory) {
    if (b.column == 1 && n % Simd<T>::width == 0) return {b.data, k, n, b.row, 1};
    return copy_panels(k, n, b, memory);
}

template <class T>
void gemm(int m, Strided<T> a, Packed<T> b, T* c, bool accumulate, std::ptrdiff_t c_row,
          const T* plus) {
    if (c_row == 0) c_row = b.n;
    const bool in_place = b.row > 0,
               copies = a.row == 1 && b.n >= kColumnsForCopy && b.k > kTileRows;
    const int depth = in_place || copies ? kDepthInPlace : kDepth;
    // Of a small b only the rows of a must stay in the cache.
    const int block = is_small(b) && !copies
                          ? static_cast<int>(std::clamp<std::ptrdiff_t>(
                                kNumbersOfRows / std::max(1, b.k), kRows, std::max(kRows, m)))
                          : kRows;
    // As long as c stays in the cache, all of it goes through the depth once.
    const int together = std::ptrdiff_t{m} * b.n <= kNumbersInCache ? m : block;
    const auto rows_product = [&](int i, int rows, int p, int deep) {
        Strided<T> from{a.data + i * a.row + p * a.column, a.row, a.column};
        if (copies) from = copy_columns(rows, deep, from);
        block_product(rows, deep, from, b, p, c + i * c_row, c_row, accumulate || p > 0,
                      p > 0 ? nullptr : plus);
    };
    if (block >= m && b.k <= depth) {  // small: everything at once
        rows_product(0, m, 0, b.k);
        return;
    }
    for_each_part(m, together, [&](int first, int count) {
        for (int p = 0; p < std::max(1, b.k); p += depth) {
            for_each_part(count, block, [&](int begin, int rows) {
                rows_product(first + begin, rows, p, std::min(depth, b.k - p));
            });
        }
    });
}

template <class T>
void gemm(int m, const Blocks<T>& a, Packed<T> b, T* c, bool accumulate, std::ptrdiff_t c_row) {
    thread_local Arena own;
    own.reset();
    T* const block = own.make<T>({kRows, kDepthInPlace}).data();
    for (int p = 0; p < b.k; p += kDepthInPlace) {
        const int depth = std::min(kDepthInPlace, b.k - p);
        for_each_part(m, kRows, [&](int i, int rows) {
            a(i, rows, p, depth, block);
            block_product<T>(rows, depth, by_rows<T>(block, depth), b, p, c + i * c_row, c_row,
                             accumulate || p > 0, nullptr);
        });
    }
}

template <class T>
void gemm(int m, int n, int k, Strided<T> a, Strided<T> b, T* c, bool accumulate, Arena& scratch,
          std::ptrdiff_t c_row, const T* plus) {
    if (c_row == 0) c_row = n;
    // Rows or columns are shared out to the cores, whatever there is more of.
    constexpr double kWorthSharing = 1 << 18;
    const bool shares = !in_parallel() && static_cast<double>(m) * n * k >= kWorthSharing;
    const int unit = m > n ? kTileRows : 2 * Simd<T>::width, size = std::max(m, n),
              units = (size + unit - 1) / unit,
              parts = shares ? std::max(1, std::min(thread_count(), units)) : 1;
    if (parts == 1) {
        share_of_product(m, n, k, a, b, c, accumulate, c_row, plus, scratch);
        return;
    }
    parallel_for(parts, parts, [&](int part) {
        thread_local Arena own;
        own.reset();
        const auto border = [&](int i) {
            return std::min(size, static_cast<int>(std::ptrdiff_t{units} * i / parts) * unit);
        };
        const int begin = border(part), count = border(part + 1) - begin;
        if (m > n) {
            share_of_product(count, n, k, {a.data + begin * a.row, a.row, a.column}, b,
                             c + begin * c_row, accumulate, c_row, plus, own);
        } else {
            share_of_product(m, count, k, a, {b.data + begin * b.column, b.row, b.column},
                             c + begin, accumulate, c_row, plus == nullptr ? nullptr : plus + begin,
                             own);
        }
    });
}

template Packed<float> pack(int, int, Strided<float>, Arena&);
template Packed<double> pack(int, int, Strided<double>, Arena&);
template void gemm(int, Strided<float>, Packed<float>, float*, bool, std::ptrdiff_t, const float*);
template void gemm(int, Strided<double>, Packed<double>, double*, bool, std::ptrdiff_t,
                   const double*);
template void gemm(int, const Blocks<float>&, Packed<float>, float*, bool, std::ptrdiff_t);
template void gemm(int, const Blocks<double>&, Packed<double>, double*, bool, std::ptrdiff_t);
template void gemm(int, int, int, Strided<float>, Strided<float>, float*, bool, Arena&,
                   std::ptrdiff_t, const float*);
template void gemm(int, int, int, Strided<double>, Strided<double>, double*, bool, Arena&,
                   std::ptrdiff_t, const double*);

}  // namespace diffusion
