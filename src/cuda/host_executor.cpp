#include "cuda/host_executor.hpp"

#include <algorithm>
#include <array>
#include <barrier>
#include <bit>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "tensor/check.hpp"

// A block's threads are threads of the machine where a sanitizer watches them. Otherwise they take
// turns on one: a barrier then costs a switch of stacks and not a wake-up of the operating system,
// a hundred times as much.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__) || !defined(__GLIBC__)
#define DIFFUSION_BLOCK_OF_THREADS
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define DIFFUSION_BLOCK_OF_THREADS
#endif
#endif

#ifndef DIFFUSION_BLOCK_OF_THREADS
#include <ucontext.h>
#endif

namespace diffusion::host_executor {
namespace {

dim3 at(unsigned i, dim3 size) {
    return {i % size.x, i / size.x % size.y, i / size.x / size.y};
}

/// f(0) .. f(count - 1), each on a thread of its own. (std::jthread is not in every library yet.)
template <class F>
void side_by_side(int count, F f) {
    std::vector<std::thread> others;
    for (int i = 1; i < count; ++i) others.emplace_back(f, i);
    f(0);
    for (std::thread& other : others) other.join();
}

#ifdef DIFFUSION_BLOCK_OF_THREADS
using Barrier = std::barrier<>;
void wait_at(Barrier& barrier) {
    barrier.arrive_and_wait();
}
#else
/// Where threads that take turns meet: who comes early lets the others go on.
struct Barrier {
    explicit Barrier(int size_) : size(size_) {}
    int size, arrived = 0, generation = 0;
};
void wait_at(Barrier& barrier);
#endif

struct Warp {
    explicit Warp(int lanes) : meeting(lanes) {}
    Barrier meeting;
    std::array<std::array<std::uint64_t, 32>, 2>
        slots{};  // used in turn: one meeting is then enough
    std::array<std::array<std::uint32_t, 6>, 32> fragments{};  // a and b of every lane
};

/// What the threads of a block share.
struct Block {
    explicit Block(int threads) : meeting(threads) {
        for (int first = 0; first < threads; first += warpSize)
            warps.push_back(std::make_unique<Warp>(std::min(warpSize, threads - first)));
    }
    Barrier meeting;
    std::vector<std::unique_ptr<Warp>> warps;
};

struct Place {
    Block* block = nullptr;
    int thread = 0;
    bool has_met = false;  // the others of its block, since the block began
    unsigned exchanges = 0;
};
thread_local Place place;

/// The life of one of a block's threads: the same thread of block 0, 1, ..
void walk(Block& block, int thread, dim3 grid, dim3 size, const std::function<void()>& kernel) {
    place = {&block, thread};
    gridDim = grid;
    blockDim = size;
    threadIdx = at(static_cast<unsigned>(thread), size);
    for (unsigned b = 0; b < grid.x * grid.y * grid.z; ++b) {
        blockIdx = at(b, grid);
        place.has_met = false;
        kernel();
        // The next block takes over the shared memory. Threads that never met share none.
        if (place.has_met) wait_at(block.meeting);
    }
}

#ifndef DIFFUSION_BLOCK_OF_THREADS
/// Threads that take turns: each has a stack, and goes on until it waits or ends.
class Turns {
public:
    Turns(int threads, std::function<void(int)> life) : life_(std::move(life)) {
        running = this;
        others_.resize(static_cast<std::size_t>(threads));
        while (stacks.size() < others_.size())
            stacks.push_back(std::make_unique_for_overwrite<char[]>(kStack));
        for (std::size_t i = 0; i < others_.size(); ++i)
            prepare(others_[i].context, stacks[i].get());
    }
    ~Turns() { running = nullptr; }
    Turns(const Turns&) = delete;
    Turns& operator=(const Turns&) = delete;

    /// Round after round, until all have ended.
    void run() {
        while (ended_ < others_.size()) {
            const std::size_t ended_before = ended_;
            moved = false;
            for (now_ = 0; now_ < others_.size(); ++now_) {
                Other& other = others_[now_];
                if (other.ended) continue;
                if (other.begun) restore(other);
                other.begun = true;
                swapcontext(&main_, &other.context);
            }
            require(
                moved || ended_ != ended_before || ended_ == others_.size(),
                "host executor: some threads of a block wait for others, which have ended or wait "
                "elsewhere");
        }
    }

    /// Lets the others have their turn.
    void yield() {
        Other& self = others_[now_];
        self.place = place;
        self.thread_index = threadIdx;
        self.block_index = blockIdx;
        swapcontext(&self.context, &main_);
    }

    static inline thread_local Turns* running = nullptr;
    static inline thread_local std::vector<std::unique_ptr<char[]>>
        stacks;          // kept for the next kernel
    bool moved = false;  ///< whether a barrier opened in this round

private:
    static constexpr std::size_t kStack = 256 * 1024;
    struct Other {
        ucontext_t context;
        Place place;
        dim3 thread_index, block_index;
        bool begun = false, ended = false;
    };

    void prepare(ucontext_t& context, char* stack) {
        getcontext(&context);
        context.uc_stack.ss_sp = stack;
        context.uc_stack.ss_size = kStack;
        context.uc_link = &main_;
        makecontext(&context, &Turns::begin, 0);
    }
    static void begin() {
        Turns& all = *running;
        all.life_(static_cast<int>(all.now_));
        all.others_[all.now_].ended = true;
        ++all.ended_;
    }
    static void restore(const Other& other) {
        place = other.place;
        threadIdx = other.thread_index;
        blockIdx = other.block_index;
    }

