#pragma once
// OpenMP's two questions, with answers where there is no OpenMP, and a parallel loop that lets
// errors out.
#include <algorithm>
#include <cstddef>
#include <exception>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace diffusion {

/// How many threads the next parallel region will have.
inline int thread_count() {
#ifdef _OPENMP
    return omp_get_max_threads();
#else
    return 1;
#endif
}

/// Which of them this is: 0 .. thread_count() - 1.
inline std::size_t thread_number() {
#ifdef _OPENMP
    return static_cast<std::size_t>(omp_get_thread_num());
#else
    return 0;
#endif
}

/// Whether other threads run beside this one, in a parallel loop.
inline bool in_parallel() {
#ifdef _OPENMP
    return omp_in_parallel() != 0;
#else
    return false;
#endif
}

/// f(0) .. f(count - 1), dealt out to `threads` threads like cards: the same thread gets the same
/// numbers each time, so that memory which it keeps for them fits from the second time on. If calls
/// throw, the exception of one of them is thrown here: one that left a parallel region by itself
/// would end the program.
template <class F>
void parallel_for(int count, [[maybe_unused]] int threads, F f) {
    if (count == 1) {  // leaves the other threads to loops inside f
        f(0);
        return;
    }
    std::exception_ptr error;
#pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (int i = 0; i < count; ++i) {
        try {
            f(i);
        } catch (...) {
#pragma omp critical(parallel_for_error)
            error = std::current_exception();
        }
    }
    if (error) std::rethrow_exception(error);
}

/// Elements that a thread takes at a time in a loop over one large array: a few of them fit in the
/// first-level cache.
inline constexpr std::ptrdiff_t kBlock = 1024;

/// f(begin, end) for 0 .. kBlock, kBlock .. 2 kBlock, .. n, on all threads. The blocks are the same
/// for any number of threads.
template <class F>
void for_each_block(std::ptrdiff_t n, F f) {
    const std::ptrdiff_t blocks = (n + kBlock - 1) / kBlock;
    const int parts = static_cast<int>(std::clamp<std::ptrdiff_t>(blocks, 1, thread_count()));
    parallel_for(parts, parts, [&](int p) {
        for (std::ptrdiff_t i = blocks * p / parts; i < blocks * (p + 1) / parts; ++i)
            f(i * kBlock, std::min((i + 1) * kBlock, n));
    });
}

/// f(begin, end) for parts of 0 .. n - 1 that have at least `least` elements each, on all threads;
/// or f(0, n) where a parallel loop is running already. A kernel that loops in parts is parallel
/// inside when a single picture is drawn, and not when a core has pictures of its own. What f
/// computes for an element must not depend on the parts.
template <class F>
void in_parts(int n, int least, F f) {
    const int parts = in_parallel() ? 1 : std::max(1, std::min(thread_count(), n / least));
    parallel_for(parts, parts, [&](int p) {
        f(static_cast<int>(static_cast<std::ptrdiff_t>(n) * p / parts),
          static_cast<int>(static_cast<std::ptrdiff_t>(n) * (p + 1) / parts));
    });
}

}  // namespace diffusion
