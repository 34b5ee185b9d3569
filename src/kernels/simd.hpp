#pragma once
// SIMD in portable C++. The inner loop of the matrix product uses the vector types that g++ and
// clang++ share, because there a silent fall-back to scalar code would cost a factor of ten;
// everything else is loops with `#pragma omp simd`.
#include <cstddef>

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

}  // namespace diffusion
