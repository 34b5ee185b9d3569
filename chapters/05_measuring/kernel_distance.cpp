#include "05_measuring/kernel_distance.hpp"

#include <array>
#include <cmath>

#include "kernels/gemm.hpp"
#include "kernels/threads.hpp"
#include "tensor/arena.hpp"

namespace diffusion {
namespace {

constexpr int kGroups = 10;
using Sums = std::array<std::array<double, kGroups>, kGroups>;

int begin_of(int group, int n) {
    return static_cast<int>(static_cast<std::ptrdiff_t>(n) * group / kGroups);
}

/// Sums of k(x_i, y_j) over i in group a of x and j in group b of y; with `same`, over i != j.
Sums kernel_sums(Tensor<const float> x, Tensor<const float> y, bool same) {
    const int d = x.size(1);
    Sums sums{};
    parallel_for(kGroups * kGroups, thread_count(), [&](int pair) {
        const int a = pair / kGroups, b = pair % kGroups;
        const int i0 = begin_of(a, x.size(0)), rows = begin_of(a + 1, x.size(0)) - i0;
        const int j0 = begin_of(b, y.size(0)), columns = begin_of(b + 1, y.size(0)) - j0;
        Arena memory;
        const Tensor<float> products = memory.make<float>({rows, columns});
        gemm<float>(rows, columns, d, by_rows(x[i0].data(), d), transposed(y[j0].data(), d),
                    products.data(), false, memory);
        double sum = 0;
        for (int i = 0; i < rows; ++i) {
            for (int j = 0; j < columns; ++j) {
                if (same && i0 + i == j0 + j) continue;
                const double base = static_cast<double>(products(i, j)) / d + 1;
                sum += base * base * base;  // (5.11)
            }
        }
        sums[static_cast<std::size_t>(a)][static_cast<std::size_t>(b)] = sum;
    });
    return sums;
}

}  // namespace

KernelDistance kernel_distance(Tensor<const float> x, Tensor<const float> y) {
    require(x.rank() == 2 && y.rank() == 2 && x.size(1) == y.size(1),
            "kernel_distance: shapes are ", x.shape(), " and ", y.shape());
    require(x.size(0) >= 2 * kGroups && y.size(0) >= 2 * kGroups, "kernel_distance: ", x.size(0),
            " and ", y.size(0), " points, expected at least ", 2 * kGroups);
    const Sums xx = kernel_sums(x, x, true), yy = kernel_sums(y, y, true),
               xy = kernel_sums(x, y, false);
    // The estimate from all points but those of one group; -1 leaves out nothing.
    const auto estimate = [&](int without) -> double {
        const auto total = [&](const Sums& sums) {
            double sum = 0;
            for (int a = 0; a < kGroups; ++a) {
                for (int b = 0; b < kGroups; ++b) {
                    if (a != without && b != without)
                        sum += sums[static_cast<std::size_t>(a)][static_cast<std::size_t>(b)];
                }
            }
            return sum;
        };
        const auto count = [&](int n) {
            return static_cast<double>(
                without < 0 ? n : n - (begin_of(without + 1, n) - begin_of(without, n)));
        };
        const double n = count(x.size(0)), other = count(y.size(0));
        // >>> exercise 5.4 points=2 hint="(5.10): pairs of a point with itself are not counted"
        return total(xx) / (n * (n - 1)) + total(yy) / (other * (other - 1)) -
               2 * total(xy) / (n * other);  // (5.10)
        // <<<
    };
    double mean = 0, square = 0;
    std::array<double, kGroups> without{};
    for (int g = 0; g < kGroups; ++g) mean += without.at(static_cast<std::size_t>(g)) = estimate(g);
    mean /= kGroups;
    for (const double v : without) square += (v - mean) * (v - mean);
    return {estimate(-1), std::sqrt(square * (kGroups - 1) / kGroups)};  // (5.17)
}

}  // namespace diffusion
