#pragma once
// How often the test program has asked for memory from the heap, on any thread.
#include <cstdint>

namespace diffusion {

/// Calls of operator new so far. Always 0 in a build with sanitizers, which need operator new for
/// themselves.
std::int64_t heap_allocations();

}  // namespace diffusion
