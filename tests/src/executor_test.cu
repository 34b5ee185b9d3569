// What kernels may count on, tried on the host executor: who is where, barriers, shared memory,
// exchanges between the threads of a warp, atomics. And what they may not: each mistake that the
// executor is there to find is made once. With --without-barrier one kernel lacks a barrier that it
// needs, for the thread sanitizer.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <vector>

#include "cuda/reduce.hpp"
#include "cuda/tensor_cores.hpp"

namespace diffusion::cuda {
namespace {

int failures = 0;
void expect(bool good, const char* what) {
    if (!good) {
        std::printf("WRONG: %s\n", what);
        ++failures;
    }
}

__global__ void places(int* out) {
    const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    out[block * blockDim.x * blockDim.y * blockDim.z + thread] =
        static_cast<int>(1000 * block + thread);
}

/// Turns the numbers of a block round. Without the barrier a thread may read what is not there yet.
template <bool barrier>
__global__ void turn_round(const int* in, int* out) {
    __shared__ int shared[64];
    uninitialised(shared);
    const unsigned at = blockIdx.x * 64 + threadIdx.x;
    shared[threadIdx.x] = in[at];
    if (barrier) __syncthreads();
    out[at] = shared[63 - threadIdx.x];
    if (barrier) __syncthreads();
}

__global__ void sums(const float* x, float* of_warp, float* of_block, float* largest) {
    __shared__ float shared[33];
    uninitialised(shared);
    const float own = x[threadIdx.x];
    const float warp = warp_sum(own), most = warp_max(own), block = block_sum(own, shared);
    of_warp[threadIdx.x] = warp;
    largest[threadIdx.x] = most;
    of_block[threadIdx.x] = block;
}

__global__ void neighbours(int* out) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    int value = lane;
    for (int k = 0; k < 5; ++k) value = __shfl_sync(0xffffffffu, value, (lane + 1) % 32);
    out[threadIdx.x] = value;
}

__global__ void write_number(int value, int* to) {
    *to = value;
}

__global__ void count(int* total, unsigned long long* least) {
    atomicAdd(total, 1);
    atomicMin(least, 1000ull - threadIdx.x);
}

void divide() {
    const std::vector<int> numbers = {
        1,     2,       3,        5,          7,          10,         28,
        32,    127,     128,      784,        65535,      65536,      65537,
        99999, 1 << 20, 16777259, 1073741823, 1073741824, 2147483646, 2147483647};
    bool good = true;
    for (const int d : numbers) {
        const Divisor divisor(d);
        for (const int n : numbers) {
            // Around multiples of d a quotient that is wrong by one shows up first.
            for (const std::int64_t near : {std::int64_t{n}, std::int64_t{n} / d * d}) {
                for (std::int64_t m = near - 2; m <= near + 2; ++m) {
                    if (m < 0 || m > 2147483647) continue;
                    const int i = static_cast<int>(m);
                    good = good && i / divisor == i / d && i % divisor == i % d;
                }
            }
        }
    }
    for (int d = 1; d < 3000; ++d) {
        const Divisor divisor(d);
        for (int n = 2147483647; n > 2147483647 - 2 * d && n >= 0; --n)
            good = good && n / divisor == n / d;
    }
    expect(good, "indices divided by a multiplication");
}

__global__ void leave_early(int* out) {
    if (threadIdx.x == 3) return;
    __syncthreads();
    out[threadIdx.x] = 1;
}

void turn(bool with_barrier) {
    std::vector<int> numbers(3 * 64);
    for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<int>(i);
    const auto in = Buffer<int>::of(numbers), out = Buffer<int>::of(numbers);
    if (with_barrier) {
        launch(turn_round<true>, 3, 64, in.data(), out.data());
    } else {
        launch(turn_round<false>, 3, 64, in.data(), out.data());
        synchronize();
        return;  // the sanitizer has seen it
    }
    const std::vector<int> found = out.download();
    for (int i = 0; i < 3 * 64; ++i)
        expect(found[static_cast<std::size_t>(i)] == i / 64 * 64 + 63 - i % 64,
               "a block turned round");
}

// ---- Mistakes.

/// What a call fails with.
template <class F>
std::string told(F f) {
    try {
        f();
    } catch (const Error& error) {
        return error.what();
    }
    return "";
}
template <class F>
void expect_told(F f, const char* words, const char* what) {
    const std::string found = told(f);
    expect(found.find(words) != std::string::npos, what);
}
/// What a process says that ends with 1 when it does f, for f touches memory that is not its own.
template <class F>
std::string last_words(F f) {
    int ends[2];
    std::array<char, 500> words{};
    if (pipe(ends) != 0) return "";
    const pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        f();
        _exit(0);
    }
    close(ends[1]);
    std::size_t length = 0;
    for (ssize_t got = 1; got > 0 && length < words.size(); length += static_cast<std::size_t>(got))
        got = std::max<ssize_t>(0, read(ends[0], words.data() + length, words.size() - length));
    close(ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    const bool as_wanted = WIFEXITED(status) && WEXITSTATUS(status) == 1;
    return as_wanted ? std::string(words.data(), length) : "";
}

__global__ void write_at(float* x, int at) {
    x[at] = 1;
}
__global__ void read_at(const float* x, int at, float* to) {
    *to = x[at];
}
__global__ void read_unwritten(float* out) {
    __shared__ float shared[64];
    uninitialised(shared);
    if (threadIdx.x < 32) shared[threadIdx.x] = 1;
    __syncthreads();
    out[blockIdx.x * 64 + threadIdx.x] = shared[threadIdx.x];
}
__global__ void too_much_shared(float* out) {
    __shared__ float first[6 * 1024], second[6 * 1024 + 1];
    uninitialised(first, second);
    *out = first[0] + second[0];
}
/// Counts on the block before it having ended.
__global__ void after_the_one_before(int* out) {
    out[blockIdx.x] = blockIdx.x == 0 ? 0 : out[blockIdx.x - 1] + 1;
}
/// Counts on warps coming one after the other.
__global__ void after_the_warp_before(int* out) {
    const int warp = static_cast<int>(threadIdx.x) / 32;
    if (threadIdx.x % 32 == 0) out[warp] = warp == 0 ? 0 : out[warp - 1] + 1;
}
enum class Fault { none, no_wait, no_barrier_after, from_shared };
/// Two slabs of four numbers a thread go through one place in shared memory.
template <Fault fault>
__global__ void bring(const float* in, float* out) {
    alignas(16) __shared__ float slab[64 * 4];
    uninitialised(slab);
    const unsigned own = threadIdx.x * 4, other = (63 - threadIdx.x) * 4;
    for (unsigned k = 0; k < 2; ++k) {
        const float* from = in + (blockIdx.x * 2 + k) * 256 + own;
        copy_async(slab + own, fault == Fault::from_shared ? nullptr : from,
                   fault == Fault::from_shared ? slab : in);
        end_of_copies();
        if (fault != Fault::no_wait) wait_for_copies<0>();
        __syncthreads();
        out[(blockIdx.x * 2 + k) * 64 + threadIdx.x] = slab[other];
        if (fault != Fault::no_barrier_after) __syncthreads();
    }
}
template <Fault fault>
bool brings_right() {
    constexpr int kBlocks = 8;
    std::vector<float> numbers(kBlocks * 2 * 256), expected;
    for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<float>(i);
    for (int slab = 0; slab < kBlocks * 2; ++slab) {
        for (int i = 0; i < 64; ++i)
            expected.push_back(static_cast<float>(slab * 256 + (63 - i) * 4));
    }
    const auto in = Buffer<float>::of(numbers);
    const Buffer<float> out(expected.size());
    launch(bring<fault>, kBlocks, 64, in.data(), out.data());
    return out.download() == expected;
}
__global__ void shuffle_of_half(unsigned mask, int* out) {
    if (threadIdx.x < 16 || mask == 0xffffffffu) out[threadIdx.x] = __shfl_xor_sync(mask, 1, 1);
}
__global__ void shuffle_after_exit(int* out) {
    if (threadIdx.x == 5) return;
    out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1, 1);
}
__global__ void shuffle_in_two_places(int* out) {
    if (threadIdx.x % 2 == 0) {
        out[threadIdx.x] = __shfl_sync(0xffffffffu, 1, 0);
    } else {
        out[threadIdx.x] = __shfl_sync(0xffffffffu, 2, 0);
    }
}
struct FiveThousandBytes {
    char bytes[5000];
};
__global__ void take_bytes(FiveThousandBytes of, char* to) {
    *to = of.bytes[0];
}
/// d = 1 + eight products, each of 2^-25: together 2^-22, but each lies below d's 24 bits.
__global__ void add_small(float small, float* out) {
    const auto bits = to_tf32(small);
    const std::uint32_t a[4] = {bits, bits, bits, bits}, b[2] = {bits, bits};
    float d[4] = {1, 1, 1, 1};
    multiply_tf32(d, a, b);
    out[threadIdx.x] = d[0];
}
__global__ void give_up() {
    fail("a kernel gives up");
}

