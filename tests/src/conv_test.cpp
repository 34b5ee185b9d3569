#include "kernels/conv.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/winograd.hpp"
#include "tensor/random.hpp"

using namespace diffusion;

namespace {

/// |a - b| / |b| in units of sqrt(summands) epsilon: the rounding of a sum is a random walk of that
/// length, so two orders of summation differ by a number of order one, and a wrong term by
/// thousands.
template <class T>
double difference(Tensor<T> a, Tensor<T> b, int summands) {
    double error = 0, norm = 0;
    for (std::ptrdiff_t i = 0; i < a.numel(); ++i) {
        const double x = static_cast<double>(a.data()[i]), y = static_cast<double>(b.data()[i]);
        error += (x - y) * (x - y);
        norm += y * y;
    }
    const double epsilon = static_cast<double>(std::numeric_limits<T>::epsilon());
    return std::sqrt(error / norm / summands) / epsilon;
}

template <class T>
void check_conv(int n, int h, int w, int c, int o, int kernel, int stride) {
    CAPTURE(h);
    CAPTURE(w);
    CAPTURE(c);
    CAPTURE(o);
    CAPTURE(kernel);
    CAPTURE(stride);
    Arena memory, scratch;
    std::uint32_t stream = 0;
    const auto normal = [&](Shape shape) {
        // One number further on than a register would like it.
        const Tensor<T> x(memory.make<T>({static_cast<int>(shape.numel()) + 1}).data() + 1, shape);
        fill_normal(x, Random(21, Purpose::test, stream++));
        return x;
    };
    const auto copy = [&](Tensor<T> x) {
        const Tensor<T> y = memory.make<T>(x.shape());
        std::copy(x.begin(), x.end(), y.begin());
        return y;
    };
    const Tensor<T> x = normal({n, h, w, c}), weight = normal({kernel, kernel, c, o});
    const Tensor<T> dy = normal(conv2d_shape(x.shape(), weight.shape(), stride));
    const Tensor<T> y = memory.make<T>(dy.shape()), y2 = memory.make<T>(dy.shape());
    const Tensor<T> dx = normal(x.shape()), dx2 = copy(dx);  // the VJPs add to what is there
    const Tensor<T> dw = normal(weight.shape()), dw2 = copy(dw);
    conv2d_obvious<T>(x, weight, stride, y2);
    conv2d_data_vjp_obvious<T>(dy, weight, stride, dx2);
    conv2d_weight_vjp_obvious<T>(x, dy, stride, dw2);
    const int taps = kernel * kernel;
    const auto agree = [&] {
        CHECK(difference(y, y2, taps * c) < 2);
        CHECK(difference(dx, dx2, taps * o + 1) < 2);
        CHECK(difference(dw, dw2, n * dy.size(1) * dy.size(2) + 1) < 2);
    };
    const Tensor<T> dx3 = copy(dx), dw3 = copy(dw);
    conv2d<T>(x, weight, stride, y, scratch);
    conv2d_data_vjp<T>(dy, weight, stride, true, dx, scratch);
    conv2d_weight_vjp<T>(x, dy, stride, dw, scratch);
    agree();
    std::copy(dx3.begin(), dx3.end(), dx.begin());
    std::copy(dw3.begin(), dw3.end(), dw.begin());
    conv2d_direct<T>(x, weight, stride, y, scratch);
    conv2d_data_vjp_direct<T>(dy, weight, stride, true, dx, scratch);
    conv2d_weight_vjp_direct<T>(x, dy, stride, dw, scratch);
    agree();
    // Plus a row for each image and a picture, which may be the result's own memory; or the same
    // row for all.
    const Tensor<T> row = normal({n, o}), pixels = normal(y.shape()), sum = copy(y2);
    const auto add_to_sum = [&](auto what) {
        for (int k = 0; k < n; ++k) {
            for (int p = 0; p < sum[k].rows().size(0); ++p) {
                for (int q = 0; q < o; ++q) sum[k].rows()(p, q) += what(k, p, q);
            }
        }
    };
    add_to_sum([&](int k, int p, int q) { return row(k, q) + pixels[k].rows()(p, q); });
    for (const auto convolve : {conv2d<T>, conv2d_direct<T>}) {
        convolve(x, weight, stride, y, scratch, {row.data(), o, pixels.data()});
        CHECK(difference(y, sum, taps * c) < 2);
        std::copy(pixels.begin(), pixels.end(), y.begin());
        convolve(x, weight, stride, y, scratch, {row.data(), o, y.data()});
        CHECK(difference(y, sum, taps * c) < 2);
    }
    std::copy(y2.begin(), y2.end(), sum.begin());
    add_to_sum([&](int, int, int q) { return row(0, q); });
    for (const auto convolve : {conv2d<T>, conv2d_direct<T>}) {
        convolve(x, weight, stride, y, scratch, {row.data()});
        CHECK(difference(y, sum, taps * c) < 2);
    }
}

}  // namespace

