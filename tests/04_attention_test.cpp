#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "02_gradients/gradient_check.hpp"
#include "02_gradients/ops.hpp"
#include "04_unet/attention.hpp"
#include "04_unet/plain_ops.hpp"
#include "support/exact.hpp"
#include "support/varied.hpp"

#ifdef _OPENMP
#include <omp.h>
#endif

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
              return attention(v[0], v[1], v[2], {2});
          }) < kTolerance);
    CHECK(gradient_error({{2, 3, 4}, {2, 5, 4}, {2, 5, 4}}, [](auto&, const Vars& v) {
              return attention(v[0], v[1], v[2], {.heads = 2, .keep = kKeep});
          }) < kTolerance);
    CHECK(gradient_error({{1, 4, 6}}, [](auto&, const Vars& v) {
              return attention(v[0], v[0], v[0], {3});
          }) < kTolerance);
}

TEST_CASE("(4.9) (4.10) attention: VJPs with a causal mask, a learned bias and a scale") {
    const Shape queries{2, varied_size(3), 4}, keys{2, 8, 4}, bias{2, varied_size(3), 8};
    CHECK(gradient_error({queries, keys, keys}, [](auto&, const Vars& v) {
              return attention(v[0], v[1], v[2], {.heads = 2, .causal = true});
          }) < kTolerance);
    CHECK(gradient_error({queries, keys, keys, bias}, [](auto&, const Vars& v) {
              return attention(v[0], v[1], v[2], {.heads = 2, .bias = v[3], .scale = 0.3});
          }) < kTolerance);
    std::array<unsigned char, 16> keep;
    keep.fill(1);
    keep[1] = keep[9] = keep[14] = 0;
    CHECK(gradient_error({queries, keys, keys, bias}, [&](auto&, const Vars& v) {
              return attention(
                  v[0], v[1], v[2],
                  {.heads = 2, .keep = keep, .causal = true, .bias = v[3], .scale = 1.5});
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
        return attention(tape.constant(a), tape.constant(b), tape.constant(c), {2}).value();
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
        return attention(tape.constant(q), tape.constant(k), tape.constant(v), {.keep = mask});
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

TEST_CASE("(4.9) with a causal mask the last queries see nothing of later keys") {
    // 3 queries that are the last of 5 positions: they see 3, 4 and 5 keys.
    Arena memory, arena;
    Tape<double> tape(arena);
    const Tensor<double> q = normal<double>(memory, {1, 3, 4}, 1),
                         k = normal<double>(memory, {1, 5, 4}, 2),
                         v = normal<double>(memory, {1, 5, 4}, 3);
    const auto y = [&](Mask keep = {}) {
        return attention(tape.constant(q), tape.constant(k), tape.constant(v),
                         {.keep = keep, .causal = true})
            .value();
    };
    const Tensor<double> before = y();
    for (int c = 0; c < 4; ++c) k(0, 3, c) = v(0, 3, c) = 1e3;
    const Tensor<double> after = y();
    for (int c = 0; c < 4; ++c) {
        CHECK(after(0, 0, c) == before(0, 0, c));
        CHECK(after(0, 1, c) != before(0, 1, c));
    }
    for (double& value : k) value = 0;  // equal scores: plain means over what is seen and kept
    const std::array<unsigned char, 5> keep{0, 1, 1, 0, 1};
    const Tensor<double> mean = y(keep);
    for (int c = 0; c < 4; ++c) {
        const double two = v(0, 1, c) + v(0, 2, c);
        CHECK(mean(0, 0, c) == doctest::Approx(two / 2).epsilon(1e-14));
        CHECK(mean(0, 1, c) == doctest::Approx(two / 2).epsilon(1e-14));
        CHECK(mean(0, 2, c) == doctest::Approx((two + v(0, 4, c)) / 3).epsilon(1e-14));
    }
    const std::array<unsigned char, 5> late{0, 0, 0, 1, 1};
    CHECK_THROWS_WITH_AS(y(late), "attention: image 0, query 0 sees no key", Error);
}

TEST_CASE("(4.9) a bias is added to the scores, and the scale is free") {
    Arena memory, arena;
    Tape<double> tape(arena);
    const Tensor<double> q = normal<double>(memory, {2, 2, 2}, 1),
                         v = normal<double>(memory, {2, 2, 2}, 2),
                         bias = memory.zeros<double>({2, 2, 2});
    bias(1, 0, 0) = std::log(3.0);
    // Keys are zeros, so the scores are the bias: weights 3/4 and 1/4 in head 1, row 0.
    const Tensor<double> y =
        attention(tape.constant(q), tape.constant(memory.zeros<double>({2, 2, 2})),
                  tape.constant(v), {.heads = 2, .bias = tape.constant(bias)})
            .value();
    for (int n = 0; n < 2; ++n) {
        CHECK(y(n, 0, 0) == doctest::Approx((v(n, 0, 0) + v(n, 1, 0)) / 2).epsilon(1e-14));
        CHECK(y(n, 0, 1) == doctest::Approx((3 * v(n, 0, 1) + v(n, 1, 1)) / 4).epsilon(1e-14));
        CHECK(y(n, 1, 1) == doctest::Approx((v(n, 0, 1) + v(n, 1, 1)) / 2).epsilon(1e-14));
    }
    // Twice the queries and half the scale are the same.
    const Tensor<double> k = normal<double>(memory, {2, 2, 2}, 3),
                         twice = memory.make<double>(q.shape());
    for (int i = 0; i < 8; ++i) twice.data()[i] = 2 * q.data()[i];
    const auto scaled = [&](Tensor<double> queries, double by) {
        return attention(tape.constant(queries), tape.constant(k), tape.constant(v), {.scale = by})
            .value();
    };
    const Tensor<double> a = scaled(q, 0), b = scaled(twice, 0.5 / std::sqrt(2.0));
    for (int i = 0; i < 8; ++i) CHECK(a.data()[i] == doctest::Approx(b.data()[i]).epsilon(1e-14));
    CHECK_THROWS_WITH_AS(attention(tape.constant(q), tape.constant(k), tape.constant(v),
                                   {.bias = tape.constant(bias)}),
                         "attention: bias is [2,2,2], expected [1,2,2]", Error);
}

TEST_CASE_TEMPLATE("(4.9) (4.10) attention in blocks equals whole matrices of weights", T, float,
                   double) {
    // 290 queries and 400 keys are several blocks of both. One block of keys is struck out as a
    // whole, the first in part, and the scores differ by hundreds.
    const int L = varied_size(290);
    constexpr int S = 400;
    struct Case {
        bool keep, causal, bias;
        int D = 5;
    };
    for (const Case how : {Case{true, false, false}, Case{false, true, false},
                           Case{false, false, true}, Case{true, true, true},
                           Case{false, true, false, 130}}) {  // wide heads have smaller blocks
        const int D = how.D;
        CAPTURE(how.keep);
        CAPTURE(how.causal);
        CAPTURE(how.bias);
        Arena memory, arena;
        const auto make = [&](Shape shape, std::uint32_t stream) {
            const Tensor<T> x = memory.make<T>(shape);
            fill_normal(x, Random(varied_seed(43), Purpose::test, stream));
            return x;
        };
        const Tensor<T> q = make({1, L, D}, 1), k = make({1, S, D}, 2), v = make({1, S, D}, 3),
                        dy = make({1, L, D}, 4), bias = make({1, L, S}, 5);
        for (T& x : q) x *= 20;
        std::vector<unsigned char> keep(S, 1);
        for (int j = 100; j < 270; ++j) keep[static_cast<std::size_t>(j)] = 0;
        Tape<T> tape(arena);
        const Tensor<T> dq = memory.zeros<T>(q.shape()), dk = memory.zeros<T>(k.shape()),
                        dv = memory.zeros<T>(v.shape()), dbias = memory.zeros<T>(bias.shape());
        Attend<T> attend;
        attend.causal = how.causal;
        if (how.keep) attend.keep = keep;
        if (how.bias) attend.bias = tape.leaf(bias, dbias);
        const Var<T> y = attention(tape.leaf(q, dq), tape.leaf(k, dk), tape.leaf(v, dv), attend);
        const Tensor<T> value = y.value();
        tape.backward(sum(mul(y, tape.constant(dy))));

        const Tensor<double> added = memory.zeros<double>({L, S});
        for (int i = 0; i < L; ++i) {
            for (int j = 0; j < S; ++j) {
                if (how.bias) added(i, j) = static_cast<double>(bias(0, i, j));
                if ((how.keep && keep[static_cast<std::size_t>(j)] == 0) ||
                    (how.causal && j > i + S - L))
                    added(i, j) = -std::numeric_limits<double>::infinity();
            }
        }
        const auto exact = [&](Tensor<T> x) { return exactly(x, memory)[0]; };
        const auto zeros = [&](Shape shape) { return memory.zeros<double>(shape); };
        const Tensor<double> P = zeros({L, S}), y2 = zeros({L, D}), dq2 = zeros({L, D}),
                             dk2 = zeros({S, D}), dv2 = zeros({S, D}), dbias2 = zeros({L, S});
        const double scale = 1 / std::sqrt(static_cast<double>(D));
        plain::attention(exact(q), exact(k), exact(v), scale, added, P, y2);
        plain::attention_vjp(exact(dy), exact(q), exact(k), exact(v), scale, P, dq2, dk2, dv2,
                             dbias2);
        // A score of 100 is known to 100 epsilon, and so is its exponential.
        CHECK(epsilons(value, y2) < 500);
        CHECK(epsilons(dq, dq2) < 500);
        CHECK(epsilons(dk, dk2) < 500);
        CHECK(epsilons(dv, dv2) < 500);
        if (how.bias) CHECK(epsilons(dbias, dbias2) < 500);
    }
}

#ifdef _OPENMP
TEST_CASE(
    "(4.9) (4.10) one sequence, shared out by its queries, gives the same bits on any cores") {
    Arena memory;
    const Tensor<float> q = normal<float>(memory, {1, 150, 6}, 1),
                        k = normal<float>(memory, {1, 300, 6}, 2),
                        v = normal<float>(memory, {1, 300, 6}, 3);
    const int most = omp_get_max_threads();
    const auto run = [&](int threads) {
        omp_set_num_threads(threads);
        OwnTape<float> own;
        const Var<float> a = own.tape.leaf(q), b = own.tape.leaf(k), c = own.tape.leaf(v);
        const Var<float> y = attention(a, b, c, {.heads = 2, .causal = true});
        own.tape.backward_from(y, 1.0f);
        omp_set_num_threads(most);
        std::vector<float> all;
        for (const Tensor<float>& x : {y.value(), a.grad(), b.grad(), c.grad()})
            all.insert(all.end(), x.begin(), x.end());
        return all;
    };
    const std::vector<float> one = run(1);
    for (const int threads : {2, 3, 7}) CHECK(run(threads) == one);
}
#endif

TEST_SUITE_END();
