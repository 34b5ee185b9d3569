#pragma once
// What this program may use of the machine: threads and SIMD registers.
#include <string>

namespace diffusion {

/// The most threads that are accepted. Far more, and they cannot be started.
inline constexpr int kMostThreads = 1024;

/// Sets the number of OpenMP threads and returns it. 0 means all cores, or OMP_NUM_THREADS where
/// that is set. Always 1 in a build without OpenMP. Fails above kMostThreads.
int pick_threads(int requested);

/// The instruction set that this program was compiled for: "AVX-512, 16 floats".
std::string simd_description();

/// Fails, with what to do about it, on a processor that lacks those instructions.
void require_processor();

}  // namespace diffusion