TEST_SUITE_BEGIN("src kernel");

TEST_CASE_TEMPLATE(
    "(4.1) (4.2) (4.3) convolution and both VJPs equal obvious loops on all kinds of shapes", T,
    float, double) {
    for (int kernel : {1, 3}) {
        for (int stride : {1, 2}) {
            check_conv<T>(1, 1, 1, 1, 1, kernel, stride);
            check_conv<T>(2, 3, 5, 2, 3, kernel, stride);
            check_conv<T>(1, 7, 7, 33, 17, kernel, stride);
            check_conv<T>(3, 8, 6, 3, 40, kernel, stride);
            check_conv<T>(2, 28, 28, 1, 16, kernel, stride);
            check_conv<T>(2, 9, 11, 32, 1, kernel, stride);
            check_conv<T>(2, 6, 5, 20, 3, kernel, stride);
            check_conv<T>(1, 14, 14, 32, 64, kernel, stride);
            check_conv<T>(2, 21, 23, 5, 18, kernel, stride);
            check_conv<T>(1, 20, 22, 34, 3, kernel, stride);
            check_conv<T>(2, 28, 28, 32, 32, kernel, stride);
            check_conv<T>(1, 27, 21, 32, 16, kernel, stride);
        }
    }
}

TEST_CASE(
    "the VJPs are adjoints: <dy, conv(x)> = <data_vjp(dy), x> = <weight_vjp(x, dy), weight>") {
    for (int stride : {1, 2}) {
        Arena memory, scratch;
        const Tensor<double> x = memory.make<double>({2, 9, 7, 3}),
                             weight = memory.make<double>({3, 3, 3, 5});
        const Tensor<double> y =
            memory.make<double>(conv2d_shape(x.shape(), weight.shape(), stride));
        const Tensor<double> dy = memory.make<double>(y.shape());
        const Tensor<double> dx = memory.zeros<double>(x.shape()),
                             dw = memory.zeros<double>(weight.shape());
        fill_normal(x, Random(1, Purpose::test, 1));
        fill_normal(weight, Random(1, Purpose::test, 2));
        fill_normal(dy, Random(1, Purpose::test, 3));
        conv2d<double>(x, weight, stride, y, scratch);
        conv2d_data_vjp<double>(dy, weight, stride, false, dx, scratch);
        conv2d_weight_vjp<double>(x, dy, stride, dw, scratch);
        const auto dot = [](Tensor<double> a, Tensor<double> b) {
            double sum = 0;
            for (std::ptrdiff_t i = 0; i < a.numel(); ++i) sum += a.data()[i] * b.data()[i];
            return sum;
        };
        const double expected = dot(dy, y);
        CHECK(dot(dx, x) == doctest::Approx(expected).epsilon(1e-12));
        CHECK(dot(dw, weight) == doctest::Approx(expected).epsilon(1e-12));
    }
}

