#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "02_gradients/gradient_check.hpp"
#include "02_gradients/ops.hpp"
#include "04_unet/attention.hpp"
#include "support/varied.hpp"

using namespace diffusion;
using Vars = std::vector<Var<double>>;

namespace {

constexpr double kTolerance = 1e-7;
constexpr std::array<unsigned char, 10> kKeep{1, 0, 1, 1, 0, 0, 1, 1, 1, 1};

template <class T>
Tensor<T> normal(Arena& memory, Shape shape, std::uint32_t stream) {
    const Tensor<T> x = memory.make<T>(shape);
    fill_normal(x, Random(varied_seed(31), Purpose::test, stream));
    return x;
}

}  // namespace

TEST_SUITE_BEGIN("ch04 grad");

TEST_CASE(
    "(4.9) (4.10) attention: VJPs equal central differences, self and cross, with and without a "
    "mask") {
    CHECK(gradient_error({{2, varied_size(3), 4}, {2, 5, 4}, {2, 5, 4}}, [](auto&, const Vars& v) {
              return attention(v[0], v[1], v[2], 2);
          }) < kTolerance);
    CHECK(gradient_error({{2, 3, 4}, {2, 5, 4}, {2, 5, 4}}, [](auto&, const Vars& v) {
              return attention(v[0], v[1], v[2], 2, std::span<const unsigned char>(kKeep));
          }) < kTolerance);
    CHECK(gradient_error({{1, 4, 6}}, [](auto&, const Vars& v) {
              return attention(v[0], v[0], v[0], 3);
          }) < kTolerance);
}

TEST_SUITE_END();
TEST_SUITE_BEGIN("ch04 math");

TEST_CASE("(4.9) attention does not know the order of its keys, and follows that of its queries") {
    Arena memory, arena;
    Tape<double> tape(arena);
    const Tensor<double> q = normal<double>(memory, {1, 4, 6}, 1),
                         k = normal<double>(memory, {1, 5, 6}, 2),
                         v = normal<double>(memory, {1, 5, 6}, 3);
    const auto permuted = [&](Tensor<double> x) {  // row i goes to place 3 i + 1 mod L
        const Tensor<double> y = memory.make<double>(x.shape());
        const int rows = x.size(1);
        for (int i = 0; i < rows; ++i) {
            for (int c = 0; c < 6; ++c) y(0, (3 * i + 1) % rows, c) = x(0, i, c);
        }
        return y;
    };
    const auto attend = [&](Tensor<double> a, Tensor<double> b, Tensor<double> c) {
        return attention(tape.constant(a), tape.constant(b), tape.constant(c), 2).value();
    };
    const Tensor<double> y = attend(q, k, v), keys = attend(q, permuted(k), permuted(v)),
                         queries = attend(permuted(q), k, v);
    const Tensor<double> expected = permuted(y);
    for (std::ptrdiff_t i = 0; i < y.numel(); ++i) {
        CHECK(keys.data()[i] == doctest::Approx(y.data()[i]).epsilon(1e-13));
        CHECK(queries.data()[i] == doctest::Approx(expected.data()[i]).epsilon(1e-13));
    }
}

TEST_CASE(
    "(4.9) a masked key changes nothing, whatever its values, and equal scores give the plain "
    "mean") {
    Arena memory, arena;
    Tape<double> tape(arena);
    const Tensor<double> q = normal<double>(memory, {1, 2, 4}, 1),
                         k = normal<double>(memory, {1, 3, 4}, 2),
                         v = normal<double>(memory, {1, 3, 4}, 3);
    const std::array<unsigned char, 3> keep{1, 1, 0}, none{0, 0, 0};
    const auto attend = [&](std::span<const unsigned char> mask) {
        return attention(tape.constant(q), tape.constant(k), tape.constant(v), 1, mask);
    };
    const Tensor<double> y = attend(keep).value();
    for (int c = 0; c < 4; ++c) k(0, 2, c) = v(0, 2, c) = 1e9;
    const Tensor<double> again = attend(keep).value();
    for (std::ptrdiff_t i = 0; i < y.numel(); ++i) CHECK(again.data()[i] == y.data()[i]);
    for (double& value : k) value = 0;
    const Tensor<double> mean = attend(keep).value();
    for (int c = 0; c < 4; ++c)
        CHECK(mean(0, 0, c) == doctest::Approx((v(0, 0, c) + v(0, 1, c)) / 2).epsilon(1e-14));
    CHECK_THROWS_WITH_AS(attend(none), "attention: image 0 keeps no key", Error);
}

