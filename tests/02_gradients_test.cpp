#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "02_gradients/gradient_check.hpp"
#include "02_gradients/ops.hpp"
#include "support/varied.hpp"

using namespace diffusion;
using Vars = std::vector<Var<double>>;

namespace {
constexpr double kTolerance = 1e-7;  // central differences in double reach about 1e-9 here
constexpr std::array<int, 4> kIds{2, 0, 2, 1};  // of embedding
}  // namespace

TEST_SUITE_BEGIN("ch02 grad");

TEST_CASE("(2.5) central differences pass a right VJP and find wrong ones") {
    const auto with_slope = [](double factor, double offset) {  // y = x^2, slope claimed
        return gradient_error({{2, 3}}, [=](auto& tape, const Vars& v) {
            const Var<double> x = v[0], y = tape.result(x.shape(), x);
            for (std::ptrdiff_t i = 0; i < 6; ++i)
                y.value().data()[i] = x.value().data()[i] * x.value().data()[i];
            tape.record(y, [=] {
                for (std::ptrdiff_t i = 0; i < 6; ++i) {
                    x.grad().data()[i] +=
                        (factor * x.value().data()[i] + offset) * y.grad().data()[i];
                }
            });
            return y;
        });
    };
    CHECK(with_slope(2, 0) < kTolerance);
    CHECK(with_slope(-2, 0) > 1);                  // a sign
    CHECK(with_slope(1, 0) > 0.3);                 // a factor
    CHECK(with_slope(2, 1e-4) > 10 * kTolerance);  // something small

    // A VJP that writes where it should add, or adds to what nobody has set to zero.
    const auto doubled = [](auto send) {
        return gradient_error({{2, 3}}, [=](auto& tape, const Vars& v) {
            const Var<double> x = v[0], y = tape.result(x.shape(), x);
            std::ranges::transform(x.value(), y.value().begin(), [](double u) { return 2 * u; });
            tape.record(y, [=] { send(x, y.grad()); });
            return y;
        });
    };
    CHECK(doubled([](auto x, auto dy) { x.add_to_grad(dy, 2.0); }) < kTolerance);
    CHECK(doubled([](auto x, auto dy) { write_or_add(x.grad(), 2.0, dy, false); }) > 0.1);
    CHECK_FALSE(doubled([](auto x, auto dy) {
                    bool add = true;
                    write_or_add(x.grad_or_room(add), 2.0, dy, true);
                }) < kTolerance);

    // An input with a small gradient is measured by that gradient, not by a larger one's.
    CHECK(gradient_error({{2, 3}, {2, 3}}, [](auto& tape, const Vars& v) {
              const Var<double> large = v[0], small = v[1];
              const Var<double> y = tape.result(large.shape(), large, small);
              for (int i = 0; i < 6; ++i)
                  y.value().data()[i] = large.value().data()[i] + 0.01 * small.value().data()[i];
              tape.record(y, [=] {
                  large.add_to_grad(y.grad());
                  small.add_to_grad(y.grad(), 0.011);
              });
              return y;
          }) == doctest::Approx(0.1).epsilon(1e-6));
}

TEST_CASE("(2.3) (2.4) backward starts from any cotangent") {
    Arena memory, arena;
    Tape<double> tape(arena);
    std::array<double, 3> x{1, 2, 3}, g{10, 20, 30}, dy{varied(0.5), -1, 0};
    const Var<double> leaf = tape.leaf({x.data(), {3}}, {g.data(), {3}});
    const Var<double> y = mul(leaf, leaf);
    tape.backward(y, {dy.data(), {3}});
    for (std::size_t i = 0; i < 3; ++i)
        CHECK(g[i] ==
              doctest::Approx(10.0 * static_cast<double>(i + 1) + 2 * x[i] * dy[i]).epsilon(1e-15));
    CHECK(dy == std::array<double, 3>{varied(0.5), -1, 0});
    CHECK_THROWS_WITH_AS(tape.backward(y, {dy.data(), {1, 3}}),
                         "backward: shapes differ: [3] and [1,3]", Error);
}

