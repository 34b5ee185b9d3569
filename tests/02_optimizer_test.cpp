#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <vector>

#include "02_gradients/ops.hpp"
#include "02_gradients/optimizer.hpp"
#include "kernels/threads.hpp"
#include "support/varied.hpp"
#include "tensor/random.hpp"

using namespace diffusion;

TEST_SUITE_BEGIN("ch02 math");

TEST_CASE("(2.16) (2.17) three steps of Adam equal a sequence worked out by hand") {
    // beta1 = 1/2, beta2 = 3/4, rate 1/10, eps 0, gradients 2, -1, 4:
    // m: 1, 0, 2        corrected by 1 - 1/2^k:  2, 0, 16/7
    // v: 1, 1, 19/4     corrected by 1 - (3/4)^k: 4, 16/7, 304/37
    // Other units for the gradient change m and v, and not the steps.
    AdamW<double> adam(1, {.learning_rate = 0.1, .beta1 = 0.5, .beta2 = 0.75, .eps = 0.0});
    std::array<double, 1> x{1.0};
    const auto step = [&](double g) {
        const std::array<double, 1> gradient{varied(g)};
        adam.step(x, gradient);
        return x[0];
    };
    CHECK(step(2) == doctest::Approx(0.9).epsilon(1e-15));
    CHECK(step(-1) == doctest::Approx(0.9).epsilon(1e-15));
    CHECK(step(4) ==
          doctest::Approx(0.9 - 0.1 * (16.0 / 7) / std::sqrt(304.0 / 37)).epsilon(1e-15));
    CHECK(adam.first_moment()[0] == varied(2.0));
    CHECK(adam.second_moment()[0] == varied(varied(4.75)));
    CHECK(adam.steps() == 3);
    // An epsilon is added to the corrected root: the first step is rate g / (|g| + eps).
    AdamW<double> damped(1, {.learning_rate = 0.1, .eps = 1.0});
    std::array<double, 1> y{1.0};
    const double g = varied(2);
    damped.step(y, std::array<double, 1>{g});
    CHECK(y[0] == doctest::Approx(1 - 0.1 * g / (g + 1)).epsilon(1e-14));
}

TEST_CASE("(2.16) in float the averages take 1 - beta of the gradient, to float's last digit") {
    AdamW<float> adam(1, {});
    std::array<float, 1> x{1.0f};
    const std::array<float, 1> one{1.0f};
    adam.step(x, one);
    CHECK(adam.first_moment()[0] == 0.1f);
    CHECK(adam.second_moment()[0] == 0.001f);  // 1 - 0.999f would be 1.3e-5 off
    for (int k = 2; k <= 100; ++k) adam.step(x, one);
    const double v = 1 - std::pow(0.999, 100);
    CHECK(static_cast<double>(adam.second_moment()[0]) == doctest::Approx(v).epsilon(1e-6));
}

TEST_CASE(
    "(2.17) the first step has the length of the learning rate whatever the gradient's size") {
    for (double g : {varied(1e-4), 1.0, -1e4}) {
        AdamW<double> adam(1, {.learning_rate = 0.01, .eps = 0.0});
        std::array<double, 1> x{0.0};
        const std::array<double, 1> gradient{g};
        adam.step(x, gradient);
        CHECK(x[0] == doctest::Approx(g > 0 ? -0.01 : 0.01).epsilon(1e-12));
    }
}

TEST_CASE("(2.18) (2.19) a step with a factor is the step with the gradient times that factor") {
    AdamW<double> a(1, {.weight_decay = 0.1}), b(1, {.weight_decay = 0.1});
    std::array<double, 1> x{varied(3.0)}, y = x;
    for (const double g : {varied(2.0), -1.0}) {
        const std::array<double, 1> gradient{g}, half{g / 2};
        a.step(x, gradient, 0.1, {.factor = 0.5});
        b.step(y, half, 0.1);
        CHECK(x[0] == doctest::Approx(y[0]).epsilon(1e-15));
        CHECK(a.first_moment()[0] == doctest::Approx(b.first_moment()[0]).epsilon(1e-15));
        CHECK(a.second_moment()[0] == doctest::Approx(b.second_moment()[0]).epsilon(1e-15));
    }
}

TEST_CASE("(2.18) with no gradient, decay shrinks every value by 1 - rate * decay") {
    AdamW<double> adam(1, {.learning_rate = 0.1, .weight_decay = 0.5});
    std::array<double, 1> x{varied(3.0)};
    const std::array<double, 1> gradient{0.0};
    adam.step(x, gradient);
    CHECK(x[0] == doctest::Approx(varied(2.85)).epsilon(1e-15));
}

TEST_CASE(
    "(2.19) clipping keeps the direction, limits the length, and leaves short gradients alone") {
    std::array<double, 2> g{3, 4};
    CHECK(clip_gradient<double>(g, 10) == 5.0);
    CHECK(g[0] == 3.0);
    CHECK(clip_gradient<double>(g, 1) == 5.0);
    CHECK(g[0] == doctest::Approx(0.6).epsilon(1e-15));
    CHECK(g[1] == doctest::Approx(0.8).epsilon(1e-15));
}

