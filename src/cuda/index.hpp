#pragma once
// A thread for each number, and how a thread finds out which number is its own.
#include <bit>
#include <cstdint>

#include "cuda/device.hpp"

namespace diffusion::cuda {

/// The upper 32 bits of a product.
__host__ __device__ inline std::uint32_t upper_half(std::uint32_t a, std::uint32_t b) {
#ifdef __CUDA_ARCH__
    return __umulhi(a, b);
#else
    return static_cast<std::uint32_t>(std::uint64_t{a} * b >> 32);
#endif
}

/// A whole number >= 1 that indices are divided by. A GPU has no instruction for that: `/` becomes
/// some twenty others, most of the arithmetic in a kernel that waits for memory. Here n / d is
/// floor(n m / 2^(31 + s)) with 2^s >= d and m = ceil(2^(31 + s) / d). That is exact for
/// 0 <= n < 2^31: m d = 2^(31 + s) + e with e < d <= 2^s, so it exceeds n / d by
/// n e / (d 2^(31 + s)) < 1 / d, too little to reach the next whole number. (Granlund, Montgomery
/// 1994, Division by invariant integers using multiplication.)
class Divisor {
public:
    constexpr Divisor(int d)  // NOLINT(google-explicit-constructor): it stands for the number
        : value_(d), shift_(static_cast<int>(std::bit_width(static_cast<unsigned>(d) - 1))) {
        const auto divisor = static_cast<std::uint64_t>(d);
        factor_ = static_cast<std::uint32_t>(((std::uint64_t{1} << (31 + shift_)) + divisor - 1) /
                                             divisor);
    }
    constexpr operator int() const { return value_; }  // NOLINT(google-explicit-constructor)

    __host__ __device__ friend int operator/(int n, const Divisor& d) {
        return static_cast<int>(upper_half(2u * static_cast<unsigned>(n), d.factor_) >> d.shift_);
    }
    __host__ __device__ friend int operator%(int n, const Divisor& d) {
        return n - n / d * d.value_;
    }

private:
    int value_, shift_;
    std::uint32_t factor_ = 0;
};

/// f(i) for all i < n, as many at a time as there are threads.
template <class F>
__global__ void each(int n, F f) {
    const unsigned step = gridDim.x * blockDim.x;
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < static_cast<unsigned>(n);
         i += step)
        f(static_cast<int>(i));
}
/// n as an int, for indices are ints. Fails if it is 2^31 or more.
inline int index_count(std::ptrdiff_t n) {
    require(n < std::ptrdiff_t{1} << 31, "cuda: ", n,
            " numbers at a time, expected less than 2^31: take a smaller batch");
    return static_cast<int>(n);
}

template <class F>
void for_each_number(std::ptrdiff_t n, F f) {
    constexpr int kThreads = 256;
    constexpr unsigned kMostBlocks = 1 << 16;
    launch_apart(each<F>, std::min(blocks_for(n, kThreads), kMostBlocks), kThreads, index_count(n),
                 f);
}

}  // namespace diffusion::cuda