TEST_CASE("(2.6) elementwise VJPs equal central differences") {
    const Shape s{3, varied_size(5)};
    CHECK(gradient_error({s, s}, [](auto&, const Vars& v) { return add(v[0], v[1]); }) <
          kTolerance);
    CHECK(gradient_error({s, s}, [](auto&, const Vars& v) { return sub(v[0], v[1]); }) <
          kTolerance);
    CHECK(gradient_error({s, s}, [](auto&, const Vars& v) { return mul(v[0], v[1]); }) <
          kTolerance);
    CHECK(gradient_error({s}, [](auto&, const Vars& v) { return scale(v[0], -2.5); }) < kTolerance);
    CHECK(gradient_error({s}, [](auto&, const Vars& v) { return relu(v[0]); }) < kTolerance);
    CHECK(gradient_error({s}, [](auto&, const Vars& v) { return sigmoid(v[0]); }) < kTolerance);
    CHECK(gradient_error({s}, [](auto&, const Vars& v) { return tanh(v[0]); }) < kTolerance);
    CHECK(gradient_error({s}, [](auto&, const Vars& v) { return silu(v[0]); }) < kTolerance);
    CHECK(gradient_error({s}, [](auto&, const Vars& v) { return gelu(v[0]); }) < kTolerance);
}

TEST_CASE("(2.6) SiLU is x / (1 + e^-x), and its slope what a difference says") {
    Arena arena;
    Tape<double> tape(arena);
    std::array<double, 4> x{-20, varied(-1.2), 0, varied(0.8)};
    const Var<double> leaf = tape.leaf({x.data(), {4}}), y = silu(leaf);
    tape.backward_from(y, 1.0);
    const auto f = [](double v) { return v / (1 + std::exp(-v)); };
    for (int i = 0; i < 4; ++i) {
        const double v = x[static_cast<std::size_t>(i)], h = 1e-5;
        CHECK(y.value()(i) == doctest::Approx(f(v)).epsilon(1e-12));
        CHECK(leaf.grad()(i) == doctest::Approx((f(v + h) - f(v - h)) / (2 * h)).epsilon(1e-8));
    }
}

TEST_CASE("(2.6) exp and log: VJPs equal central differences, and one undoes the other") {
    const Shape s{3, 5};
    CHECK(gradient_error({s}, [](auto&, const Vars& v) { return exp(v[0]); }) < kTolerance);
    CHECK(gradient_error({s}, [](auto&, const Vars& v) {
              return log(add(exp(v[0]), mul(v[0], v[0])));
          }) < kTolerance);
    Arena arena;
    Tape<double> tape(arena);
    std::array<double, 3> x{-2, 0, 3};
    const Tensor<double> y = log(exp(tape.constant({x.data(), {3}}))).value();
    for (int i = 0; i < 3; ++i)
        CHECK(y(i) == doctest::Approx(x[static_cast<std::size_t>(i)]).epsilon(1e-14));
}

TEST_CASE("(2.26) a sum sends its gradient to every element") {
    CHECK(gradient_error({{2, 3, 2}}, [](auto&, const Vars& v) { return sum(mul(v[0], v[0])); }) <
          kTolerance);
    Arena arena;
    Tape<double> tape(arena);
    std::array<double, 4> x{1, 2, 3, 4};
    const Var<double> leaf = tape.leaf({x.data(), {2, 2}}), y = sum(leaf);
    CHECK(y.value()(0) == 10);
    tape.backward(y);
    for (double g : leaf.grad()) CHECK(g == 1);
}

TEST_CASE("(2.27) a learned factor collects the inner product of dy and x") {
    CHECK(gradient_error({{3, 4}, {1}}, [](auto&, const Vars& v) {
              return scale_by(v[0], exp(v[1]));
          }) < kTolerance);
    Arena arena;
    Tape<double> tape(arena);
    const Var<double> x = tape.constant(arena.zeros<double>({2, 3}));
    CHECK_THROWS_WITH_AS(scale_by(x, x),
                         "scale_by: the factor must be one number, its shape is [2,3]", Error);
}

TEST_CASE("(2.28) matmul: both VJPs equal central differences, with and without a transpose") {
    CHECK(gradient_error({{3, 4}, {4, 5}},
                         [](auto&, const Vars& v) { return matmul(v[0], v[1]); }) < kTolerance);
    CHECK(gradient_error({{3, 4}, {5, 4}}, [](auto&, const Vars& v) {
              return matmul(v[0], v[1], true);
          }) < kTolerance);
    CHECK(gradient_error({{3, 4}}, [](auto&, const Vars& v) {  // the same value on both sides
              return matmul(v[0], v[0], true);
          }) < kTolerance);
    Arena arena;
    Tape<double> tape(arena);
    const Var<double> a = tape.constant(arena.zeros<double>({2, 3}));
    CHECK(gradient_error({{3, 4}}, [](auto&, const Vars& v) { return transpose(v[0]); }) <
          kTolerance);
    CHECK_THROWS_WITH_AS(matmul(a, a), "matmul: a is [2,3], b is [2,3], expected [M,K] and [K,N]",
                         Error);
}