TEST_CASE(
    "(2.20) (2.21) the average of a constant is that constant up to the product of the rates") {
    CHECK(ema_rate(1, 0.999) == doctest::Approx(2.0 / 11).epsilon(1e-15));
    CHECK(ema_rate(1000000, 0.999) == 0.999);
    // Started at 0 and fed 1, what is still missing after k updates is the product of the rates.
    std::array<double, 1> average{0.0};
    const std::array<double, 1> one{1.0};
    double missing = 1;
    for (int k = 1; k <= 50; ++k) {
        ema_update<double>(average, one, ema_rate(k, 0.9));
        missing *= ema_rate(k, 0.9);
        CHECK(average[0] == doctest::Approx(1 - missing).epsilon(1e-14));
    }
}

TEST_CASE(
    "(2.20) in float, too, a constant is its own average, and a step has the share 1 - rate") {
    std::vector<float> x(1000), average(1000);
    fill_normal(Tensor<float>(x.data(), {1000}), Random(5, Purpose::test, 1));
    average = x;
    ema_update<float>(average, x, 0.9999);
    CHECK(average == x);
    average.assign(1000, 0.0f);
    ema_update<float>(average, x, 0.9999);
    for (std::size_t i = 0; i < x.size(); ++i) {
        CHECK(static_cast<double>(average[i]) ==
              doctest::Approx(1e-4 * static_cast<double>(x[i])).epsilon(2e-7).scale(0));
    }
}

TEST_CASE("(2.15) gradients, tape and AdamW together: an MLP fits sin(3x) to below a thousandth") {
    constexpr int n = 64, hidden = 24;
    Arena memory, arena;
    // One block for everything: w1 [1,H], b1 [H], w2 [H,1], b2 [1]
    constexpr int count = 3 * hidden + 1;
    const Tensor<double> theta = memory.make<double>({count}), g = memory.make<double>({count});
    fill_normal(theta, Random(5, Purpose::initial_weights));
    const Tensor<double> x = memory.make<double>({n, 1}), y = memory.make<double>({n, 1});
    for (int i = 0; i < n; ++i) {
        x(i, 0) = 2.0 * i / (n - 1) - 1;
        y(i, 0) = std::sin(3 * x(i, 0));
    }
    AdamW<double> adam(count, {.learning_rate = 0.02});
    Tape<double> tape(arena);
    const auto leaf = [&](int at, Shape s) {
        return tape.leaf({theta.data() + at, s}, {g.data() + at, s});
    };
    double first = 0, last = 0;
    for (int step = 0; step < 1500; ++step) {
        tape.reset();
        for (double& v : g) v = 0;
        const Var<double> h =
            tanh(linear(tape.constant(x), leaf(0, {1, hidden}), leaf(hidden, {hidden})));
        const Var<double> out = linear(h, leaf(2 * hidden, {hidden, 1}), leaf(3 * hidden, {1}));
        const Var<double> loss = mse(out, tape.constant(y));
        tape.backward(loss);
        last = loss.value()(0);
        if (step == 0) first = last;
        adam.step(theta.flat(), g.flat());
    }
    CHECK(first > 0.1);
    CHECK(last < 1e-3);
}

TEST_CASE("(2.19) (2.20) one pass equals clipping, step and average one after another") {
    constexpr std::size_t kCount = 5000;  // several blocks and a rest
    std::vector<double> x(kCount), gradient(kCount);
    fill_normal(Tensor<double>(x.data(), {kCount}), Random(5, Purpose::test, 1));
    std::vector<double> x2 = x, average = x, average2 = x;
    AdamW<double> together(kCount, {.weight_decay = 0.1}), apart(kCount, {.weight_decay = 0.1});
    for (std::uint32_t step = 0; step < 3; ++step) {
        fill_normal(Tensor<double>(gradient.data(), {kCount}), Random(5, Purpose::test, 2 + step));
        const double norm = std::sqrt(sum_of_squares<double>(gradient));
        together.step(x, gradient, 0.01, {1 / norm, average, 0.9});
        CHECK(clip_gradient<double>(gradient, 1) == norm);
        apart.step(x2, gradient, 0.01);
        ema_update<double>(average2, x2, 0.9);
    }
    double worst = 0;
    for (std::size_t i = 0; i < kCount; ++i) {
        for (const double off : {std::abs(x[i] - x2[i]), std::abs(average[i] - average2[i])}) {
            if (!(off <= worst)) worst = off;  // so that a NaN counts too
        }
    }
    CHECK(worst < 1e-14);
    CHECK_THROWS_WITH_AS(together.step(x, gradient, 0.01, {1, std::span(average).first(3), 0.9}),
                         "adamw: 3 averages for 5000 parameters", Error);
}

TEST_CASE("(2.19) the sum of squares has the same bits for any number of threads") {
    std::vector<float> x(300'001);
    fill_normal(Tensor<float>(x.data(), {static_cast<int>(x.size())}), Random(5, Purpose::test, 9));
    double exact = 0;
    for (float v : x) exact += static_cast<double>(v) * static_cast<double>(v);
    const double sum = sum_of_squares<float>(x);
    CHECK(sum == doctest::Approx(exact).epsilon(1e-12));
#ifdef _OPENMP
    const int most = omp_get_max_threads();
    for (int threads = 1; threads <= 3; ++threads) {
        omp_set_num_threads(threads);
        CHECK(sum_of_squares<float>(x) == sum);
    }
    omp_set_num_threads(most);
#endif
    CHECK(sum_of_squares<float>(std::span<const float>()) == 0);
}

TEST_SUITE_END();
