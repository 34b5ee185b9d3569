// Times the ways to convolve, and the convolutions of the reference UNet against this machine's
// peak: make bench. Rates count the multiplications and additions of the direct form, so Winograd's
// may exceed the peak. The last column is the relative error of the forward pass in float, against
// obvious loops in double, in units of 1e-7.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <utility>
#include <vector>

#include "app/app.hpp"
#include "kernels/conv.hpp"
#include "kernels/simd.hpp"
#include "kernels/threads.hpp"
#include "tensor/random.hpp"

namespace diffusion {
namespace {

using Clock = std::chrono::steady_clock;

/// Median seconds of one call of work(thread), which all threads make at the same time.
template <class Work>
double seconds(int threads, int calls, Work work) {
    std::vector<double> times;
    for (int round = 0; round < 7; ++round) {
        const auto start = Clock::now();
        parallel_for(threads, threads, [&](int thread) {
            for (int i = 0; i < calls; ++i) work(thread);
        });
        const std::chrono::duration<double> span = Clock::now() - start;
        times.push_back(span.count() / calls);
    }
    std::nth_element(times.begin(), times.begin() + 3, times.end());
    return times[3];
}

/// GFLOP/s of fused multiply-adds that wait for nothing: the most this machine can do.
double peak(int threads) {
    using V = Simd<float>::Vector;
    constexpr int kSums = 12, kRounds = 100'000;  // 12 sums and 2 factors fit in 16 registers
    std::vector<float> results(static_cast<std::size_t>(threads));
    const double time = seconds(threads, 1, [&](int thread) {
        V sum[kSums] = {}, x = Simd<float>::fill(0.999f), y = Simd<float>::fill(1e-3f);
        asm volatile("" : "+m"(x), "+m"(y));
        for (int i = 0; i < kRounds; ++i) {
#pragma GCC unroll 12
            for (int k = 0; k < kSums; ++k) sum[k] = sum[k] * x + y;
        }
        for (int k = 1; k < kSums; ++k) sum[0] += sum[k];
        results[static_cast<std::size_t>(thread)] = sum[0][0];
    });
    return 2.0 * Simd<float>::width * kSums * kRounds * threads / time / 1e9;
}

/// Of the forward pass for one image of standard normal numbers, in the Euclidean norm.
double relative_error(int size, int in, int out) {
    Arena memory, scratch;
    const auto both = [&](Shape shape, std::uint32_t stream) {
        const Tensor<float> x = memory.make<float>(shape);
        const Tensor<double> exact = memory.make<double>(shape);
        fill_normal(x, Random(1, Purpose::test, stream));
        std::copy(x.begin(), x.end(), exact.begin());
        return std::pair(x, exact);
    };
    const auto [x, x2] = both({1, size, size, in}, 0);
    const auto [w, w2] = both({3, 3, in, out}, 1);
    const Tensor<float> y = memory.make<float>({1, size, size, out});
    const Tensor<double> y2 = memory.make<double>(y.shape());
    conv2d<float>(x, w, 1, y, scratch);
    conv2d_obvious<double>(x2, w2, 1, y2);
    double error = 0, norm = 0;
    for (std::ptrdiff_t i = 0; i < y.numel(); ++i) {
        const double d = static_cast<double>(y.data()[i]) - y2.data()[i];
        error += d * d;
        norm += y2.data()[i] * y2.data()[i];
    }
    return std::sqrt(error / norm);
}

void convolutions(int threads, double most) {
    struct Case {
        int images, size, in, out;
    };
    std::printf("%-26s%10s%10s%10s   %-16s%s\n", "3x3, stride 1, GFLOP/s", "forward", "data",
                "weights", "share of peak", "error, 1e-7");
    for (const Case c : {Case{8, 28, 16, 16}, Case{8, 28, 32, 32}, Case{8, 28, 64, 32},
                         Case{8, 28, 96, 32}, Case{8, 14, 32, 64}, Case{8, 14, 64, 64},
                         Case{8, 14, 128, 64}, Case{8, 7, 64, 64}, Case{8, 7, 128, 64}}) {
        struct Memory {
            Arena arena, scratch;
            Tensor<float> x, w, y;
        };
        std::vector<Memory> all(static_cast<std::size_t>(threads));
        for (Memory& m : all) {
            m.x = m.arena.make<float>({c.images, c.size, c.size, c.in});
            m.w = m.arena.make<float>({3, 3, c.in, c.out});
            m.y = m.arena.make<float>({c.images, c.size, c.size, c.out});
            for (const Tensor<float> t : {m.x, m.w, m.y}) fill_normal(t, Random(1, Purpose::test));
        }
        const double flops = 2.0 * 9 * c.in * c.out * c.size * c.size * c.images * threads / 1e9;
        const auto rate = [&](auto work) {
            return flops / seconds(threads, 10, [&](int thread) {
                       Memory& m = all[static_cast<std::size_t>(thread)];
                       m.scratch.reset();
                       work(m);
                   });
        };
        const double forward = rate([](Memory& m) { conv2d<float>(m.x, m.w, 1, m.y, m.scratch); });
        const double data =
            rate([](Memory& m) { conv2d_data_vjp<float>(m.y, m.w, 1, false, m.x, m.scratch); });
        const double weights =
            rate([](Memory& m) { conv2d_weight_vjp<float>(m.x, m.y, 1, m.w, m.scratch); });
        char name[64];
        std::snprintf(name, sizeof name, "%dx%d %d -> %d, %d images", c.size, c.size, c.in, c.out,
                      c.images);
        std::printf("%-26s%10.0f%10.0f%10.0f   %.2f %.2f %.2f  %.1f\n", name, forward, data,
                    weights, forward / most, data / most, weights / most,
                    1e7 * relative_error(c.size, c.in, c.out));
    }
}

/// One shape, forward, one thread: the three ways of chapter 4's lesson.
void versions(double most) {
    Arena memory, scratch;
    constexpr int kSize = 28, kChannels = 32, kImages = 4;
    const Tensor<float> x = memory.make<float>({kImages, kSize, kSize, kChannels}),
                        w = memory.make<float>({3, 3, kChannels, kChannels}),
                        y = memory.make<float>(x.shape());
    for (const Tensor<float> t : {x, w}) fill_normal(t, Random(1, Purpose::test));
    const double flops = 2.0 * 9 * kChannels * kChannels * kSize * kSize * kImages / 1e9;
    const auto print = [&](const char* name, int calls, auto work) {
        const double rate = flops / seconds(1, calls, [&](int) {
                                scratch.reset();
                                work();
                            });
        std::printf("%-44s%10.1f%10.2f\n", name, rate, rate / most);
    };
    std::printf("%-44s%10s%10s\n", "28x28 32 -> 32, 4 images, forward, 1 thread", "GFLOP/s",
                "of peak");
    print("seven loops", 1, [&] { conv2d_obvious<float>(x, w, 1, y); });
    print("rows of windows, register tiles", 10,
          [&] { conv2d_direct<float>(x, w, 1, y, scratch); });
    print("Winograd's 36 products for 144", 10, [&] { conv2d<float>(x, w, 1, y, scratch); });
    std::printf("\n");
}

}  // namespace
}  // namespace diffusion

int main(int argc, char** argv) {
    using namespace diffusion;
    CLI::App app("Times the kernels against the machine's peak.", "kernels");
    int threads = 0;
    app.add_option("--threads", threads, "0: all cores")->check(CLI::NonNegativeNumber);
    return run_app(app, argc, argv, [&] {
        threads = pick_threads(threads);
        const double one = peak(1), most = peak(threads);
        std::printf("%s\nmultiply-add peak: %.0f GFLOP/s with 1 thread, %.0f with %d\n\n",
                    simd_description().c_str(), one, most, threads);
        versions(one);
        convolutions(threads, most);
    });
}
