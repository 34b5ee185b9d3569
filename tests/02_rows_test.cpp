// The linear layer, the row operations and the activations of chapter 2 against plain loops and
// formulas in double: the loops in use are vectorised, and take the polynomials of kernels/exp.hpp
// in float. The VJPs of the row operations are held against those of single operations.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <string>

#include "02_gradients/ops.hpp"
#include "02_gradients/plain_ops.hpp"
#include "support/exact.hpp"
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
