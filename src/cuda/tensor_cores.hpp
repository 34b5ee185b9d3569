#pragma once
// Instructions that CUDA's C++ has no words for: copies into shared memory that go on while the
// threads do other things, and products on tensor cores (both from sm_80 on). The host executor
// imitates them.
#include <cstdint>

#include "cuda/device.hpp"

namespace diffusion::cuda {

/// How products are made. The tensor cores round what they multiply: TF32 keeps 10 bits behind the
/// point, BF16 7. Their sums are float.
enum class Precision { fp32, tf32, bf16 };
inline const char* precision_name(Precision precision) {
    return precision == Precision::fp32 ? "float" : precision == Precision::tf32 ? "TF32" : "BF16";
}

/// Sixteen bytes from global to shared memory, on their way until wait_for_copies; zeros for
/// nullptr. Even then the instruction wants an address in global memory: `somewhere`, which is not
/// read.
__device__ __forceinline__ void copy_async(float* to, const float* from,
                                           [[maybe_unused]] const float* somewhere) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    const auto place = static_cast<std::uint32_t>(__cvta_generic_to_shared(to));
    const int bytes = from != nullptr ? 16 : 0;  // the rest is filled with zeros
    asm volatile("cp.async.ca.shared.global [%0], [%1], 16, %2;\n" ::"r"(place),
                 "l"(from != nullptr ? from : somewhere), "r"(bytes)
                 : "memory");
#elif defined(DIFFUSION_HOST_EXECUTOR)
    host_executor::copy_async(to, from, somewhere);
#else
    *reinterpret_cast<float4*>(to) =
        from != nullptr ? *reinterpret_cast<const float4*>(from) : make_float4(0, 0, 0, 0);
#endif
}
__device__ __forceinline__ void end_of_copies() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;\n" ::: "memory");
#elif defined(DIFFUSION_HOST_EXECUTOR)
    host_executor::end_of_copies();
#endif
}
/// Until all but the last `pending` groups have arrived.
template <int pending>
__device__ __forceinline__ void wait_for_copies() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;\n" ::"n"(pending) : "memory");
#elif defined(DIFFUSION_HOST_EXECUTOR)
    host_executor::wait_for_copies(pending);
#endif
}

/// The nearest number with 10 bits behind the point (ties away from zero), as bits.
__device__ __forceinline__ std::uint32_t to_tf32(float x) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    std::uint32_t bits;
    asm("cvt.rna.tf32.f32 %0, %1;\n" : "=r"(bits) : "f"(x));
    return bits;
#else
    std::uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (bits + 0x1000u) & 0xffffe000u;
#endif
}
/// Two numbers with 7 bits behind the point (ties to even): `low` in the low half.
__device__ __forceinline__ std::uint32_t to_bf16(float low, float high) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    std::uint32_t bits;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;\n" : "=r"(bits) : "f"(high), "f"(low));
    return bits;
#else
    const auto round = [](float x) {
        std::uint32_t bits;
        memcpy(&bits, &x, sizeof bits);
        return (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    };
    return round(low) | round(high) << 16;
#endif
}

/// d += a b on tensor cores, together with the other threads of the warp. Of the 16 x 8 results
/// lane l holds d[0], d[1] at row l / 4, columns 2 (l % 4) and the next, and d[2], d[3] eight rows
/// below. TF32: a[i] is at row l / 4 + 8 (i % 2), k = l % 4 + 4 (i / 2); b[i] at k = l % 4 + 4 i,
/// column l / 4. (The layout is that of PTX's mma.m16n8k8.)
__device__ __forceinline__ void multiply_tf32(float (&d)[4], const std::uint32_t (&a)[4],
                                              const std::uint32_t (&b)[2]) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};\n"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#elif !defined(__CUDACC__)
    host_executor::multiply_tf32(d, a, b);
#endif
}
/// BF16: every register holds two neighbours in k; a[i] is at row l / 4 + 8 (i % 2), k = 2 (l % 4)
/// + 8 (i / 2); b[i] at k = 2 (l % 4) + 8 i, column l / 4. (mma.m16n8k16.)
__device__ __forceinline__ void multiply_bf16(float (&d)[4], const std::uint32_t (&a)[4],
                                              const std::uint32_t (&b)[2]) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
        "{%8,%9}, {%0,%1,%2,%3};\n"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#elif !defined(__CUDACC__)
    host_executor::multiply_bf16(d, a, b);
#endif
}

}  // namespace diffusion::cuda