void mistakes() {
    // Nothing that was started has been made before the host waits for it.
    const auto place = Buffer<int>::of(std::vector<int>{3});
    int source = 4, found = 0;
    copy_bytes(place.data(), &source, sizeof source);
    source = 5;
    launch_apart(write_number, 1, 1, 7, place.data() + 0);
    copy_bytes(&found, place.data(), sizeof found);
    expect(found == 0, "a launch that nobody waited for");
    synchronize();
    expect(found == 7, "a launch that was waited for");
    copy_bytes(place.data(), &source, sizeof source);
    source = 6;  // too early
    expect(place.download()[0] == 6, "what is copied is read at the wait");

    const Buffer<float> ten(10), out(16 * 64);
    expect(std::isnan(ten.download()[9]), "new memory is NaN");
    if (host_executor::protects_memory()) {
        expect(last_words([&] { ten.data()[2] = 1; }).find("the host reads or writes") !=
                   std::string::npos,
               "the host touches a buffer");
        const auto of_kernel = [&](auto start) {
            return last_words([&] {
                       start();
                       synchronize();
                   }).find("a kernel reads or writes outside") != std::string::npos;
        };
        expect(of_kernel([&] { launch(read_at, 1, 1, ten.data(), 16, out.data()); }),
               "a kernel reads behind a buffer");
        // Into the guard, which is a page before the page of the buffer.
        const int before = static_cast<int>(-3 * sysconf(_SC_PAGESIZE) / 2 / 4);
        expect(of_kernel([&] { launch(write_at, 1, 1, ten.data(), before); }),
               "a kernel writes before a buffer");
        expect_told(
            [&] {
                launch(write_at, 1, 1, ten.data(), 10);
                synchronize();
            },
            "writes behind a buffer of 40 bytes", "a kernel writes a little behind a buffer");
    }

    launch(read_unwritten, 3, 64, out.data());
    const std::vector<float> unwritten = out.download();
    for (int block = 0; block < 3; ++block) {
        expect(unwritten[static_cast<std::size_t>(block * 64 + 31)] == 1 &&
                   std::isnan(unwritten[static_cast<std::size_t>(block * 64 + 32)]),
               "shared memory that nobody wrote");
    }
    const auto expect_of_launch = [&](auto start, const char* words, const char* what) {
        expect_told(
            [&] {
                start();
                synchronize();
            },
            words, what);
    };
    expect_of_launch([&] { launch(too_much_shared, 1, 1, out.data()); }, "49152 at most",
                     "too much shared memory");

    const Buffer<int> numbers(64);
    for (int launches = 0; launches < 2; ++launches) {  // reversed, and in random order
        launch(after_the_one_before, 20, 1, numbers.data());
        expect(numbers.download()[19] != 19, "an order of blocks that is counted on");
        launch_apart(after_the_one_before, 20, 1, numbers.data());
        expect(numbers.download()[19] != 19, "an order of blocks that is counted on, apart");
        const Buffer<int> more(32);
        launch(after_the_warp_before, 1, 512, more.data());
        expect(more.download()[15] != 15, "an order of warps that is counted on");
    }

    expect(brings_right<Fault::none>(), "asynchronous copies");
    expect(!brings_right<Fault::no_wait>(), "an asynchronous copy that is not waited for");
    if (host_executor::takes_turns()) {
        expect(!brings_right<Fault::no_barrier_after>(),
               "an asynchronous copy to where others still read");
    }
    expect_told([] { brings_right<Fault::from_shared>(); }, "not the device's memory",
                "an asynchronous copy whose source is shared memory");

    expect_of_launch([&] { launch(shuffle_of_half, 1, 32, 0x0000ffffu, numbers.data()); },
                     "does not name all lanes", "a shuffle of half a warp");
    expect_of_launch([&] { launch(shuffle_of_half, 1, 48, 0xffffffffu, numbers.data()); },
                     "a warp of 16 threads", "a shuffle of a warp that is not whole");
    if (host_executor::takes_turns()) {
        expect_of_launch([&] { launch(shuffle_in_two_places, 1, 32, numbers.data()); },
                         "wait in different places", "a shuffle in two places");
        expect_of_launch([&] { launch(shuffle_after_exit, 1, 32, numbers.data()); },
                         "some threads of a block wait", "a shuffle without a lane that has ended");
        expect_of_launch([&] { launch(leave_early, 1, 8, numbers.data()); },
                         "some threads of a block wait", "a thread that left is told of");
    }

    const auto expect_refused = [&](dim3 grid, dim3 block, const char* words, const char* what) {
        expect_told([&] { launch_apart(write_number, grid, block, 1, numbers.data()); }, words,
                    what);
    };
    expect_refused(dim3(1, 65536), 1, "2^16 in y and z", "a grid that is too high");
    expect_refused(dim3(1, 1, 65536), 1, "2^16 in y and z", "a grid that is too deep");
    expect_refused(dim3(65536, 65535, 2), 1, "more than it can count", "a product of 2^33");
    expect_refused(1, 1025, "1 to 1024", "a block that is too large");
    expect_refused(1, dim3(1, 1, 65), "64 in z", "a block that is too deep");
    expect_told([&] { launch(take_bytes, 1, 1, FiveThousandBytes(), static_cast<char*>(nullptr)); },
                "4096 at most", "5,000 bytes of arguments");

    launch(add_small, 1, 32, 0x1p-12f * 1.25f, out.data());
    expect(out.download()[0] == 1, "what lies below 24 bits is cut off by a tensor core");
    launch(add_small, 1, 32, 0x1p-11f, out.data());
    expect(out.download()[0] == 1 + 0x1p-19f, "what does not is kept");

    expect_of_launch([] { launch(give_up, 2, 64); }, "a kernel gives up", "a kernel that fails");
    expect_of_launch([] { launch_apart(give_up, 2, 64); }, "a kernel gives up",
                     "a kernel that fails, apart");
}

