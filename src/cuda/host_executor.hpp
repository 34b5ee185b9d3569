#pragma once
// CUDA's words for a compiler that does not know them. A kernel is then a function; run() calls it
// once for every thread of every block: the blocks one after the other, the threads of a block side
// by side, until they meet in __syncthreads(). So a kernel computes here what it computes on a GPU.
// Under a sanitizer the threads of a block are threads of this process and meet in a std::barrier:
// then a barrier that is missing is seen.
//
// Where CUDA promises nothing, this machine does what is least convenient, so that code which
// counts on it fails here:
// - launches and copies wait in a queue until the host waits for them;
// - memory of the device begins as NaN, ends at a page that cannot be touched, and cannot be
// touched
//   at all while code of the host runs; shared memory begins as NaN in every block;
// - blocks, and the threads of a block, come in reversed or in random order, the same in every run;
// - an asynchronous copy is made at its start in some blocks, and only at its wait in others;
// - a launch beyond a GPU's limits fails, and so does a shuffle to which not the whole warp comes;
// - tensor cores cut off what lies below 24 bits of the largest number in a sum.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <numbers>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
// One block runs at a time, so what its threads share may be static.
#define __shared__ static

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
    constexpr dim3() = default;
    constexpr dim3(unsigned x_, unsigned y_ = 1, unsigned z_ = 1)
        : x(x_), y(y_), z(z_) {}  // NOLINT
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
inline float2 make_float2(float x, float y) {
    return {x, y};
}
inline float4 make_float4(float x, float y, float z, float w) {
    return {x, y, z, w};
}

// Where the calling thread is. Only host_executor::run writes them.
inline thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;
inline constexpr int warpSize = 32;

namespace diffusion::host_executor {

/// Memory of the device.
void* allocate(std::size_t bytes);
void free(void* memory);
/// Whether the host is kept from that memory: where the system has POSIX's mmap and mprotect.
bool protects_memory();

/// Puts a launch or a copy into the queue.
void enqueue(std::function<void()> action);
/// Makes what is in the queue, in order. Fails if a kernel did, then or before.
void synchronize();

/// Fails where a GPU could not start such a grid.
void check_launch(dim3 grid, dim3 block, std::size_t argument_bytes);
/// Calls `kernel` for every thread of the grid and returns when all have ended.
void run(dim3 grid, dim3 block, const std::function<void()>& kernel);
/// The same for a kernel whose threads never meet: a few threads make all of them, much faster.
void run_apart(dim3 grid, dim3 block, const std::function<void()>& kernel);

/// Whether a block's threads take turns on one thread of the machine (host_executor.cpp).
bool takes_turns();

/// Fills shared memory with NaN, if the calling thread is the first of its block that comes by.
void begin_shared(void* memory, std::size_t bytes);

/// Waits for the other threads of the block, or of the warp.
void meet_block();
void meet_warp();
/// A line of the source, where all lanes of a warp have to be at the same time.
struct Site {
    const char* file;
    int line;
};
/// Lays down 8 bytes for the others of the warp, and takes up those of lane `from`.
std::uint64_t exchange(Site site, unsigned mask, std::uint64_t bits, int from);
int lane();

/// Sixteen bytes from the device's memory to shared memory, at the wait; zeros for nullptr.
void copy_async(float* to, const float* from, const float* somewhere);
void end_of_copies();
void wait_for_copies(int pending);

/// What a warp's 32 threads get of a tensor core: PTX's mma.m16n8k8 with TF32 and mma.m16n8k16 with
/// BF16, of which cuda/tensor_cores.hpp tells who holds what.
void multiply_tf32(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]);
void multiply_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]);

template <class T>
T shuffle(Site site, unsigned mask, T value, int from) {
    static_assert(sizeof(T) <= sizeof(std::uint64_t));
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    bits = exchange(site, mask, bits, from);
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

}  // namespace diffusion::host_executor

inline void __syncthreads() {
    diffusion::host_executor::meet_block();
}
inline void __syncwarp() {
    diffusion::host_executor::meet_warp();
}
// Shuffles of whole warps: the mask must name all lanes.
template <class T>
T __shfl_sync(unsigned mask, T value, int from, const char* file = __builtin_FILE(),
              int line = __builtin_LINE()) {
    return diffusion::host_executor::shuffle({file, line}, mask, value, from);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, const char* file = __builtin_FILE(),
                  int line = __builtin_LINE()) {
    return diffusion::host_executor::shuffle({file, line}, mask, value,
                                             diffusion::host_executor::lane() ^ bits);
}
/// *to = f(*to), at once for all who look; returns what was there.
template <class T, class F>
T atomic_update(T* to, F f) {
    T old, next;
    __atomic_load(to, &old, __ATOMIC_RELAXED);
    do {
        next = f(old);
    } while (!__atomic_compare_exchange(to, &old, &next, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return old;
}
template <class T>
T atomicAdd(T* to, T value) {
    return atomic_update(to, [value](T old) { return old + value; });
}
template <class T>
T atomicMin(T* to, T value) {
    return atomic_update(to, [value](T old) { return value < old ? value : old; });
}

/// What others may be changing by atomics just now.
template <class T>
T __ldcg(const T* from) {
    return __atomic_load_n(from, __ATOMIC_RELAXED);
}

/// sin(pi x), cos(pi x)
inline void sincospif(float x, float* sine, float* cosine) {
    const double angle = std::numbers::pi * static_cast<double>(x);
    *sine = static_cast<float>(std::sin(angle));
    *cosine = static_cast<float>(std::cos(angle));
}
