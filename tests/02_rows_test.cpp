// The row operations and activations of chapter 2 against the formulas written out in double: the
// loops of the chapter are vectorised, and use the polynomials of kernels/exp.hpp in float.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <string>
#include <vector>

#include "02_gradients/ops.hpp"
#include "kernels/exp.hpp"
#include "tensor/random.hpp"

using namespace diffusion;
using Row = std::vector<double>;

namespace {

double sum(const Row& x) {
    double s = 0;
    for (double v : x) s += v;
    return s;
}
double dot(const Row& a, const Row& b) {
    double s = 0;
    for (std::size_t i = 0; i < a.size(); ++i) s += a[i] * b[i];
    return s;
}

/// What one row becomes, and its VJP, by formula.
struct Obvious {
    Row y, dx, dgain;
};
Obvious softmax_obvious(const Row& x, const Row&, const Row& dy) {
    Row y;
    for (double v : x) y.push_back(std::exp(v));
    const double total = sum(y);
    for (double& v : y) v /= total;
    Row dx;
    for (std::size_t i = 0; i < x.size(); ++i) dx.push_back(y[i] * (dy[i] - dot(y, dy)));
    return {y, dx, Row(x.size())};
}
Obvious norm_obvious(const Row& x, const Row& gain, const Row& dy, bool centred, double eps) {
    const auto n = static_cast<double>(x.size());
    const double mean = centred ? sum(x) / n : 0;
    Row normal, g, dgain, y, dx;
    double square = 0;
    for (double v : x) square += (v - mean) * (v - mean) / n;
    const double deviation = std::sqrt(square + eps);
    for (std::size_t i = 0; i < x.size(); ++i) {
        normal.push_back((x[i] - mean) / deviation);
        g.push_back(gain[i] * dy[i]);
        dgain.push_back(dy[i] * normal[i]);
        y.push_back(gain[i] * normal[i] + (centred ? gain[i] : 0));  // the bias is the gain, too
    }
    for (std::size_t i = 0; i < x.size(); ++i) {
        dx.push_back((g[i] - (centred ? sum(g) / n : 0) - normal[i] * dot(g, normal) / n) /
                     deviation);
    }
    return {y, dx, dgain};
}

/// Largest difference, in units of epsilon times the largest number.
template <class T>
double difference(Tensor<T> a, const std::vector<Row>& b) {
    double error = 0, size = 0;
    for (int r = 0; r < a.size(0); ++r) {
        for (int i = 0; i < a.size(1); ++i) {
            const double exact = b[static_cast<std::size_t>(r)][static_cast<std::size_t>(i)];
            const double off = std::abs(static_cast<double>(a(r, i)) - exact);
            if (!(off <= error)) error = off;  // so that a NaN counts too
            size = std::max(size, std::abs(exact));
        }
    }
    return error / size / static_cast<double>(std::numeric_limits<T>::epsilon());
}

template <class T>
void check_rows(int rows, int n) {
    CAPTURE(n);
    Arena memory, arena;
    Tape<T> tape(arena);
    // One number further on: rows do not begin where a register would like them to.
    const auto normal = [&](Shape shape, std::uint32_t stream) {
        const Tensor<T> x(memory.make<T>({static_cast<int>(shape.numel()) + 1}).data() + 1, shape);
        fill_normal(x, Random(7, Purpose::test, stream));
        return x;
    };
    const Tensor<T> x = normal({rows, n}, 1), dy = normal({rows, n}, 2), gain = normal({n}, 3);
    const auto row = [](Tensor<T> v) {
        Row r;
        for (T e : v) r.push_back(static_cast<double>(e));
        return r;
    };
    for (const std::string name : {"softmax", "layer", "rms"}) {
        CAPTURE(name);
        tape.reset();
        const Tensor<T> dx = memory.zeros<T>({rows, n}), dgain = memory.zeros<T>({1, n});
        const Var<T> in = tape.leaf(x, dx), scale = tape.leaf(gain, dgain.reshape({n}));
        const Var<T> y = name == "softmax" ? softmax(in)
                         : name == "layer" ? layer_norm(in, scale, tape.constant(gain))
                                           : rms_norm(in, scale);
        tape.backward_from(mul(y, tape.constant(dy)), T(1));
        std::vector<Row> y2, dx2, dgain2(1, Row(static_cast<std::size_t>(n)));
        for (int r = 0; r < rows; ++r) {
            const Row v = row(x[r]), g = row(gain), d = row(dy[r]);
            const Obvious o = name == "softmax" ? softmax_obvious(v, g, d)
                              : name == "layer" ? norm_obvious(v, g, d, true, 1e-5)
                                                : norm_obvious(v, g, d, false, 1e-6);
            y2.push_back(o.y);
            dx2.push_back(o.dx);
            for (std::size_t i = 0; i < o.dgain.size(); ++i) dgain2[0][i] += o.dgain[i];
        }
        // Sums of n numbers: their rounding grows like the root of n at most.
        const double bound = 6 + std::sqrt(n);
        CHECK(difference(y.value(), y2) < bound);
        if (n <= 2) continue;  // of two numbers, layer norm leaves hardly any gradient
        CHECK(difference(dx, dx2) < bound);
        if (name != "softmax") CHECK(difference(dgain, dgain2) < bound);
    }
}

}  // namespace

TEST_SUITE_BEGIN("ch02 kernel");

TEST_CASE("softmax, layer norm and RMS norm equal their formulas within a few epsilon") {
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
