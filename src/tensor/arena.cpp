#include "tensor/arena.hpp"

#include <cstdint>
#include <new>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace diffusion {

void* allocate_on_heap(std::size_t bytes) {
    void* memory = ::operator new (bytes, std::align_val_t{kAlignment});
#ifdef MADV_HUGEPAGE
    // With pages of 4 KB almost every row of a large picture lies in another page, and a core
    // remembers where two thousand of them are. So Linux is asked for pages of 2 MB, wherever a
    // whole one fits in. It is a wish: where it fails, everything works as before.
    constexpr std::uintptr_t kLargePage = std::uintptr_t{2} << 20;
    const auto address = reinterpret_cast<std::uintptr_t>(memory);
    const std::uintptr_t begin = (address + kLargePage - 1) / kLargePage * kLargePage;
    const std::uintptr_t end = (address + bytes) / kLargePage * kLargePage;
    if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
    return memory;
}

void free_on_heap(void* memory) {
    ::operator delete (memory, std::align_val_t{kAlignment});
}

}  // namespace diffusion
