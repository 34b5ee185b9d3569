#include "support/heap_count.hpp"

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace {

std::atomic<std::int64_t> count{0};

[[maybe_unused]] void* counted(std::size_t bytes, std::size_t alignment) {
    ++count;
    bytes = (bytes + alignment - 1) / alignment * alignment;
    void* p = std::aligned_alloc(alignment, bytes > 0 ? bytes : alignment);
    if (p == nullptr) throw std::bad_alloc();
    return p;
}

}  // namespace

namespace diffusion {

std::int64_t heap_allocations() {
    return count;
}

}  // namespace diffusion

#ifndef DIFFUSION_SANITIZED
// The forms that the standard library's other ones call.
void* operator new(std::size_t bytes) {
    return counted(bytes, alignof(std::max_align_t));
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
    return counted(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* p) noexcept {
    std::free(p);
}
void operator delete(void* p, std::size_t) noexcept {
    std::free(p);
}
void operator delete(void* p, std::align_val_t) noexcept {
    std::free(p);
}
void operator delete(void* p, std::size_t, std::align_val_t) noexcept {
    std::free(p);
}
#endif
