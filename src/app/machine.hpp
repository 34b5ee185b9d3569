#pragma once
// What this program may use of the machine: threads and SIMD registers.
#include <string>

namespace diffusion {

/// The most threads that are accepted. Far more, and they cannot be started.
inline constexpr int kMostThreads = 1024;

/// Call at the start of main: threads that wait for others give their core away, so that programs
/// which run beside each other share the cores. OpenMP reads this from its environment variables
/// while the program is loaded; so, where none of them is set, they are, and the program is started
/// once more in its own place. `argv` is main's.
void share_cores(const char* const* argv);

/// Sets the number of OpenMP threads and returns it. 0 means all cores, or OMP_NUM_THREADS where
/// that is set. Always 1 in a build without OpenMP. Fails above kMostThreads.
int pick_threads(int requested);

/// The instruction set that this program was compiled for: "AVX-512, 16 floats".
std::string simd_description();

/// Fails, with what to do about it, on a processor that lacks those instructions.
void require_processor();

}  // namespace diffusion
