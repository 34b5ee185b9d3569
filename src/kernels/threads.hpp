#pragma once
// OpenMP's two questions, with answers where there is no OpenMP.
#include <cstddef>

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

}  // namespace diffusion
