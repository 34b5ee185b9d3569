// The linear layer, the row operations and the activations of chapter 2 against plain loops and
// formulas in double: the loops in use are vectorised, and take the polynomials of kernels/exp.hpp
// in float. The VJPs of the row operations are held against those of single operations.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <string>

#include "02_gradients/gradient_check.hpp"
#include "02_gradients/ops.hpp"
#include "02_gradients/plain_ops.hpp"
#include "support/exact.hpp"
#include "support/varied.hpp"
#include "tensor/random.hpp"

using namespace diffusion;

namespace {

/// A row operation put together from single ones, whose VJPs have checks of their own. x [C].
Var<double> composed(const std::string& name, Var<double> x, Var<double> gain, Var<double> bias) {
    Tape<double>& tape = x.tape();
    const auto constant = [&](Shape shape, double value) {
        const Tensor<double> numbers = tape.arena().make<double>(shape);
        std::fill(numbers.begin(), numbers.end(), value);
        return tape.constant(numbers);
    };
    const auto power = [](Var<double> v, double p) { return exp(scale(log(v), p)); };  // v^p
    if (name == "softmax") {
        const Var<double> e = exp(x);
        return scale_by(e, power(sum(e), -1));
    }
    const double n = x.size(0);
    if (name == "layer") x = sub(x, scale_by(constant(x.shape(), 1), scale(sum(x), 1 / n)));
    const Var<double> square = scale(sum(mul(x, x)), 1 / n);
    const double eps = name == "layer" ? 1e-5 : 1e-6;
    const Var<double> y = mul(scale_by(x, power(add(square, constant({1}, eps)), -0.5)), gain);
    return name == "layer" ? add(y, bias) : y;
}

/// The largest difference from what it should be, in units of epsilon times the largest number.
template <class T>
double difference(Tensor<T> found, Tensor<double> exact) {
    double error = 0, size = 0;
    for (std::ptrdiff_t i = 0; i < exact.numel(); ++i) {
        const double off = std::abs(static_cast<double>(found.data()[i]) - exact.data()[i]);
        if (!(off <= error)) error = off;  // so that a NaN counts too
        size = std::max(size, std::abs(exact.data()[i]));
    }
    return error / size / static_cast<double>(std::numeric_limits<T>::epsilon());
}

template <class T>
void check_rows(int rows, int n) {
    CAPTURE(n);
    Arena memory, arena, plain_arena;
    Tape<T> tape(arena);
    Tape<double> plain_tape(plain_arena);
    // One number further on: rows do not begin where a register would like them to.
    const auto normal = [&](Shape shape, std::uint32_t stream) {
        const Tensor<T> x(memory.make<T>({static_cast<int>(shape.numel()) + 1}).data() + 1, shape);
        fill_normal(x, Random(7, Purpose::test, stream));
        return x;
    };
    const Tensor<T> x = normal({rows, n}, 1), dy = normal({rows, n}, 2), gain = normal({n}, 3);
    const Tensor<double> x2 = exactly(x, memory), dy2 = exactly(dy, memory),
                         gain2 = exactly(gain, memory);
    for (const std::string name : {"softmax", "layer", "rms"}) {
        CAPTURE(name);
        tape.reset();
        const Tensor<T> dx = memory.zeros<T>({rows, n}), dgain = memory.zeros<T>({n});
        const Var<T> in = tape.leaf(x, dx), scale = tape.leaf(gain, dgain);
        const Var<T> y = name == "softmax" ? softmax(in)
                         : name == "layer" ? layer_norm(in, scale, tape.constant(gain))
                                           : rms_norm(in, scale);
        tape.backward_from(mul(y, tape.constant(dy)), T(1));

        const Tensor<double> y2 = memory.make<double>({rows, n});
        if (name == "softmax") plain::softmax(x2, y2);
        if (name == "layer") plain::layer_norm(x2, gain2, gain2, 1e-5, y2);
        if (name == "rms") plain::rms_norm(x2, gain2, 1e-6, y2);
        const Tensor<double> dx2 = memory.zeros<double>({rows, n}),
                             dgain2 = memory.zeros<double>({n});
        for (int r = 0; r < rows; ++r) {
            plain_tape.reset();
            const Var<double> y_row =
                composed(name, plain_tape.leaf(x2[r], dx2[r]), plain_tape.leaf(gain2, dgain2),
                         plain_tape.constant(gain2));
            CHECK(difference(y_row.value(), y2[r]) < 40);
            plain_tape.backward_from(mul(y_row, plain_tape.constant(dy2[r])), 1);
        }
        // Sums of n numbers: their rounding grows like the root of n at most. In double both sides
        // are rounded.
        const double bound = (6 + std::sqrt(n)) * (sizeof(T) == sizeof(double) ? 2 : 1);
        CHECK(difference(y.value(), y2) < bound);
        if (n <= 2) continue;  // of two numbers, layer norm leaves hardly any gradient
        CHECK(difference(dx, dx2) < bound);
        if (name != "softmax") CHECK(difference(dgain, dgain2) < bound);
    }
}

template <class T>
void check_linear(int rows, int inputs, int outputs) {
    Arena memory, arena;
    Tape<T> tape(arena);
    const auto normal = [&](Shape shape, std::uint32_t stream) {
        const Tensor<T> x = memory.make<T>(shape);
        fill_normal(x, Random(8, Purpose::test, stream));
        return x;
    };
    const Tensor<T> x = normal({rows, inputs}, 1), weight = normal({inputs, outputs}, 2),
                    bias = normal({outputs}, 3);
    const Tensor<double> y = memory.make<double>({rows, outputs});
    plain::linear(exactly(x, memory), exactly(weight, memory), exactly(bias, memory), y);
    const Var<T> found = linear(tape.constant(x), tape.constant(weight), tape.constant(bias));
    CHECK(difference(found.value(), y) < 4 + std::sqrt(inputs));
}

}  // namespace