void run() {
    const dim3 grid(2, 3, 2), block(3, 2, 2);
    const Buffer<int> out(144);
    launch(places, grid, block, out.data());
    for (int i = 0; i < 144; ++i)
        expect(out.download()[static_cast<std::size_t>(i)] == 1000 * (i / 12) + i % 12,
               "place in grid and block");
    launch_apart(places, grid, block, out.data());
    expect(out.download()[143] == 11011, "place in grid and block, apart");
    launch(places, dim3(0), block, out.data());  // nothing

    turn(true);

    std::vector<float> x(96);
    float of_last_warp = 0, all = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
        x[i] = static_cast<float>(i * i % 17);
        all += x[i];
        if (i >= 64) of_last_warp += x[i];
    }
    const auto in = Buffer<float>::of(x);
    const Buffer<float> warp(96), whole(96), largest(96);
    launch(sums, 1, 96, in.data(), warp.data(), whole.data(), largest.data());
    expect(warp.download()[70] == of_last_warp && warp.download()[95] == of_last_warp,
           "sum of a warp");
    expect(whole.download()[0] == all && whole.download()[95] == all, "sum of a block");
    expect(largest.download()[0] == 16, "largest of a warp");

    const Buffer<int> round(64);
    launch(neighbours, 1, 64, round.data());
    expect(round.download()[0] == 5 && round.download()[30] == 3 && round.download()[63] == 4,
           "shuffles");

    const auto total = Buffer<int>::of(std::vector<int>{0});
    const auto least = Buffer<unsigned long long>::of(std::vector<unsigned long long>{5000});
    launch(count, 7, 33, total.data(), least.data());
    expect(total.download()[0] == 7 * 33 && least.download()[0] == 968, "atomics");

    divide();

    // A recording starts its launches anew, and can hold neither waiting nor new memory.
    Graph recording;
    recording.record([&] { launch(count, 1, 8, total.data(), least.data()); });
    for (int i = 0; i < 3; ++i) recording.replay();
    expect(total.download()[0] == 7 * 33 + 3 * 8, "a recording");
    expect_told([&] { recording.record([&] { synchronize(); }); }, "must not wait",
                "a recording that waits");
    expect_told([&] { recording.record([] { Buffer<int> more(1); }); }, "must not allocate",
                "a recording that allocates");
    // What it was given is kept: a value that changes later is not seen.
    int value = 7;
    recording.record([&] { launch_apart(write_number, 1, 1, value, total.data()); });
    value = 8;
    recording.replay();
    expect(total.download()[0] == 7, "a recording keeps its arguments");

    mistakes();
}

}  // namespace
}  // namespace diffusion::cuda

int main(int argc, char** argv) {
    using namespace diffusion::cuda;
    if (argc > 1 && std::strcmp(argv[1], "--without-barrier") == 0) {
        turn(false);
        return 0;
    }
    run();
    std::printf("host executor: %d wrong\n", failures);
    return failures == 0 ? 0 : 1;
}