TEST_CASE_TEMPLATE("(4.9) (4.10) attention in blocks equals whole matrices of weights", T, float,
                   double) {
    // 70 queries and 300 keys are 2 x 3 blocks; the second block of keys is struck out as a whole,
    // the first in part, and the scores differ by hundreds.
    const int L = varied_size(70);
    constexpr int S = 300, D = 5;
    Arena memory, arena;
    const auto make = [&](int rows, std::uint32_t stream) {
        const Tensor<T> x = memory.make<T>({1, rows, D});
        fill_normal(x, Random(varied_seed(43), Purpose::test, stream));
        return x;
    };
    const Tensor<T> q = make(L, 1), k = make(S, 2), v = make(S, 3), dy = make(L, 4);
    for (T& x : q) x *= 20;
    std::vector<unsigned char> keep(S, 1);
    for (int j = 100; j < 270; ++j) keep[static_cast<std::size_t>(j)] = 0;
    Tape<T> tape(arena);
    const Tensor<T> dq = memory.zeros<T>(q.shape()), dk = memory.zeros<T>(k.shape()),
                    dv = memory.zeros<T>(v.shape());
    const Var<T> y = attention(tape.leaf(q, dq), tape.leaf(k, dk), tape.leaf(v, dv), 1,
                               std::span<const unsigned char>(keep));
    const Tensor<T> value = y.value();
    tape.backward(sum(mul(y, tape.constant(dy))));

    const auto at = [](Tensor<T> x, int row, int c) { return static_cast<double>(x(0, row, c)); };
    std::vector<double> y2(L * D), dq2(L * D), dk2(S * D), dv2(S * D), p(S), dp(S);
    for (int i = 0; i < L; ++i) {
        double largest = -1e300, total = 0, mean = 0;
        for (int j = 0; j < S; ++j) {
            double s = 0;
            for (int c = 0; c < D; ++c) s += at(q, i, c) * at(k, j, c) / std::sqrt(D);
            p[static_cast<std::size_t>(j)] = s;
            if (keep[static_cast<std::size_t>(j)] != 0) largest = std::max(largest, s);
        }
        for (std::size_t j = 0; j < S; ++j) total += p[j] = keep[j] * std::exp(p[j] - largest);
        for (int j = 0; j < S; ++j) {
            const auto n = static_cast<std::size_t>(j);
            p[n] /= total;
            dp[n] = 0;
            for (int c = 0; c < D; ++c) {
                y2[static_cast<std::size_t>(i * D + c)] += p[n] * at(v, j, c);
                dp[n] += at(dy, i, c) * at(v, j, c);
                dv2[static_cast<std::size_t>(j * D + c)] += p[n] * at(dy, i, c);
            }
            mean += p[n] * dp[n];
        }
        for (int j = 0; j < S; ++j) {
            const auto n = static_cast<std::size_t>(j);
            const double ds = p[n] * (dp[n] - mean) / std::sqrt(D);
            for (int c = 0; c < D; ++c) {
                dq2[static_cast<std::size_t>(i * D + c)] += ds * at(k, j, c);
                dk2[static_cast<std::size_t>(j * D + c)] += ds * at(q, i, c);
            }
        }
    }
    // A score of 100 is known to 100 epsilon, and so is its exponential.
    const double bound = 500 * static_cast<double>(std::numeric_limits<T>::epsilon());
    const auto difference = [](Tensor<T> a, const std::vector<double>& b) {
        double error = 0, norm = 0;
        for (std::size_t i = 0; i < b.size(); ++i) {
            error += std::pow(static_cast<double>(a.data()[i]) - b[i], 2);
            norm += b[i] * b[i];
        }
        return std::sqrt(error / norm);
    };
    CHECK(difference(value, y2) < bound);
    CHECK(difference(dq, dq2) < bound);
    CHECK(difference(dk, dk2) < bound);
    CHECK(difference(dv, dv2) < bound);
}

TEST_SUITE_END();
