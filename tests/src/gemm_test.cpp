#include "kernels/gemm.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/simd.hpp"
#include "tensor/random.hpp"

#ifdef _OPENMP
#include <omp.h>
#endif

using namespace diffusion;

namespace {

template <class T>
std::vector<T> normals(std::ptrdiff_t n, std::uint32_t stream) {
    std::vector<T> x(static_cast<std::size_t>(n));
    fill_normal(Tensor<T>(x.data(), {static_cast<int>(n)}), Random(3, Purpose::test, stream));
    return x;
}

/// Three loops.
template <class T>
void gemm_obvious(int m, int n, int k, Strided<T> a, Strided<T> b, T* c, bool accumulate) {
    for (int i = 0; i < m; ++i) {
        for (int j = 0; j < n; ++j) {
            T sum = 0;
            for (int p = 0; p < k; ++p)
                sum += a.data[i * a.row + p * a.column] * b.data[p * b.row + j * b.column];
            T& out = c[static_cast<std::ptrdiff_t>(i) * n + j];
            out = accumulate ? out + sum : sum;
        }
    }
}

/// Fast against obvious, and both against the error bound |error| <= k eps sum |a||b|.
template <class T>
void check_product(int m, int n, int k, bool transpose_a, bool transpose_b, bool accumulate) {
    CAPTURE(m);
    CAPTURE(n);
    CAPTURE(k);
    CAPTURE(transpose_a);
    CAPTURE(transpose_b);
    CAPTURE(accumulate);
    constexpr int kOffset = 1;  // misaligned on purpose
    const auto a = normals<T>(m * k + kOffset, 1), b = normals<T>(k * n + kOffset, 2);
    auto fast = normals<T>(m * n, 3), obvious = fast, size = fast;
    const auto view = [](const std::vector<T>& x, int rows, int columns, bool transpose) {
        const T* p = x.data() + kOffset;
        return transpose ? transposed(p, rows) : by_rows(p, columns);
    };
    const Strided<T> va = view(a, m, k, transpose_a), vb = view(b, k, n, transpose_b);
    Arena scratch;
    gemm(m, n, k, va, vb, fast.data(), accumulate, scratch);
    gemm_obvious(m, n, k, va, vb, obvious.data(), accumulate);
    for (int i = 0; i < m; ++i) {
        for (int j = 0; j < n; ++j) {
            const auto at = static_cast<std::size_t>(i * n + j);
            T bound = accumulate ? std::abs(size[at]) : T(0);
            for (int p = 0; p < k; ++p) {
                bound += std::abs(va.data[i * va.row + p * va.column] *
                                  vb.data[p * vb.row + j * vb.column]);
            }
            bound *= static_cast<T>(k + 2) * std::numeric_limits<T>::epsilon();
            REQUIRE(std::abs(fast[at] - obvious[at]) <= bound);
        }
    }
}

}  // namespace

TEST_SUITE_BEGIN("src kernel");

TEST_CASE_TEMPLATE("gemm equals three loops within k epsilon on tiny, odd and large shapes", T,
                   float, double) {
    for (int m : {1, 2, 6, 7, 12, 13, 25, 49}) {
        for (int n : {1, 3, 15, 16, 17, 32, 33, 64, 70}) {
            for (int k : {0, 1, 2, 9, 48, 97}) {
                check_product<T>(m, n, k, false, false, (m + n + k) % 2 == 0);
            }
        }
    }
    for (bool ta : {false, true}) {
        for (bool tb : {false, true}) {
            check_product<T>(28, 32, 288, ta, tb, false);
            check_product<T>(96, 31, 50, ta, tb, true);
            check_product<T>(40, 600, 300, ta, tb, true);
            check_product<T>(73, 33, 2100, ta, tb, false);
        }
    }
}

