#include "05_measuring/neighbours.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "kernels/gemm.hpp"
#include "kernels/threads.hpp"
#include "tensor/arena.hpp"
#include "tensor/array.hpp"

namespace diffusion {
namespace {

constexpr int kRows = 24;  // of x that one core takes at a time

std::vector<float> squared_lengths(Tensor<const float> x) {
    std::vector<float> lengths;
    for (int i = 0; i < x.size(0); ++i) {
        float sum = 0;
        for (const float v : x[i]) sum += v * v;
        lengths.push_back(sum);
    }
    return lengths;
}

}  // namespace

void for_each_row_of_distances(Tensor<const float> x, Tensor<const float> y,
                               const std::function<void(int i, std::span<const float> d)>& visit) {
    require(x.rank() == 2 && y.rank() == 2 && x.size(1) == y.size(1), "distances: shapes are ",
            x.shape(), " and ", y.shape());
    const int n = x.size(0), m = y.size(0), d = x.size(1);
    const std::vector<float> xx = squared_lengths(x), yy = squared_lengths(y);
    Arena memory;
    const Packed<float> packed = pack<float>(d, m, transposed(y.data(), d), memory);
    parallel_for((n + kRows - 1) / kRows, thread_count(), [&](int block) {
        thread_local Array<float> products;
        const int first = block * kRows, count = std::min(kRows, n - first);
        if (std::ssize(products) < static_cast<std::ptrdiff_t>(count) * m)
            products = Array<float>({count, m});
        gemm<float>(count, by_rows(x[first].data(), d), packed, products.data(), false);
        for (int i = 0; i < count; ++i) {
            float* row = products.data() + static_cast<std::ptrdiff_t>(i) * m;
            const int number = first + i;
            const float length = xx[static_cast<std::size_t>(number)];
            for (int j = 0; j < m; ++j) {
                const float square = length + yy[static_cast<std::size_t>(j)] - 2 * row[j];
                row[j] = square > 0 ? square : 0;  // (5.12); rounding can make it negative
            }
            visit(number, {row, static_cast<std::size_t>(m)});
        }
    });
}

Neighbours nearest_neighbours(Tensor<const float> x, Tensor<const float> y, int k, bool same) {
    require(k >= 1 && y.size(0) >= k + (same ? 1 : 0), "nearest_neighbours: ", k, " among ",
            y.size(0), " points");
    Neighbours found{k, {}, {}};
    const auto size = static_cast<std::size_t>(x.size(0)) * static_cast<std::size_t>(k);
    found.index.resize(size);
    found.distance.resize(size);
    for_each_row_of_distances(x, y, [&](int i, std::span<const float> d) {
        int* index = found.index.data() + static_cast<std::ptrdiff_t>(i) * k;
        float* best = found.distance.data() + static_cast<std::ptrdiff_t>(i) * k;
        std::fill_n(best, k, std::numeric_limits<float>::infinity());
        for (int j = 0; j < static_cast<int>(d.size()); ++j) {
            const float square = d[static_cast<std::size_t>(j)];
            if (!(square < best[k - 1]) || (same && i == j)) continue;
            int place = k - 1;
            for (; place > 0 && square < best[place - 1]; --place) {
                best[place] = best[place - 1];
                index[place] = index[place - 1];
            }
            best[place] = square;
            index[place] = j;
        }
        for (int p = 0; p < k; ++p) best[p] = std::sqrt(best[p]);
    });
    return found;
}

PrecisionRecall precision_recall(Tensor<const float> samples, Tensor<const float> real, int k) {
    const auto covered = [k](Tensor<const float> points, Tensor<const float> by) {
        const Neighbours own = nearest_neighbours(by, by, k, true);
        std::atomic<int> count = 0;
        for_each_row_of_distances(points, by, [&](int, std::span<const float> d) {
            for (std::size_t j = 0; j < d.size(); ++j) {
                // >>> exercise 5.3 points=2 hint="(5.13): is the point within the radius of point j?"
                const float radius = own.distance[(j + 1) * static_cast<std::size_t>(k) - 1];
                if (d[j] <= radius * radius) {  // (5.13)
                    ++count;
                    break;
                }
                // <<<
            }
        });
        return static_cast<double>(count) / points.size(0);
    };
    return {covered(samples, real), covered(real, samples)};
}

}  // namespace diffusion
