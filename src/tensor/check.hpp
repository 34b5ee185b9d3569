#pragma once
// Errors. Everything that can go wrong with input ends in fail(): one line, thrown as Error,
// printed by main.
#include <sstream>
#include <stdexcept>
#include <string>

namespace diffusion {

/// A failure with a message for the person at the keyboard: what, where, and what was expected.
struct Error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// A formula that serves a GPU, too, may hold an exercise that is not solved yet. There nothing can
// be thrown: the kernel stops, and its launch is reported as failed.
#ifdef __CUDACC__
#define DIFFUSION_HOST_AND_DEVICE __host__ __device__
#else
#define DIFFUSION_HOST_AND_DEVICE
#endif

template <class... Parts>
[[noreturn]] DIFFUSION_HOST_AND_DEVICE void fail(const Parts&... parts) {
#ifdef __CUDA_ARCH__
    __trap();
#else
    std::ostringstream message;
    (message << ... << parts);
    throw Error(message.str());
#endif
}

template <class... Parts>
void require(bool condition, const Parts&... parts) {
    if (!condition) fail(parts...);
}

}  // namespace diffusion