TEST_SUITE_BEGIN("ch02 kernel");

TEST_CASE("the linear layer equals its plain loops within a few epsilon") {
    for (int inputs : {1, 3, 17, 64, 300}) {
        check_linear<float>(5, inputs, 33);
        check_linear<double>(5, inputs, 33);
    }
}

TEST_CASE("softmax, layer norm and RMS norm equal their plain loops within a few epsilon") {
    for (int n : {1, 2, 7, 16, 31, 64, 256, 1000}) {
        check_rows<float>(3, n);
        check_rows<double>(3, n);
    }
}

TEST_CASE_TEMPLATE("GELU equals x Phi(x) and its slope Phi + x phi, to 2 epsilon of float", T,
                   float, double) {
    Arena memory, arena;
    Tape<T> tape(arena);
    const Tensor<T> x = memory.make<T>({2403}), dx = memory.zeros<T>({2403});
    for (int i = 0; i < 2401; ++i) x(i) = static_cast<T>(i - 1200) / 100;
    x(2401) = T(100);
    x(2402) = T(-100);
    const Var<T> y = gelu(tape.leaf(x, dx));
    tape.backward_from(y, T(1));
    constexpr double kBound = 2 * static_cast<double>(std::numeric_limits<float>::epsilon());
    for (int i = 0; i < x.size(0); ++i) {
        const double v = static_cast<double>(x(i)), cdf = 0.5 * std::erfc(-v / std::numbers::sqrt2),
                     density = std::exp(-v * v / 2) / std::sqrt(2 * std::numbers::pi);
        const double size = 1 + std::abs(v);
        CHECK(std::abs(static_cast<double>(y.value()(i)) - v * cdf) < kBound * size);
        CHECK(std::abs(static_cast<double>(dx(i)) - (cdf + v * density)) < kBound * size);
    }
}

TEST_CASE("(2.11) (2.12) norms with a line for each part of x, and with none") {
    using Vars = std::vector<Var<double>>;
    constexpr double kTolerance = 1e-7;
    const int rows = varied_size(70);  // more than one group of the sum over rows
    const Shape x{2, rows, 5}, lines{2, 5};
    CHECK(gradient_error({x, lines, lines}, [](auto&, const Vars& v) {
              return layer_norm(v[0], v[1], v[2]);
          }) < kTolerance);
    CHECK(gradient_error({x, lines}, [](auto&, const Vars& v) { return rms_norm(v[0], v[1]); }) <
          kTolerance);
    CHECK(gradient_error({x}, [](auto&, const Vars& v) { return layer_norm(v[0]); }) < kTolerance);
    CHECK(gradient_error({x}, [](auto&, const Vars& v) { return rms_norm(v[0]); }) < kTolerance);
    CHECK(gradient_error({x, lines, x}, [](auto&, const Vars& v) {
              return add_gated(v[0], v[1], v[2]);
          }) < kTolerance);
    CHECK(gradient_error({x, {5}, x}, [](auto&, const Vars& v) {
              return add_gated(v[0], v[1], v[2]);
          }) < kTolerance);
    // What adaptive modulation is, element by element: (1 + scale) x + shift, with a line of its
    // own for each image.
    Arena memory, arena;
    Tape<double> tape(arena);
    const auto normal = [&](Shape shape, std::uint32_t stream) {
        const Tensor<double> values = memory.make<double>(shape);
        fill_normal(values, Random(varied_seed(6), Purpose::test, stream));
        return values;
    };
    const Tensor<double> in = normal(x, 1), scale = normal(lines, 2), shift = normal(lines, 3),
                         gate = normal(lines, 4), plus_one = memory.make<double>(lines);
    for (std::ptrdiff_t i = 0; i < scale.numel(); ++i) plus_one.data()[i] = 1 + scale.data()[i];
    const Var<double> v = tape.constant(in), plain = layer_norm(v),
                      modulated = layer_norm(v, tape.constant(plus_one), tape.constant(shift)),
                      gated = add_gated(v, tape.constant(gate), modulated);
    for (int n = 0; n < 2; ++n) {
        for (int r = 0; r < rows; ++r) {
            for (int c = 0; c < 5; ++c) {
                const double y = (1 + scale(n, c)) * plain.value()(n, r, c) + shift(n, c);
                CHECK(modulated.value()(n, r, c) == doctest::Approx(y).epsilon(1e-13));
                CHECK(gated.value()(n, r, c) ==
                      doctest::Approx(in(n, r, c) + gate(n, c) * y).epsilon(1e-13));
            }
        }
    }
}