TEST_CASE("(2.7) the VJP of a broadcast is a sum over rows") {
    CHECK(gradient_error({{2, varied_size(3), 4}, {4}},
                         [](auto&, const Vars& v) { return add_row(v[0], v[1]); }) < kTolerance);
}

TEST_CASE("(2.8) (2.9) linear: both VJPs equal central differences") {
    CHECK(gradient_error({{2, varied_size(3), 4}, {4, 5}, {5}}, [](auto&, const Vars& v) {
              return linear(v[0], v[1], v[2]);
          }) < kTolerance);
    CHECK(gradient_error({{2, varied_size(3), 4}, {4, 5}},
                         [](auto&, const Vars& v) { return linear(v[0], v[1]); }) < kTolerance);
}

TEST_CASE("(2.9) a layer that is used twice adds up both gradients") {
    const int n = varied_size(4);
    CHECK(gradient_error({{3, n}, {n, n}, {n}}, [](auto&, const Vars& v) {
              const Var<double> once = linear(v[0], v[1], v[2]);
              return add(linear(once, v[1], v[2]), linear(v[0], v[1], v[2]));
          }) < kTolerance);
}

TEST_CASE("(2.9) linear's VJPs are adjoints: <dY, X W> = <dY W^T, X> = <X^T dY, W>") {
    const int rows = varied_size(7);
    Arena memory, arena;
    Tape<double> tape(arena);
    const auto random = [&](Shape shape, std::uint32_t stream) {
        const Tensor<double> x = memory.make<double>(shape);
        fill_normal(x, Random(varied_seed(5), Purpose::test, stream));
        return x;
    };
    const Tensor<double> x = random({rows, 4}, 0), w = random({4, 5}, 1), dy = random({rows, 5}, 2);
    const Var<double> vx = tape.leaf(x), vw = tape.leaf(w),
                      zero = tape.constant(memory.zeros<double>({5}));
    const Var<double> y = linear(vx, vw, zero);
    tape.backward_from(mul(y, tape.constant(dy)), 1.0);
    const auto dot = [](Tensor<double> a, Tensor<double> b) {
        double sum = 0;
        for (std::ptrdiff_t i = 0; i < a.numel(); ++i) sum += a.data()[i] * b.data()[i];
        return sum;
    };
    const double expected = dot(dy, y.value());
    CHECK(dot(vx.grad(), x) == doctest::Approx(expected).epsilon(1e-13));
    CHECK(dot(vw.grad(), w) == doctest::Approx(expected).epsilon(1e-13));
}

TEST_CASE("reshape keeps the numbers in their order, and so does its VJP") {
    CHECK(gradient_error({{2, 6}}, [](auto&, const Vars& v) {
              return silu(reshape(v[0], {3, 4}));
          }) < kTolerance);
    Arena arena;
    Tape<double> tape(arena);
    std::array<double, 6> x{1, 2, 3, 4, 5, 6};
    const Var<double> y = reshape(tape.leaf({x.data(), {2, 3}}), {3, 2});
    CHECK(y.value()(2, 0) == 5);
    CHECK_THROWS_AS(reshape(y, {4, 2}), Error);
}

TEST_CASE(
    "(2.10) softmax: VJP equals central differences, rows sum to 1, large inputs stay finite") {
    CHECK(gradient_error({{3, varied_size(6)}},
                         [](auto&, const Vars& v) { return softmax(v[0]); }) < kTolerance);
    Arena arena;
    Tape<double> tape(arena);
    std::array<double, 3> x{1000, 999, -1000};
    const Tensor<double> y = softmax(tape.constant(Tensor<double>(x.data(), {1, 3}))).value();
    CHECK(y(0, 0) == doctest::Approx(1 / (1 + std::exp(-1.0))).epsilon(1e-14));
    CHECK(y(0, 0) + y(0, 1) + y(0, 2) == doctest::Approx(1).epsilon(1e-15));
}

TEST_CASE("(2.25) embedding: rows are looked up, and a row used twice collects both gradients") {
    CHECK(gradient_error({{3, 5}}, [](auto&, const Vars& v) { return embedding(v[0], kIds); }) <
          kTolerance);
    Arena arena;
    Tape<double> tape(arena);
    std::array<double, 4> numbers{1, 2, 3, 4}, gradient{};
    const Shape shape{2, 2};
    const Var<double> table = tape.leaf({numbers.data(), shape}, {gradient.data(), shape});
    const std::array<int, 3> twice{1, 0, 1};
    const Var<double> y = embedding(table, twice);
    CHECK(y.value()(0, 1) == 4);
    CHECK(y.value()(1, 0) == 1);
    tape.backward_from(y, 1.0);
    CHECK(gradient == std::array<double, 4>{1, 1, 2, 2});
    const std::array<int, 1> beyond{2};
    CHECK_THROWS_WITH_AS(embedding(table, beyond), "embedding: id 2 at place 0 is not in 0..1",
                         Error);
}