TEST_CASE_TEMPLATE("(4.17) (4.18) (4.19) Winograd's convolution and VJPs equal obvious loops", T,
                   float, double) {
    // 7 x 7 and 5 x 9 leave tiles half outside; 3, 20 and 33 channels leave registers half full.
    struct Case {
        int n, h, w, c, o;
    };
    for (const Case s : {Case{1, 1, 1, 1, 1}, Case{2, 5, 9, 3, 20}, Case{1, 7, 7, 33, 17},
                         Case{9, 4, 4, 16, 16}, Case{1, 28, 28, 32, 32}, Case{3, 14, 14, 64, 32}}) {
        CAPTURE(s.h);
        CAPTURE(s.c);
        Arena memory, scratch;
        std::uint32_t stream = 0;
        const auto normal = [&](Shape shape) {
            const Tensor<T> x(memory.make<T>({static_cast<int>(shape.numel()) + 1}).data() + 1,
                              shape);
            fill_normal(x, Random(22, Purpose::test, stream++));
            return x;
        };
        const Tensor<T> x = normal({s.n, s.h, s.w, s.c}), weight = normal({3, 3, s.c, s.o});
        const Tensor<T> dy = normal({s.n, s.h, s.w, s.o}), y = normal(dy.shape());
        const Tensor<T> y2 = memory.make<T>(dy.shape());
        winograd<T>(x, weight, {}, y, scratch);
        conv2d_obvious<T>(x, weight, 1, y2);
        // (4.18) amplifies rounding: in float the bound is five times that of the direct form.
        CHECK(difference(y, y2, 9 * s.c) < 10);
        // The same plus a row for each image, plus itself.
        const Tensor<T> row = normal({s.n, s.o}), y3 = memory.make<T>(y.shape());
        for (int n = 0; n < s.n; ++n) {
            for (int p = 0; p < s.h * s.w; ++p) {
                for (int o = 0; o < s.o; ++o)
                    y3[n].rows()(p, o) = y2[n].rows()(p, o) + y[n].rows()(p, o) + row(n, o);
            }
        }
        const Tensor<T> y4 = memory.make<T>(y.shape());
        std::copy(y.begin(), y.end(), y4.begin());
        winograd<T>(x, weight, {row.data(), s.o, y.data()}, y, scratch);
        CHECK(difference(y, y3, 9 * s.c) < 10);
        conv2d_direct<T>(x, weight, 1, y4, scratch, {row.data(), s.o, y4.data()});
        CHECK(difference(y4, y3, 9 * s.c) < 10);
        winograd<T>(x, weight, {row.data(), 0}, y, scratch);
        CHECK(y(0, 0, 0, 0) ==
              doctest::Approx(static_cast<double>(y2(0, 0, 0, 0) + row(0, 0))).epsilon(1e-3));
        const Tensor<T> dx = normal(x.shape()), dx2 = memory.zeros<T>(x.shape());
        winograd_data_vjp<T>(dy, weight, false, dx, scratch);
        conv2d_data_vjp_obvious<T>(dy, weight, 1, dx2);
        CHECK(difference(dx, dx2, 9 * s.o) < 10);
        const Tensor<T> dw = memory.zeros<T>(weight.shape()), dw2 = memory.zeros<T>(weight.shape());
        winograd_weight_vjp<T>(x, dy, dw, scratch);
        conv2d_weight_vjp_obvious<T>(x, dy, 1, dw2);
        CHECK(difference(dw, dw2, s.n * s.h * s.w) < 10);
    }
}

TEST_CASE("convolution errors name both shapes") {
    CHECK_THROWS_WITH_AS(conv2d_shape({1, 8, 8, 3}, {3, 3, 4, 5}, 1),
                         "conv2d: x is [1,8,8,3], weight is [3,3,4,5], expected [N,H,W,C] and "
                         "[1,1,C,O] or [3,3,C,O]",
                         Error);
    CHECK_THROWS_WITH_AS(conv2d_shape({1, 8, 8, 3}, {3, 3, 3, 5}, 3),
                         "conv2d: stride is 3, expected 1 or 2", Error);
}

TEST_SUITE_END();
