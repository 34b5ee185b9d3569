#pragma once
// The last function of every .cu file: checks against the CPU's code and, on a GPU, times, for the
// program `cuda` (tools/cuda.cu). Only .cu files include this header.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "cuda/tensor_cores.hpp"

namespace diffusion::cuda {

/// What a machine can do at best, measured here and now.
struct Peaks {
    double copy;  ///< bytes read plus bytes written per second, by the library's copy
    /// Multiplications plus additions per second: float without tensor cores, TF32 and BF16 by
    /// mma.sync, the instruction of our kernels (Hopper has a faster one), all of numbers that are
    /// in registers.
    double multiply[3];
};
Peaks measure_peaks();

class Stage {
public:
    /// With `peaks` the kernels are timed, too.
    explicit Stage(const Peaks* peaks) : peaks_(peaks) {}

    /// Says what was compared, the largest difference and what is allowed. A NaN fails.
    void check(const std::string& what, double error, double allowed) {
        const bool good = error <= allowed;
        all_good_ = all_good_ && good;
        std::printf("  %-58s%11.2g  allowed %-9.2g%s\n", what.c_str(), error, allowed,
                    good ? "" : "  WRONG");
    }
    bool all_good() const { return all_good_; }
    /// Says what kept a part from its end.
    void failed(const std::string& why) {
        all_good_ = false;
        std::printf("  %s  WRONG\n", why.c_str());
    }
    /// Says what was counted.
    void say(const std::string& what, std::int64_t count) {
        std::printf("  %-58s%11lld\n", what.c_str(), static_cast<long long>(count));
    }

    bool times() const { return peaks_ != nullptr; }
    /// The best of several runs of f, which moves `bytes` to and from memory and makes `operations`
    /// multiplications and additions; either may be 0. Prints the shares of the peaks.
    void time(const std::string& what, double bytes, double operations,
              const std::function<void()>& f, Precision precision = Precision::fp32) {
        if (!times()) return;
        f();  // once without: code is loaded at its first use
        Timer timer;
        double best = 1e30;
        for (int run = 0; run < 10; ++run) {
            timer.start();
            f();
            best = std::min(best, timer.seconds());
        }
        std::printf("  %-42s%10.3f ms", what.c_str(), 1e3 * best);
        if (bytes > 0) {
            std::printf("%9.0f GB/s, %3.0f %% of a copy", 1e-9 * bytes / best,
                        100 * bytes / best / peaks_->copy);
        }
        if (operations > 0) {
            std::printf("%9.0f GFLOP/s, %3.0f %% of %s's peak", 1e-9 * operations / best,
                        100 * operations / best / peaks_->multiply[static_cast<int>(precision)],
                        precision_name(precision));
        }
        std::printf("\n");
    }

private:
    const Peaks* peaks_;
    bool all_good_ = true;
};

/// The largest |a - b|; NaN if there is one.
template <class A, class B>
double largest_difference(const A& a, const B& b) {
    double largest = 0;
    for (std::size_t i = 0; i < std::size(a); ++i) {
        const double d = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
        if (!(d <= largest)) largest = d;
        if (std::isnan(d)) break;
    }
    return largest;
}

/// The same in units of the last place of b.
inline double largest_difference_in_ulp(const std::vector<float>& a, const std::vector<float>& b) {
    double largest = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        const float unit = std::nextafter(std::abs(b[i]), INFINITY) - std::abs(b[i]);
        const double d = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])) /
                         static_cast<double>(unit);
        if (!(d <= largest)) largest = d;
        if (std::isnan(d)) break;
    }
    return largest;
}

}  // namespace diffusion::cuda