TEST_CASE("(2.11) layer norm: VJPs equal central differences; rows have mean 0 and variance 1") {
    CHECK(gradient_error({{3, 6}, {6}, {6}}, [](auto&, const Vars& v) {
              return layer_norm(v[0], v[1], v[2]);
          }) < kTolerance);
    Arena arena;
    Tape<double> tape(arena);
    std::array<double, 4> x{1, 2, 3, 10}, one{1, 1, 1, 1}, zero{};
    const auto constant = [&](auto& v, Shape s) { return tape.constant({v.data(), s}); };
    const Tensor<double> y =
        layer_norm(constant(x, {1, 4}), constant(one, {4}), constant(zero, {4}), 0.0).value();
    double mean = 0, square = 0;
    for (double v : y) {
        mean += v / 4;
        square += v * v / 4;
    }
    CHECK(std::abs(mean) < 1e-15);
    CHECK(square == doctest::Approx(1).epsilon(1e-14));
}

TEST_CASE("(2.12) RMS norm: VJPs equal central differences") {
    CHECK(gradient_error({{3, 6}, {6}}, [](auto&, const Vars& v) { return rms_norm(v[0], v[1]); }) <
          kTolerance);
}

TEST_CASE("(2.13) mean squared error: value by hand and VJPs by central differences") {
    CHECK(gradient_error({{2, 3}, {2, 3}}, [](auto&, const Vars& v) { return mse(v[0], v[1]); }) <
          kTolerance);
    Arena arena;
    Tape<double> tape(arena);
    std::array<double, 2> a{1, 5}, b{3, 4};
    CHECK(mse(tape.constant({a.data(), {2}}), tape.constant({b.data(), {2}})).value()(0) == 2.5);
}

TEST_CASE("(2.13) (2.14) losses over millions of floats are added up in double") {
    constexpr int n = 3'000'000;
    Arena memory, arena;
    Tape<float> tape(arena);
    const Tensor<float> x = memory.make<float>({n}), y = memory.make<float>({n});
    fill(x, 0.1f);
    fill(y, 0.0f);
    CHECK(mse(tape.constant(x), tape.constant(y)).value()(0) ==
          doctest::Approx(static_cast<double>(0.1f) * static_cast<double>(0.1f)).epsilon(2e-7));
    const std::vector<int> labels(n / 2, 1);
    const Tensor<float> scores = x.reshape({n / 2, 2});
    for (int r = 0; r < n / 2; ++r) scores(r, 1) = 0.3f;
    const double expected = std::log(1 + std::exp(-0.2));
    CHECK(cross_entropy(tape.constant(scores), std::span<const int>(labels)).value()(0) ==
          doctest::Approx(expected).epsilon(2e-7));
}

TEST_CASE("(2.14) cross entropy: log K for equal scores, VJP by central differences") {
    static constexpr std::array<int, 3> labels{2, 0, 3};
    CHECK(gradient_error({{3, 4}}, [](auto&, const Vars& v) {
              return cross_entropy(v[0], labels);
          }) < kTolerance);
    Arena arena;
    Tape<double> tape(arena);
    const Var<double> equal = tape.constant(arena.zeros<double>({3, 4}));
    CHECK(cross_entropy(equal, std::span<const int>(labels)).value()(0) ==
          doctest::Approx(std::log(4.0)).epsilon(1e-15));
}

TEST_CASE("(2.4) a value used twice receives the sum of both gradients") {
    CHECK(gradient_error({{2, 3}}, [](auto&, const Vars& v) {
              return mul(silu(v[0]), add(v[0], v[0]));
          }) < kTolerance);
}

TEST_CASE("shape errors name the operation and both shapes") {
    Arena arena;
    Tape<double> tape(arena);
    const Var<double> x = tape.constant(arena.zeros<double>({2, 3}));
    const Var<double> w = tape.constant(arena.zeros<double>({4, 5}));
    CHECK_THROWS_WITH_AS(add(x, w), "add: shapes differ: [2,3] and [4,5]", Error);
    CHECK_THROWS_WITH_AS(linear(x, w, w), "linear: x is [2,3], weight is [4,5], expected [3,out]",
                         Error);
    CHECK_THROWS_WITH_AS(tape.backward(x),
                         "backward: the loss must be one number, its shape is [2,3]", Error);
}

TEST_SUITE_END();