    std::function<void(int)> life_;
    std::vector<Other> others_;
    ucontext_t main_;
    std::size_t now_ = 0, ended_ = 0;
};

void wait_at(Barrier& barrier) {
    if (++barrier.arrived == barrier.size) {
        barrier.arrived = 0;
        ++barrier.generation;
        Turns::running->moved = true;
        return;
    }
    const int before = barrier.generation;
    while (barrier.generation == before) Turns::running->yield();
}
#endif

}  // namespace

void run(dim3 grid, dim3 size, const std::function<void()>& kernel) {
    static std::mutex one_kernel_at_a_time;  // for shared memory is static
    const std::lock_guard lock(one_kernel_at_a_time);
    const unsigned threads = size.x * size.y * size.z;
    require(threads >= 1 && threads <= 1024, "host executor: ", threads,
            " threads in a block, expected 1 to 1024");
    if (grid.x * grid.y * grid.z == 0) return;
    Block block(static_cast<int>(threads));
#ifdef DIFFUSION_BLOCK_OF_THREADS
    side_by_side(static_cast<int>(threads), [&](int i) { walk(block, i, grid, size, kernel); });
#else
    Turns turns(static_cast<int>(threads), [&](int i) { walk(block, i, grid, size, kernel); });
    turns.run();
#endif
}

void run_apart(dim3 grid, dim3 size, const std::function<void()>& kernel) {
#ifdef DIFFUSION_BLOCK_OF_THREADS
    constexpr int kWorkers = 4;  // so that the thread sanitizer sees a race
#else
    constexpr int kWorkers = 1;
#endif
    const auto work = [&](int worker) {
        place = {};
        gridDim = grid;
        blockDim = size;
        for (unsigned b = 0; b < grid.x * grid.y * grid.z; ++b) {
            blockIdx = at(b, grid);
            for (unsigned i = static_cast<unsigned>(worker); i < size.x * size.y * size.z;
                 i += kWorkers) {
                threadIdx = at(i, size);
                kernel();
            }
        }
    };
    side_by_side(kWorkers, work);
}

bool takes_turns() {
#ifdef DIFFUSION_BLOCK_OF_THREADS
    return false;
#else
    return true;
#endif
}

void meet_block() {
    require(place.block != nullptr, "host executor: a kernel that was started apart has a barrier");
    place.has_met = true;
    wait_at(place.block->meeting);
}

namespace {
Warp& own_warp() {
    require(place.block != nullptr,
            "host executor: a kernel that was started apart exchanges registers");
    return *place.block->warps[static_cast<std::size_t>(place.thread / warpSize)];
}
}  // namespace

void meet_warp() {
    wait_at(own_warp().meeting);
}

int lane() {
    return place.thread % warpSize;
}

std::uint64_t exchange(std::uint64_t bits, int from) {
    Warp& warp = own_warp();
    auto& slots = warp.slots[place.exchanges++ % 2];
    slots[static_cast<std::size_t>(lane())] = bits;
    wait_at(warp.meeting);  // who writes into these slots again has met the others once more
    return slots[static_cast<std::size_t>(from % warpSize)];
}

namespace {

/// Lays down this lane's a and b, and adds to its four results the sums over k < depth of
/// a(row, k) b(k, column), which read the others'.
template <class ReadA, class ReadB>
void multiply(int depth, float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
              ReadA read_a, ReadB read_b) {
    Warp& warp = own_warp();
    const int l = lane();
    auto& own = warp.fragments[static_cast<std::size_t>(l)];
    std::copy(a, a + 4, own.begin());
    std::copy(b, b + 2, own.begin() + 4);
    wait_at(warp.meeting);
    const auto at_lane = [&](int of, int i) {
        return warp.fragments[static_cast<std::size_t>(of)][static_cast<std::size_t>(i)];
    };
    for (int i = 0; i < 4; ++i) {
        const int row = l / 4 + 8 * (i / 2), column = 2 * (l % 4) + i % 2;
        for (int k = 0; k < depth; ++k)
            d[i] += read_a(at_lane, row, k) * read_b(at_lane, k, column);
    }
    wait_at(warp.meeting);
}

float half_of(std::uint32_t bits, int half) {
    return std::bit_cast<float>(half == 0 ? bits << 16 : bits & 0xffff0000u);
}

}  // namespace

void multiply_tf32(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
    multiply(
        8, d, a, b,
        [](auto at_lane, int row, int k) {
            return std::bit_cast<float>(at_lane(row % 8 * 4 + k % 4, row / 8 + 2 * (k / 4)));
        },
        [](auto at_lane, int k, int column) {
            return std::bit_cast<float>(at_lane(column * 4 + k % 4, 4 + k / 4));
        });
}

void multiply_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
    multiply(
        16, d, a, b,
        [](auto at_lane, int row, int k) {
            return half_of(at_lane(row % 8 * 4 + k % 8 / 2, row / 8 + 2 * (k / 8)), k % 2);
        },
        [](auto at_lane, int k, int column) {
            return half_of(at_lane(column * 4 + k % 8 / 2, 4 + k / 8), k % 2);
        });
}

}  // namespace diffusion::host_executor