TEST_CASE("large products are made in blocks, by any number of cores, and equal three loops") {
    // More rows than columns, so that the rows are shared out: blocks of the columns and of the
    // rows of a large b, of which not all sums stay in the cache; blocks of the depth beside them;
    // and blocks of many rows beside a small b.
    struct Case {
        int m, n, k;
    };
    for (const Case c : {Case{1100, 560, 300}, Case{300, 200, 2100}, Case{2400, 35, 33}}) {
        for (const bool transpose_a : {false, true}) {
            check_product<float>(c.m, c.n, c.k, transpose_a, !transpose_a, true);
            std::vector<float> on_all;
#ifdef _OPENMP
            const int most = omp_get_max_threads();
            for (const int threads : {most, 1, 3}) {
                omp_set_num_threads(threads);
                const auto a = normals<float>(c.m * c.k, 1), b = normals<float>(c.k * c.n, 2);
                std::vector<float> y(static_cast<std::size_t>(c.m) * static_cast<std::size_t>(c.n));
                Arena scratch;
                gemm(c.m, c.n, c.k,
                     transpose_a ? transposed(a.data(), c.m) : by_rows(a.data(), c.k),
                     by_rows(b.data(), c.n), y.data(), false, scratch);
                if (on_all.empty()) on_all = y;
                CHECK(y == on_all);
            }
            omp_set_num_threads(most);
#endif
        }
    }
}

TEST_CASE_TEMPLATE("gemm adds a row, writes rows that lie apart, and reads the same panels twice",
                   T, float, double) {
    for (int n : {1, 3, 16, 17, 32, 33, 64}) {
        CAPTURE(n);
        constexpr int m = 13, k = 9;
        const int apart = n + 5;
        const auto a = normals<T>(m * k, 1), b = normals<T>(k * apart, 2), row = normals<T>(n, 3),
                   start = normals<T>(m * apart, 4);
        Arena scratch;
        const Packed<T> panels = pack<T>(k, n, {b.data(), apart, 1}, scratch);
        std::vector<T> product(static_cast<std::size_t>(m * n));
        gemm_obvious<T>(m, n, k, by_rows(a.data(), k), {b.data(), apart, 1}, product.data(), false);
        for (bool accumulate : {false, true}) {
            for (bool plus : {false, true}) {
                std::vector<T> c = start;
                gemm<T>(m, by_rows(a.data(), k), panels, c.data(), accumulate, apart,
                        plus ? row.data() : nullptr);
                for (int i = 0; i < m; ++i) {
                    for (int j = 0; j < apart; ++j) {
                        const auto at = static_cast<std::size_t>(i * apart + j);
                        if (j >= n) {
                            CHECK(c[at] == start[at]);  // between the rows nothing is touched
                            continue;
                        }
                        const T sum = product[static_cast<std::size_t>(i * n + j)] +
                                      (accumulate ? start[at] : T(0)) +
                                      (plus ? row[static_cast<std::size_t>(j)] : T(0));
                        CHECK(std::abs(c[at] - sum) < 100 * std::numeric_limits<T>::epsilon());
                    }
                }
            }
        }
    }
}

TEST_CASE("gemm reads overlapping rows: the windows of a convolution") {
    const std::vector<float> x{1, 2, 3, 4, 5}, kernel{1, 10, 100};
    std::vector<float> y(3);
    Arena scratch;
    gemm<float>(3, 1, 3, {x.data(), 1, 1}, by_rows(kernel.data(), 1), y.data(), false, scratch);
    CHECK(y == std::vector<float>{321, 432, 543});
}

TEST_CASE_TEMPLATE("transposes are exact for any size, and write nothing else", T, float, double) {
    for (int rows = 1; rows <= 9; ++rows) {
        for (int columns = 1; columns <= 9; ++columns) {
            CAPTURE(rows);
            CAPTURE(columns);
            const int from_row = columns + 2, to_row = rows + 3;
            std::vector<T> from(static_cast<std::size_t>(rows * from_row)),
                to(static_cast<std::size_t>(columns * to_row), T(-1));
            for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<T>(i);
            transpose(rows, columns, from.data(), from_row, to.data(), to_row);
            int wrong = 0;
            for (int j = 0; j < columns; ++j) {
                for (int i = 0; i < to_row; ++i) {
                    const T expected = i < rows ? static_cast<T>(i * from_row + j) : T(-1);
                    wrong += to[static_cast<std::size_t>(j * to_row + i)] == expected ? 0 : 1;
                }
            }
            CHECK(wrong == 0);
        }
    }
}

TEST_SUITE_END();
