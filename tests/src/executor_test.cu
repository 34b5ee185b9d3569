// What kernels may count on, tried on the host executor: who is where, barriers, shared memory,
// exchanges between the threads of a warp, atomics. With --without-barrier one kernel lacks a
// barrier that it needs, for the thread sanitizer.
#include <cstdio>
#include <cstring>
#include <vector>

#include "cuda/reduce.hpp"

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
    const unsigned at = blockIdx.x * 64 + threadIdx.x;
    shared[threadIdx.x] = in[at];
    if (barrier) __syncthreads();
    out[at] = shared[63 - threadIdx.x];
    if (barrier) __syncthreads();
}

__global__ void sums(const float* x, float* of_warp, float* of_block, float* largest) {
    __shared__ float shared[33];
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
        return;  // the sanitizer has seen it
    }
    const std::vector<int> found = out.download();
    for (int i = 0; i < 3 * 64; ++i)
        expect(found[static_cast<std::size_t>(i)] == i / 64 * 64 + 63 - i % 64,
               "a block turned round");
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
    const auto expect_told = [](auto f, const char* word, const char* what) {
        std::string told;
        try {
            f();
        } catch (const Error& error) {
            told = error.what();
        }
        expect(told.find(word) != std::string::npos, what);
    };
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

    if (host_executor::takes_turns()) {
        expect_told([&] { launch(leave_early, 1, 8, out.data()); }, "some threads of a block wait",
                    "a thread that left is told of");
    }
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
