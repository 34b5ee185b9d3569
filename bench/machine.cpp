// What the machine can do at most, and the benchmarks' tables.
#include <sys/resource.h>

#include <atomic>
#include <cstdint>

#include "bench.hpp"
#include "kernels/simd.hpp"
#include "tensor/arena.hpp"
#include "tensor/check.hpp"

namespace diffusion {
namespace {

constexpr int kSums = 12, kRounds = 200'000;  // 12 sums and 2 factors fit in 16 registers
constexpr double kFlops = 2.0 * Simd<float>::width * kSums * kRounds;

/// kFlops of one thread, whose sum is written to results[thread].
auto multiply_adds(std::vector<float>& results) {
    return [&results](int thread) {
        using V = Simd<float>::Vector;
        V sum[kSums] = {}, x = Simd<float>::fill(0.999f), y = Simd<float>::fill(1e-3f);
        // The compiler must not know that all sums are equal: it would compute fewer.
        asm volatile("" : "+m"(sum), "+m"(x), "+m"(y));
        for (int i = 0; i < kRounds; ++i) {
#pragma GCC unroll 12
            for (int k = 0; k < kSums; ++k) sum[k] = sum[k] * x + y;
        }
        for (int k = 1; k < kSums; ++k) sum[0] += sum[k];
        results[static_cast<std::size_t>(thread)] = sum_of_elements<float>(sum[0]);
    };
}

double flops(int threads) {
    std::vector<float> results(static_cast<std::size_t>(threads));
    return kFlops * threads / seconds_per_call(threads, multiply_adds(results)) / 1e9;
}

}  // namespace

double flops_now(int threads) {
    std::vector<float> results(static_cast<std::size_t>(threads));
    constexpr int kTimes = 10;
    const auto start = Clock::now();
    parallel_for(threads, threads, [&](int thread) {
        for (int i = 0; i < kTimes; ++i) multiply_adds(results)(thread);
    });
    return kTimes * kFlops * threads / seconds_since(start) / 1e9;
}

Machine measure_machine(int threads) {
    constexpr int kCount = 16 << 20;  // 64 MiB for each thread: no cache holds them
    std::vector<Arena> memory(static_cast<std::size_t>(threads));
    std::vector<Tensor<float>> from(memory.size()), to(memory.size());
    for (std::size_t i = 0; i < memory.size(); ++i) {
        from[i] = memory[i].zeros<float>({kCount});
        to[i] = memory[i].zeros<float>({kCount});
    }
    std::vector<float> results(memory.size());
    const double reading = seconds_per_call(threads, [&](int thread) {
        const auto i = static_cast<std::size_t>(thread);
        constexpr int w = Simd<float>::width;
        results[i] =
            sum_of_elements<float>(sum_of_terms<Simd<float>::Vector>(kCount / w, [&](int k) {
                return Simd<float>::load(from[i].data() + std::ptrdiff_t{k} * w);
            }));
    });
    const double copying = seconds_per_call(threads, [&](int thread) {
        const auto i = static_cast<std::size_t>(thread);
        std::copy(from[i].begin(), from[i].end(), to[i].begin());
    });
    const double bytes = 4.0 * kCount * threads / 1e9;
    return {threads, flops(1), flops(threads), bytes / reading, 2 * bytes / copying};
}

double message_and_back() {
    constexpr int kTimes = 20'000, kPatience = 20'000'000;
    std::atomic<int> turn = 0;
    std::atomic<bool> alone = false;  // OpenMP may have granted one thread only
    const double time = seconds_per_call(2, [&](int thread) {
        for (int i = 0; i < kTimes && !alone; ++i) {
            for (int spins = 0; turn.load(std::memory_order_acquire) % 2 != thread; ++spins) {
                if (spins == kPatience) {
                    alone = true;
                    return;
                }
            }
            turn.fetch_add(1, std::memory_order_release);
        }
    });
    return alone ? 0 : time / kTimes;
}

double peak_memory() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
#ifdef __APPLE__
    return static_cast<double>(usage.ru_maxrss) / (1 << 20);
#else
    return static_cast<double>(usage.ru_maxrss) / (1 << 10);
#endif
}

Table::Table(const std::filesystem::path& path, const std::string& columns)
    : path_(path), file_(path) {
    file_ << columns << '\n';
    require(static_cast<bool>(file_.flush()), path_.string(), ": cannot be written");
}

void Table::row(const std::vector<std::string>& fields) {
    for (std::size_t i = 0; i < fields.size(); ++i)
        file_ << (i > 0 ? "," : "") << '"' << fields[i] << '"';
    file_ << '\n';
    require(static_cast<bool>(file_.flush()), path_.string(), ": cannot be written");
}

}  // namespace diffusion
