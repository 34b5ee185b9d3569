// Fortified libraries take a jump to another stack for a mistake.
#undef _FORTIFY_SOURCE
#include "cuda/host_executor.hpp"

#include <algorithm>
#include <array>
#include <barrier>
#include <bit>
#include <cstdio>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <numeric>
#include <span>
#include <thread>
#include <utility>
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
#include <setjmp.h>
#include <ucontext.h>
#endif

// Where the system has no POSIX memory mapping, the device's memory is the heap's: it begins as NaN
// there, too, but nobody is kept from it.
#if __has_include(<sys/mman.h>)
#define DIFFUSION_PROTECTED_MEMORY
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace diffusion::host_executor {
namespace {

// ---- The device: its memory, and the queue of launches and copies.

constexpr std::size_t kMemoryAlignment = 64;

/// A piece of the device's memory: whole pages between two that can never be touched. What was
/// asked for lies at the end of these pages; the few bytes between it and the page after them are
/// `slack`.
struct Region {
    std::byte* mapping;  ///< the page before
    std::size_t length;  ///< with the pages before and after
    std::size_t bytes;   ///< what was asked for
};

struct Device {
    std::map<const std::byte*, Region> regions;  ///< by the address of what was asked for
    std::vector<std::function<void()>> queue;
    std::exception_ptr failed;  ///< what a kernel failed with, until the host waits
    bool running = false;
    std::uint64_t launches = 0;
};
/// Never destroyed, for buffers may outlive what is.
Device& device() {
    static Device& only = *new Device;
    return only;
}

/// The region in which an address lies, between its guards.
const Region* region_of(const void* address) {
    const auto* at = static_cast<const std::byte*>(address);
    const auto after = device().regions.upper_bound(at);
    if (after == device().regions.begin()) return nullptr;
    const auto& [begin, region] = *std::prev(after);
    return at < begin + region.bytes ? &region : nullptr;
}

constexpr int kNan =
    0xff;  ///< the byte of which a float, and a double, that is not a number is made

#ifdef DIFFUSION_PROTECTED_MEMORY
std::size_t page() {
    static const auto size = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    return size;
}
std::size_t rounded_up(std::size_t bytes, std::size_t to) {
    return (bytes + to - 1) / to * to;
}

void open(const Region& region, bool yes) {
    const int done = mprotect(region.mapping + page(), region.length - 2 * page(),
                              yes ? PROT_READ | PROT_WRITE : PROT_NONE);
    require(done == 0, "host executor: memory cannot be protected");
}

/// Tells who touched memory that is not theirs, if it is the device's.
void tell_of_fault(int signal, siginfo_t* info, void*) {
    const auto* at = static_cast<const std::byte*>(info->si_addr);
    for (const auto& [begin, region] : device().regions) {
        if (at < region.mapping || at >= region.mapping + region.length) continue;
        std::array<char, 200> text{};
        const int length =
            std::snprintf(text.data(), text.size(),
                          "host executor: %s: byte %td of a buffer of %zu bytes on the device\n",
                          device().running ? "a kernel reads or writes outside of a buffer"
                                           : "the host reads or writes what only kernels may",
                          at - begin, region.bytes);
        if (write(STDERR_FILENO, text.data(), static_cast<std::size_t>(length)) < 0) _exit(2);
        _exit(1);
    }
    // Another's fault: it is met again when this returns, and ends the program.
    struct sigaction usual {};
    usual.sa_handler = SIG_DFL;
    sigaction(signal, &usual, nullptr);
}
void watch_for_faults() {
    struct sigaction action {};
    action.sa_sigaction = tell_of_fault;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, nullptr);
    sigaction(SIGBUS, &action, nullptr);
}

/// Fails, once, if a kernel wrote into the few bytes between a buffer and its guard.
void check_slack(const std::byte* begin, const Region& region) {
    const std::span slack(region.mapping + (begin - region.mapping) + region.bytes,
                          region.mapping + region.length - page());
    constexpr auto untouched = std::byte{kNan};
    if (std::ranges::count(slack, untouched) == std::ssize(slack)) return;
    std::ranges::fill(slack, untouched);
    fail("host executor: a kernel writes behind a buffer of ", region.bytes, " bytes");
}
#else
void open(const Region&, bool) {}
void check_slack(const std::byte*, const Region&) {}
#endif

/// Runs f while the device's memory can be touched.
template <class F>
void on_device(F f) {
    Device& d = device();
    for (const auto& [begin, region] : d.regions) open(region, true);
    d.running = true;
    try {
        f();
        for (const auto& [begin, region] : d.regions) check_slack(begin, region);
    } catch (...) {
        d.failed = std::current_exception();
    }
    d.running = false;
    for (const auto& [begin, region] : d.regions) open(region, false);
}

// ---- The order in which blocks, and threads of a block, come.

/// Well mixed bits of a number (splitmix64).
std::uint64_t mixed(std::uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}
/// 0 .. count - 1: from the last to the first in every other launch, and in random order else.
std::vector<unsigned> inconvenient_order(std::uint64_t count, std::uint64_t launch) {
    std::vector<unsigned> order(count);
    std::iota(order.rbegin(), order.rend(), 0u);
    for (std::uint64_t i = count; launch % 2 != 0 && i > 1; --i)
        std::swap(order[i - 1], order[mixed(launch * count + i) % i]);
    return order;
}
std::uint64_t count_of(dim3 size) {
    return std::uint64_t{size.x} * size.y * size.z;
}
dim3 at(unsigned i, dim3 size) {
    return {i % size.x, i / size.x % size.y, i / size.x / size.y};
}

/// f(0) .. f(count - 1), each on a thread of its own. (std::jthread is not in every library yet.)
template <class F>
void side_by_side(std::size_t count, F f) {
    std::vector<std::thread> others;
    for (std::size_t i = 1; i < count; ++i) others.emplace_back(f, i);
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
    explicit Warp(int lanes_) : lanes(lanes_), meeting(lanes_) {}
    int lanes;
    Barrier meeting;
    Site site{};  ///< where its lanes are meeting
    std::array<std::array<std::uint64_t, 32>, 2>
        slots{};  // used in turn: one meeting is then enough
    std::array<std::array<std::uint32_t, 6>, 32> fragments{};  // a and b of every lane
};

/// Shared memory, and the block for which it was filled with NaN last.
struct Shared {
    void* memory;
    std::size_t bytes;
    unsigned block;
};
/// The asynchronous copies that a thread has started and not waited for.
struct Copies {
    struct One {
        float* to;
        const float* from;
    };
    std::vector<One> waiting;
    std::vector<std::size_t> groups;  ///< how many of them the first, the first two, .. groups are
};

/// What the threads of a block share.
struct Block {
    explicit Block(int threads) : meeting(threads), copies(static_cast<std::size_t>(threads)) {
        for (int first = 0; first < threads; first += warpSize)
            warps.push_back(std::make_unique<Warp>(std::min(warpSize, threads - first)));
    }
    Barrier meeting;
    std::vector<std::unique_ptr<Warp>> warps;
    std::vector<Copies> copies;  ///< of each thread
    std::vector<Shared> shared;
    std::mutex shared_mutex;
};

struct Place {
    Block* block = nullptr;
    int thread = 0;
    unsigned number = 0;        // of the block
    bool copies_early = false;  // at their start
    bool has_met = false;       // the others of its block, since the block began
    unsigned exchanges = 0;
};
thread_local Place place;

/// The life of one of a block's threads: the same thread of block 0, 1, ..
void walk(Block& block, int thread, const std::vector<unsigned>& order, dim3 grid, dim3 size,
          const std::function<void()>& kernel) {
    place = {&block, thread};
    gridDim = grid;
    blockDim = size;
    threadIdx = at(static_cast<unsigned>(thread), size);
    for (const unsigned b : order) {
        blockIdx = at(b, grid);
        place.number = b;
        place.copies_early = mixed(device().launches + b) % 2 == 0;
        place.has_met = false;
        kernel();
        block.copies[static_cast<std::size_t>(thread)] = {};
        // The next block takes over the shared memory. Threads that never met share none.
        if (place.has_met) wait_at(block.meeting);
    }
}

#ifndef DIFFUSION_BLOCK_OF_THREADS
/// Threads that take turns: each has a stack, and goes on until it waits or ends.
class Turns {
public:
    Turns(const std::vector<unsigned>& order, std::function<void(int)> life)
        : order_(order), life_(std::move(life)) {
        running = this;
        others_.resize(order.size());
        while (stacks.size() < others_.size())
            stacks.push_back(std::make_unique_for_overwrite<char[]>(kStack));
        for (std::size_t i = 0; i < others_.size(); ++i)
            prepare(others_[i].context, stacks[i].get());
    }
    ~Turns() { running = nullptr; }
    Turns(const Turns&) = delete;
    Turns& operator=(const Turns&) = delete;

    /// Round after round, until all have ended, or one has failed.
    void run() {
        while (ended_ < others_.size()) {
            const std::size_t ended_before = ended_;
            moved = false;
            for (const unsigned i : order_) {
                now_ = i;
                Other& other = others_[now_];
                if (other.ended) continue;
                resume(other);
                if (failed_) std::rethrow_exception(failed_);
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
        if (sigsetjmp(self.jump, 0) == 0) siglongjmp(main_, 1);
    }

    static inline thread_local Turns* running = nullptr;
    static inline thread_local std::vector<std::unique_ptr<char[]>>
        stacks;          // kept for the next kernel
    bool moved = false;  ///< whether a barrier opened in this round

private:
    static constexpr std::size_t kStack = 256 * 1024;
    struct Other {
        ucontext_t context;  ///< how it begins
        sigjmp_buf jump;     ///< and where it goes on: swapcontext would ask the system each time
        Place place;
        dim3 thread_index, block_index;
        bool begun = false, ended = false;
    };

    void prepare(ucontext_t& context, char* stack) {
        getcontext(&context);
        context.uc_stack.ss_sp = stack;
        context.uc_stack.ss_size = kStack;
        context.uc_link = nullptr;
        makecontext(&context, &Turns::begin, 0);
    }
    static void begin() {
        Turns& all = *running;
        try {
            all.life_(static_cast<int>(all.now_));
        } catch (...) {
            all.failed_ = std::current_exception();
        }
        all.others_[all.now_].ended = true;
        ++all.ended_;
        siglongjmp(all.main_, 1);
    }
    /// Until that thread waits or ends.
    [[gnu::noinline]] void resume(Other& other) {
        if (sigsetjmp(main_, 0) != 0) return;
        if (other.begun) {
            restore(other);
            siglongjmp(other.jump, 1);
        }
        other.begun = true;
        setcontext(&other.context);
    }
    static void restore(const Other& other) {
        place = other.place;
        threadIdx = other.thread_index;
        blockIdx = other.block_index;
    }

    const std::vector<unsigned>& order_;
    std::function<void(int)> life_;
    std::exception_ptr failed_;
    std::vector<Other> others_;
    sigjmp_buf main_;
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

void* allocate(std::size_t bytes) {
    Device& d = device();
#ifdef DIFFUSION_PROTECTED_MEMORY
    static const bool watched = (watch_for_faults(), true);
    static_cast<void>(watched);
    const std::size_t data = rounded_up(std::max<std::size_t>(bytes, 1), page());
    void* const mapping =
        mmap(nullptr, data + 2 * page(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    require(mapping != MAP_FAILED, "host executor: there is no memory for ", bytes, " bytes");
    const Region region{static_cast<std::byte*>(mapping), data + 2 * page(), bytes};
    open(region, true);
    std::memset(region.mapping + page(), kNan, data);
    std::byte* memory = region.mapping + page() + data - rounded_up(bytes, kMemoryAlignment);
    if (!d.running) open(region, false);
#else
    auto* memory =
        static_cast<std::byte*>(::operator new (bytes, std::align_val_t{kMemoryAlignment}));
    std::memset(memory, kNan, bytes);
    const Region region{memory, bytes, bytes};
#endif
    d.regions[memory] = region;
    return memory;
}

void free(void* memory) {
    Device& d = device();
    try {
        synchronize();  // as cudaFree does
    } catch (...) {
        d.failed = std::current_exception();  // told at the next wait
    }
    const auto found = d.regions.find(static_cast<std::byte*>(memory));
    if (found == d.regions.end()) return;
#ifdef DIFFUSION_PROTECTED_MEMORY
    munmap(found->second.mapping, found->second.length);
#else
    ::operator delete (memory, std::align_val_t{kMemoryAlignment});
#endif
    d.regions.erase(found);
}

bool protects_memory() {
#ifdef DIFFUSION_PROTECTED_MEMORY
    return true;
#else
    return false;
#endif
}

void enqueue(std::function<void()> action) {
    device().queue.push_back(std::move(action));
}

void synchronize() {
    Device& d = device();
    const auto actions = std::exchange(d.queue, {});
    if (!d.failed && !actions.empty()) {
        on_device([&] {
            for (const auto& action : actions) action();
        });
    }
    if (d.failed) std::rethrow_exception(std::exchange(d.failed, nullptr));
}

void check_launch(dim3 grid, dim3 block, std::size_t argument_bytes) {
    require(block.z <= 64 && count_of(block) >= 1 && count_of(block) <= 1024,
            "host executor: ", block.x, " x ", block.y, " x ", block.z,
            " threads in a block, expected 1 to 1024, and at most 64 in z");
    require(grid.x <= 0x7fffffffu && grid.y <= 65535 && grid.z <= 65535, "host executor: ", grid.x,
            " x ", grid.y, " x ", grid.z,
            " blocks, expected less than 2^31 in x and 2^16 in y and z");
    require(count_of(grid) <= 0xffffffffu, "host executor: ", count_of(grid),
            " blocks, more than it can count");
    require(argument_bytes <= 4096, "host executor: ", argument_bytes,
            " bytes of a kernel's arguments, expected 4096 at most");
}

void run(dim3 grid, dim3 size, const std::function<void()>& kernel) {
    static std::mutex one_kernel_at_a_time;  // for shared memory is static
    const std::lock_guard lock(one_kernel_at_a_time);
    const std::uint64_t launch = ++device().launches;
    const std::vector<unsigned> blocks = inconvenient_order(count_of(grid), launch),
                                threads = inconvenient_order(count_of(size), launch);
    Block block(static_cast<int>(threads.size()));
#ifdef DIFFUSION_BLOCK_OF_THREADS
    std::exception_ptr failed;
    std::mutex one_fails_at_a_time;
    side_by_side(threads.size(), [&](std::size_t i) {
        try {
            walk(block, static_cast<int>(i), blocks, grid, size, kernel);
        } catch (...) {
            const std::lock_guard telling(one_fails_at_a_time);
            failed = std::current_exception();
            block.warps[i / warpSize]->meeting.arrive_and_drop();
            block.meeting.arrive_and_drop();
        }
    });
    if (failed) std::rethrow_exception(failed);
#else
    Turns turns(threads, [&](int i) { walk(block, i, blocks, grid, size, kernel); });
    turns.run();
#endif
}

void run_apart(dim3 grid, dim3 size, const std::function<void()>& kernel) {
#ifdef DIFFUSION_BLOCK_OF_THREADS
    constexpr std::size_t kWorkers = 4;  // so that the thread sanitizer sees a race
#else
    constexpr std::size_t kWorkers = 1;
#endif
    const std::uint64_t launch = ++device().launches;
    const std::vector<unsigned> blocks = inconvenient_order(count_of(grid), launch),
                                threads = inconvenient_order(count_of(size), launch);
    std::exception_ptr failed;
    std::mutex one_fails_at_a_time;
    side_by_side(kWorkers, [&](std::size_t worker) {
        place = {};
        gridDim = grid;
        blockDim = size;
        try {
            for (const unsigned b : blocks) {
                blockIdx = at(b, grid);
                for (std::size_t i = worker; i < threads.size(); i += kWorkers) {
                    threadIdx = at(threads[i], size);
                    kernel();
                }
            }
        } catch (...) {
            const std::lock_guard telling(one_fails_at_a_time);
            failed = std::current_exception();
        }
    });
    if (failed) std::rethrow_exception(failed);
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

void begin_shared(void* memory, std::size_t bytes) {
    require(place.block != nullptr,
            "host executor: a kernel that was started apart has shared memory");
    place.has_met = true;
    Block& block = *place.block;
    const std::lock_guard lock(block.shared_mutex);
    auto& all = block.shared;
    auto found = std::ranges::find(all, memory, &Shared::memory);
    if (found == all.end()) {
        std::size_t sum = bytes;
        for (const Shared& other : all) sum += other.bytes;
        require(sum <= 48 * 1024, "host executor: ", sum,
                " bytes of shared memory in a block, expected 49152 at most");
        found = all.insert(found, {memory, bytes, ~place.number});
    }
    if (found->block == place.number) return;
    found->block = place.number;
    std::memset(memory, kNan, bytes);
}

namespace {
/// Waits for all lanes, which must come to the same place of the source.
Warp& meet_lanes(Site site, bool whole) {
    require(place.block != nullptr,
            "host executor: a kernel that was started apart exchanges registers");
    Warp& warp = *place.block->warps[static_cast<std::size_t>(place.thread / warpSize)];
    require(!whole || warp.lanes == warpSize, "host executor: a warp of ", warp.lanes,
            " threads exchanges registers, expected 32");
#ifndef DIFFUSION_BLOCK_OF_THREADS
    if (warp.meeting.arrived == 0) warp.site = site;
    require(warp.site.line == site.line && std::strcmp(warp.site.file, site.file) == 0,
            "host executor: lanes of a warp wait in different places, ", site.file, ":", site.line,
            " and ", warp.site.file, ":", warp.site.line);
#else
    static_cast<void>(site);
#endif
    return warp;
}
}  // namespace

void meet_warp() {
    wait_at(meet_lanes({"__syncwarp", 0}, false).meeting);
}

int lane() {
    return place.thread % warpSize;
}

std::uint64_t exchange(Site site, unsigned mask, std::uint64_t bits, int from) {
    require(mask == 0xffffffffu, "host executor: a shuffle's mask does not name all lanes");
    Warp& warp = meet_lanes(site, true);
    auto& slots = warp.slots[place.exchanges++ % 2];
    slots[static_cast<std::size_t>(lane())] = bits;
    wait_at(warp.meeting);  // who writes into these slots again has met the others once more
    return slots[static_cast<std::size_t>(from % warpSize)];
}

namespace {
void make(const Copies::One& copy) {
    if (copy.from != nullptr) {
        std::memcpy(copy.to, copy.from, 16);
    } else {
        std::memset(copy.to, 0, 16);
    }
}
Copies& own_copies() {
    require(place.block != nullptr,
            "host executor: a kernel that was started apart has shared memory");
    return place.block->copies[static_cast<std::size_t>(place.thread)];
}
}  // namespace

void copy_async(float* to, const float* from, const float* somewhere) {
    const float* source = from != nullptr ? from : somewhere;
    require(region_of(source) != nullptr,
            "host executor: an asynchronous copy from what is not the device's memory");
    require(reinterpret_cast<std::uintptr_t>(to) % 16 == 0 &&
                reinterpret_cast<std::uintptr_t>(source) % 16 == 0,
            "host executor: an asynchronous copy that is not aligned to 16 bytes");
    if (place.copies_early) {
        make({to, from});
    } else {
        own_copies().waiting.push_back({to, from});
    }
}
void end_of_copies() {
    own_copies().groups.push_back(own_copies().waiting.size());
}
void wait_for_copies(int pending) {
    Copies& own = own_copies();
    const std::ptrdiff_t groups = std::ssize(own.groups) - pending;
    if (groups <= 0) return;
    const std::size_t made = own.groups[static_cast<std::size_t>(groups - 1)];
    for (std::size_t i = 0; i < made; ++i) make(own.waiting[i]);
    own.waiting.erase(own.waiting.begin(), own.waiting.begin() + static_cast<std::ptrdiff_t>(made));
    own.groups.erase(own.groups.begin(), own.groups.begin() + groups);
    for (std::size_t& group : own.groups) group -= made;
}

namespace {

/// d and all terms added up as tensor cores do: brought to the exponent of the largest one, where
/// what lies below 24 bits is cut off, and so is what lies below the sum's own 24 bits. (M. Fasi
/// and others 2021, Numerical behavior of NVIDIA tensor cores, measured it.)
float cut_sum(float d, std::span<const float> terms) {
    const auto bits = [](float x) { return std::bit_cast<std::uint32_t>(x) & 0x7fffffffu; };
    std::uint32_t largest = bits(d);
    for (const float x : terms) largest = std::max(largest, bits(x));
    constexpr std::uint32_t kInfinity = 0x7f800000u, kOne = 1u << 23;  // one step of the exponent
    if (largest >= kInfinity || largest < 24 * kOne)  // nothing to cut, or too small to be scaled
        return std::accumulate(terms.begin(), terms.end(), d);
    const std::uint32_t unit = (largest & kInfinity) - 23 * kOne;
    const float to_whole = std::bit_cast<float>(254 * kOne - unit);
    auto sum = static_cast<std::int32_t>(d * to_whole);
    for (const float x : terms) sum += static_cast<std::int32_t>(x * to_whole);
    const auto magnitude = static_cast<std::uint32_t>(std::abs(sum));
    const int below = std::max(0, static_cast<int>(std::bit_width(magnitude)) - 24);
    const auto kept = static_cast<float>(magnitude >> below << below) * std::bit_cast<float>(unit);
    return sum < 0 ? -kept : kept;
}

/// Lays down this lane's a and b, and adds to its four results the sums over k < depth of
/// a(row, k) b(k, column), which read the others'.
template <int depth, class ReadA, class ReadB>
void multiply(Site site, float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
              ReadA read_a, ReadB read_b) {
    Warp& warp = meet_lanes(site, true);
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
        std::array<float, depth> terms;
        for (int k = 0; k < depth; ++k)
            terms[static_cast<std::size_t>(k)] =
                read_a(at_lane, row, k) * read_b(at_lane, k, column);
        d[i] = cut_sum(d[i], terms);
    }
    wait_at(warp.meeting);
}

/// The 19 bits of TF32 that the instruction looks at.
float tf32_of(std::uint32_t bits) {
    return std::bit_cast<float>(bits & 0xffffe000u);
}
float half_of(std::uint32_t bits, int half) {
    return std::bit_cast<float>(half == 0 ? bits << 16 : bits & 0xffff0000u);
}

}  // namespace

void multiply_tf32(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
    multiply<8>(
        {"multiply_tf32", 0}, d, a, b,
        [](auto at_lane, int row, int k) {
            return tf32_of(at_lane(row % 8 * 4 + k % 4, row / 8 + 2 * (k / 4)));
        },
        [](auto at_lane, int k, int column) {
            return tf32_of(at_lane(column * 4 + k % 4, 4 + k / 4));
        });
}

void multiply_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
    multiply<16>(
        {"multiply_bf16", 0}, d, a, b,
        [](auto at_lane, int row, int k) {
            return half_of(at_lane(row % 8 * 4 + k % 8 / 2, row / 8 + 2 * (k / 8)), k % 2);
        },
        [](auto at_lane, int k, int column) {
            return half_of(at_lane(column * 4 + k % 8 / 2, 4 + k / 8), k % 2);
        });
}

}  // namespace diffusion::host_executor
