#pragma once
// SIMD in portable C++. The hot loops (matrix product, Winograd, group norm, attention) use the
// vector types that g++ and clang++ share, because there a silent fall-back to scalar code would
// cost a factor of ten; simple loops over a row or an array carry `#pragma omp simd`.
#include <cstddef>
#include <cstring>

namespace diffusion {

/// Width of the machine's SIMD registers for which this file is compiled, in bytes.
#if defined(__AVX512F__)
inline constexpr int kSimdBytes = 64;
#elif defined(__AVX__)
inline constexpr int kSimdBytes = 32;
#else
inline constexpr int kSimdBytes = 16;
#endif

/// Rows of the register tile: with two vectors per row, 2 * kTileRows accumulators and a few more
/// fit in the registers (32 with AVX-512 and NEON, 16 otherwise).
#if defined(__AVX512F__) || defined(__ARM_NEON)
inline constexpr int kTileRows = 12;
#else
inline constexpr int kTileRows = 6;
#endif

template <class T>
struct Simd {
    static constexpr int width = kSimdBytes / static_cast<int>(sizeof(T));
    typedef T Vector __attribute__((vector_size(kSimdBytes)));
    /// The same register, loaded from any address.
    typedef T Unaligned __attribute__((vector_size(kSimdBytes), aligned(alignof(T)), may_alias));

    static Vector load(const T* p) { return *reinterpret_cast<const Unaligned*>(p); }
    static void store(T* p, Vector v) { *reinterpret_cast<Unaligned*>(p) = v; }
    static Vector fill(T x) { return x - Vector{}; }
};

/// Calls visit(c, load, store) for every SIMD register of `channels` numbers, c being its first
/// one; load and store move one register, or what there is of it at the end.
template <class T, class Visit>
void for_each_register(int channels, Visit visit) {
    using S = Simd<T>;
    using V = typename S::Vector;
    int c = 0;
    for (; c + S::width <= channels; c += S::width) {
        visit(
            c, [](const T* p) { return S::load(p); }, [](T* p, V v) { S::store(p, v); });
    }
    if (c < channels) {
        const std::size_t bytes = sizeof(T) * static_cast<std::size_t>(channels - c);
        visit(
            c,
            [bytes](const T* p) {
                V v{};
                std::memcpy(&v, p, bytes);
                return v;
            },
            [bytes](T* p, V v) { std::memcpy(p, &v, bytes); });
    }
}

/// The sum of term(0) .. term(count - 1), in four parts side by side, so that an addition need not
/// wait for the one before it.
template <class V, class Term>
V sum_of_terms(int count, Term term) {
    V sum[4] = {};
    int i = 0;
    for (; i + 4 <= count; i += 4) {
        for (int k = 0; k < 4; ++k) sum[k] += term(i + k);
    }
    for (; i < count; ++i) sum[0] += term(i);
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/// The sum of the elements of a register: its halves are added until one number is left.
template <class T, class V>
T sum_of_elements(V x) {
    if constexpr (sizeof(V) == sizeof(T)) {
        return x[0];
    } else {
        typedef T Half __attribute__((vector_size(sizeof(V) / 2)));
        Half half[2];
        std::memcpy(half, &x, sizeof x);
        return sum_of_elements<T, Half>(half[0] + half[1]);
    }
}

/// to[j,i] = from[i,j] for from [rows, columns]; rows of from and of to lie from_row and to_row
/// apart. By blocks of 4 x 4, in registers.
template <class T>
void transpose(int rows, int columns, const T* from, std::ptrdiff_t from_row, T* to,
               std::ptrdiff_t to_row) {
    typedef T Quad __attribute__((vector_size(4 * sizeof(T))));
    const auto one_by_one = [&](int i, int j) { to[j * to_row + i] = from[i * from_row + j]; };
    int i = 0;
    for (; i + 4 <= rows; i += 4) {
        int j = 0;
        for (; j + 4 <= columns; j += 4) {
            const auto row = [&](int k) {
                Quad q;
                std::memcpy(&q, from + (i + k) * from_row + j, sizeof q);  // rows may lie anywhere
                return q;
            };
            const auto out = [&](int k, Quad q) {
                std::memcpy(to + (j + k) * to_row + i, &q, sizeof q);
            };
            const Quad a = row(0), b = row(1), c = row(2), d = row(3);
            const Quad ab = __builtin_shufflevector(a, b, 0, 4, 1, 5),
                       cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
            out(0, __builtin_shufflevector(ab, cd, 0, 1, 4, 5));
            out(1, __builtin_shufflevector(ab, cd, 2, 3, 6, 7));
            const Quad ab2 = __builtin_shufflevector(a, b, 2, 6, 3, 7),
                       cd2 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
            out(2, __builtin_shufflevector(ab2, cd2, 0, 1, 4, 5));
            out(3, __builtin_shufflevector(ab2, cd2, 2, 3, 6, 7));
        }
        for (; j < columns; ++j) {
            for (int k = 0; k < 4; ++k) one_by_one(i + k, j);
        }
    }
    for (; i < rows; ++i) {
        for (int j = 0; j < columns; ++j) one_by_one(i, j);
    }
}

/// sum[c] += x[p][c] over all rows p of x [rows, channels].
template <class T>
void add_rows(const T* x, int rows, int channels, T* sum) {
    for_each_register<T>(channels, [=](int c, auto load, auto store) {
        store(sum + c, load(sum + c) + sum_of_terms<typename Simd<T>::Vector>(rows, [=](int p) {
                           return load(x + static_cast<std::ptrdiff_t>(p) * channels + c);
                       }));
    });
}

}  // namespace diffusion
