#pragma once
// What the benchmarks share: a clock, and a table that is printed and written as CSV.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "app/progress.hpp"
#include "kernels/threads.hpp"

namespace diffusion {

inline double median(std::vector<double> x) {
    std::nth_element(x.begin(), x.begin() + std::ssize(x) / 2, x.end());
    return x[x.size() / 2];
}

/// Median seconds of one call of work(thread), which all threads make at the same time: seven
/// rounds of as many calls as take 10 ms, so that neither the start of the threads nor cold caches
/// count.
template <class Work>
double seconds_per_call(int threads, Work work) {
    const auto seconds = [&](int calls) {
        const auto start = Clock::now();
        parallel_for(threads, threads, [&](int thread) {
            for (int i = 0; i < calls; ++i) work(thread);
        });
        return seconds_since(start);
    };
    int calls = 1;
    while (std::min(seconds(calls), seconds(calls)) < 0.01) calls *= 2;  // one may be disturbed
    std::vector<double> times;
    for (int round = 0; round < 7; ++round) times.push_back(seconds(calls) / calls);
    return median(times);
}

/// A table as CSV: names of columns, then rows of text.
class Table {
public:
    Table(const std::filesystem::path& path, const std::string& columns);
    void row(const std::vector<std::string>& fields);

private:
    std::filesystem::path path_;
    std::ofstream file_;
};

/// What this machine can do at most with one and with all threads.
struct Machine {
    int threads;
    double flops_one, flops_all;  ///< fused multiply-adds that wait for nothing, in GFLOP/s
    double read, copy;            ///< main memory, all threads, in GB/s
};
Machine measure_machine(int threads);
/// flops_one or flops_all alone, in some milliseconds.
double flops_now(int threads);

/// Seconds for a message from one core to another and back; 0 if there is no other. Of virtual
/// cores that the host places far from each other, without a shared cache, it is several times what
/// it is of near ones.
double message_and_back();

/// The most memory that this process has had, in MiB.
double peak_memory();

/// Ways to convolve one shape, from the obvious loops to the ones in use, one thread.
void bench_versions(const Machine& machine, const std::filesystem::path& folder);

/// Every kernel on the shapes of the reference UNet.
void bench_kernels(const Machine& machine, const std::filesystem::path& folder);

/// Operations at the sizes of Stable Diffusion's networks and of ours that have words.
void bench_sizes(const Machine& machine, const std::filesystem::path& folder);

/// Calls of Stable Diffusion's networks with random weights, and their memory: some 5 GB.
void bench_stable_diffusion(const std::filesystem::path& folder);

/// A UNet and how it is used.
struct NetworkOptions {
    int base = 32, batch = 64, pixels = 28, channels = 1, rounds = 7;
    std::vector<int> multipliers = {1, 2, 2};
    std::string optimizer = "adam";
};
/// Pictures per second in training, in one call of the network, and when drawing.
void bench_network(const NetworkOptions& options, int threads, const std::filesystem::path& folder);

/// How the time of a training step grows with the network, the batch, the picture and the threads.
void bench_growth(int threads, const std::filesystem::path& folder);

/// How long it takes to open a model of 1 GiB, whose file lies in the folder meanwhile, beside
/// copies of its bytes, and how much memory.
void bench_open(int threads, const std::filesystem::path& folder);

}  // namespace diffusion