/// z g(z) and its derivative, from the definitions.
std::pair<double, double> plain_gelu(Gelu kind, double z) {
    const auto gate = [kind](double v) {
        if (kind == Gelu::erf) return 0.5 * std::erfc(-v / std::numbers::sqrt2);
        if (kind == Gelu::quick) return 1 / (1 + std::exp(-1.702 * v));
        return 0.5 * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (v + 0.044715 * v * v * v)));
    };
    const double h = 1e-4;
    const auto y = [&](double v) { return v * gate(v); };
    // Five points: an error of some h^4 y^(5) / 30.
    return {y(z), (y(z - 2 * h) - 8 * y(z - h) + 8 * y(z + h) - y(z + 2 * h)) / (12 * h)};
}

TEST_CASE_TEMPLATE("GELU in three forms, and GEGLU, equal their definitions", T, float, double) {
    Arena memory, arena;
    Tape<T> tape(arena);
    constexpr int kRows = 3, kChannels = 517;
    const Tensor<T> x = memory.make<T>({kRows, 2 * kChannels}), dx = memory.zeros<T>(x.shape()),
                    dpair = memory.zeros<T>(x.shape()), dy = memory.make<T>({kRows, kChannels});
    for (std::ptrdiff_t i = 0; i < x.numel(); ++i)
        x.data()[i] = static_cast<T>(i * 7919 % 1601 - 800) / 100;
    for (std::ptrdiff_t i = 0; i < dy.numel(); ++i) dy.data()[i] = static_cast<T>(i % 5 + 1);
    const double bound = std::is_same_v<T, float> ? 3e-7 : 1e-9;  // the latter of the five points
    for (const Gelu kind : {Gelu::erf, Gelu::tanh, Gelu::quick}) {
        tape.reset();
        fill(dx, T(0)), fill(dpair, T(0));
        const Var<T> y = gelu(tape.leaf(x, dx), kind), pair = geglu(tape.leaf(x, dpair), kind);
        tape.backward_from(y, T(1));
        tape.backward(pair, dy);
        for (int r = 0; r < kRows; ++r) {
            for (int c = 0; c < kChannels; ++c) {
                const double a = static_cast<double>(x(r, c)),
                             z = static_cast<double>(x(r, kChannels + c)),
                             d = static_cast<double>(dy(r, c));
                const auto [value, slope] = plain_gelu(kind, z);
                const auto near = [&](T got, double expected) {
                    CHECK(std::abs(static_cast<double>(got) - expected) <
                          bound * (1 + std::abs(z)) * (1 + std::abs(a)) * (1 + d));
                };
                near(y.value()(r, kChannels + c), value);
                near(dx(r, kChannels + c), slope);
                near(pair.value()(r, c), a * value);
                near(dpair(r, c), d * value);
                near(dpair(r, kChannels + c), d * a * slope);
            }
        }
    }
    CHECK_THROWS_WITH_AS(geglu(tape.constant({x.data(), {3, 5}})),
                         "geglu: x is [3,5], expected an even number of channels", Error);
}

TEST_CASE("activations let NaN through") {
    Arena memory, arena;
    Tape<float> tape(arena);
    const Tensor<float> x = memory.make<float>({37});
    for (float& v : x) v = std::numeric_limits<float>::quiet_NaN();
    const Var<float> in = tape.constant(x);
    for (const Var<float>& y : {silu(in), sigmoid(in), gelu(in), exp(in), softmax(in)}) {
        for (float v : y.value()) CHECK(std::isnan(v));
    }
}

TEST_SUITE_END();
