#include "app/machine.hpp"

#ifdef _OPENMP
#include <omp.h>
#endif
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>

#include "tensor/check.hpp"

namespace diffusion {

void share_cores([[maybe_unused]] const char* const* argv) {
#if defined(_OPENMP) && defined(__linux__)
    for (const char* name : {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"}) {
        if (getenv(name) != nullptr) return;  // as the user wants it, or set here a moment ago
    }
    std::error_code error;
    const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
    if (error) return;
    setenv("OMP_WAIT_POLICY", "passive", 1);
    // g++'s library: look so many times whether the others are ready, some microseconds, and sleep
    // then. To sleep at once costs a drawing of few pictures, which has many short loops, its
    // speed.
    setenv("GOMP_SPINCOUNT", "2000", 1);
    execv(program.c_str(), const_cast<char* const*>(argv));  // where it fails, we go on as we are
#endif
}

int pick_threads([[maybe_unused]] int requested) {
    require(requested >= 0, "threads: expected 0 (all cores) or more, got ", requested);
#ifdef _OPENMP
    require(requested <= kMostThreads, "threads: expected at most ", kMostThreads, ", got ",
            requested);
    if (requested > 0) omp_set_num_threads(requested);
    const int threads = omp_get_max_threads();
    require(threads <= kMostThreads, "OMP_NUM_THREADS: expected at most ", kMostThreads,
            " threads, got ", threads);
    return threads;
#else
    return 1;
#endif
}

std::string simd_description() {
#if defined(__AVX512F__)
    return "AVX-512, 16 floats";
#elif defined(__AVX2__)
    return "AVX2, 8 floats";
#elif defined(__AVX__)
    return "AVX, 8 floats";
#elif defined(__SSE2__)
    return "SSE2, 4 floats";
#elif defined(__ARM_NEON)
    return "NEON, 4 floats";
#else
    return "none known";
#endif
}

void require_processor() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    bool able = true;
#ifdef __AVX512F__
    able = able && __builtin_cpu_supports("avx512f");
#endif
#ifdef __AVX2__
    able = able && __builtin_cpu_supports("avx2");
#endif
#ifdef __FMA__
    able = able && __builtin_cpu_supports("fma");
#endif
    require(able, "compiled for ", simd_description(),
            ", which this processor lacks; build again on this machine (make clean build)");
#endif
}

}  // namespace diffusion
