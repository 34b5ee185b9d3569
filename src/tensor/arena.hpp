#pragma once
// Arena: memory for one training step. Allocation is a pointer increment; reset() frees everything
// at once.
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <vector>

#include "tensor/tensor.hpp"

namespace diffusion {

inline constexpr std::size_t kAlignment =
    64;  ///< bytes; one cache line, and the widest SIMD register in use

/// Where blocks of memory come from, kAlignment bytes aligned: the heap, or a GPU.
struct MemorySource {
    void* (*allocate)(std::size_t bytes);
    void (*free)(void* memory);
    std::size_t growth = 2;  ///< how many times as large as the one before a block is, up to 1 GB
};
/// Large blocks lie in pages of 2 MB where Linux has them. Throws std::bad_alloc.
void* allocate_on_heap(std::size_t bytes);
void free_on_heap(void* memory);
/// Memory of the heap that was never touched costs nothing, so blocks grow fast.
inline constexpr MemorySource kHeap = {allocate_on_heap, free_on_heap, 8};

/// Bump allocator over a list of blocks. When a step did not fit in the first block, reset()
/// replaces the list by one block of as much as was in use at a time, so that from the second step
/// of a given shape on no heap allocation happens.
class Arena {
public:
    explicit Arena(MemorySource source = kHeap) : source_(source) {}
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;
    ~Arena() { free_blocks(); }

    MemorySource source() const { return source_; }

    void* allocate(std::size_t bytes) {
        bytes = (bytes + kAlignment - 1) / kAlignment * kAlignment;
        if (blocks_.empty() || used_ + bytes > blocks_.back().size) grow(bytes);
        void* p = blocks_.back().memory + used_;
        used_ += bytes;
        most_ = std::max(most_, before_ + used_);
        return p;
    }

    /// Uninitialised numbers.
    template <class T>
    Tensor<T> make(Shape shape) {
        return {static_cast<T*>(allocate(sizeof(T) * static_cast<std::size_t>(shape.numel()))),
                shape};
    }
    template <class T>
    Tensor<T> zeros(Shape shape) {
        Tensor<T> x = make<T>(shape);
        std::memset(x.data(), 0, sizeof(T) * static_cast<std::size_t>(x.numel()));
        return x;
    }

    void reset() {
        used_ = before_ = 0;
        if (blocks_.size() > 1) {
            free_blocks();
            add_block(most_);
        }
    }

    std::size_t capacity() const {
        std::size_t total = 0;
        for (const Block& block : blocks_) total += block.size;
        return total;
    }

    /// Frees what was allocated after the scope began, when it ends: scratch memory inside a
    /// kernel.
    class Scope {
    public:
        explicit Scope(Arena& arena)
            : arena_(arena), blocks_(arena.blocks_.size()), used_(arena.used_) {}
        ~Scope() { arena_.back_to(blocks_, used_); }
        Scope(const Scope&) = delete;
        Scope& operator=(const Scope&) = delete;

    private:
        Arena& arena_;
        std::size_t blocks_, used_;
    };

private:
    struct Block {
        std::byte* memory;
        std::size_t size;
    };

    /// Back to where `used` bytes of block number `blocks` were in use. If the arena grew
    /// meanwhile, older blocks are given up where they are empty; or else they stay, and what came
    /// after the mark too, until reset() joins them.
    void back_to(std::size_t blocks, std::size_t used) {
        if (blocks_.size() == blocks) {
            used_ = used;
        } else if (blocks == 0 || (blocks == 1 && used == 0)) {
            while (blocks_.size() > 1) {
                source_.free(blocks_.front().memory);
                blocks_.erase(blocks_.begin());
            }
            used_ = before_ = 0;
        }
    }
    void grow(std::size_t bytes) {
        constexpr std::size_t kFirst = std::size_t{1} << 20, kMost = std::size_t{1} << 30;
        const std::size_t usual = blocks_.empty() ? kFirst : source_.growth * blocks_.back().size;
        add_block(std::max(bytes, std::min(usual, kMost)));
        before_ += used_;
        used_ = 0;
    }
    void add_block(std::size_t bytes) {
        blocks_.reserve(blocks_.size() + 1);  // so that nothing fails once the memory is there
        blocks_.push_back({static_cast<std::byte*>(source_.allocate(bytes)), bytes});
    }
    void free_blocks() {
        for (const Block& block : blocks_) source_.free(block.memory);
        blocks_.clear();
    }

    MemorySource source_;
    std::vector<Block> blocks_;
    std::size_t used_ = 0;    ///< of the last block
    std::size_t before_ = 0;  ///< of the others
    std::size_t most_ = 0;    ///< of all, ever
};

}  // namespace diffusion
