#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "04_unet/plain_ops.hpp"
#include "04_unet/winograd.hpp"
#include "kernels/upsample.hpp"
#include "kernels/winograd.hpp"
#include "kernels/winograd_doubled.hpp"
#include "support/exact.hpp"
#include "support/varied.hpp"
#include "tensor/random.hpp"

using namespace diffusion;

namespace {

/// The difference in units of sqrt(summands) epsilon: the rounding of a sum is a random walk of
/// that length, so a result is off by a number of order one, and a wrong term by thousands.
template <class T>
double difference(Tensor<T> a, Tensor<double> b, int summands) {
    return epsilons(a, b) / std::sqrt(summands);
}

/// The same of a sum with `term`, relative to the larger of the two: single numbers may cancel.
template <class T>
double difference_of_sum(Tensor<T> a, Tensor<double> sum, Tensor<double> term, int summands) {
    const auto norm = [](Tensor<double> x) {
        double square = 0;
        for (const double v : x) square += v * v;
        return std::sqrt(square);
    };
    return difference(a, sum, summands) * std::min(1.0, norm(sum) / norm(term));
}

/// The plain loops for a batch. The VJPs add to what is there.
void convolve(Tensor<double> x, Tensor<double> weight, ConvOptions options, Tensor<double> y) {
    Arena memory;
    const Tensor<double> no_bias = memory.zeros<double>({weight.size(3)});
    for (int n = 0; n < x.size(0); ++n) plain::convolution(x[n], weight, no_bias, options, y[n]);
}
void convolve_vjp(Tensor<double> dy, Tensor<double> x, Tensor<double> weight, ConvOptions options,
                  Tensor<double> dx, Tensor<double> dweight) {
    Arena memory;
    const Tensor<double> dbias = memory.zeros<double>({weight.size(3)});
    for (int n = 0; n < x.size(0); ++n) {
        plain::convolution_data_vjp(dy[n], weight, options, dx[n]);
        plain::convolution_weight_vjp(dy[n], x[n], options, dweight, dbias);
    }
}

/// Normal numbers that begin one number further on than a register would like it.
template <class T>
struct Numbers {
    Arena memory;
    std::uint32_t stream = 0;

    Tensor<T> normal(Shape shape) {
        const Tensor<T> x(memory.make<T>({static_cast<int>(shape.numel()) + 1}).data() + 1, shape);
        fill_normal(x, Random(varied_seed(21), Purpose::test, stream++));
        return x;
    }
    Tensor<T> copy(Tensor<T> x) {
        const Tensor<T> y = memory.make<T>(x.shape());
        std::copy(x.begin(), x.end(), y.begin());
        return y;
    }
    Tensor<double> exact(Tensor<T> x) { return exactly(x, memory); }
};

/// sum = y + row[n, o] + pixels
template <class T>
Tensor<double> plus(Tensor<double> y, Tensor<T> row, Tensor<T> pixels, Arena& memory) {
    const Tensor<double> sum = exactly(y, memory);
    const int images = y.size(0), outputs = y.size(3);
    for (int n = 0; n < images; ++n) {
        const Tensor<double> to = sum[n].rows();
        for (int p = 0; p < to.size(0); ++p) {
            for (int o = 0; o < outputs; ++o) {
                to(p, o) += static_cast<double>(row(n % row.size(0), o));
                if (pixels) to(p, o) += static_cast<double>(pixels[n].rows()(p, o));
            }
        }
    }
    return sum;
}

template <class T>
void check_conv(int n, int h, int w, int c, int o, int kernel, ConvOptions options) {
    CAPTURE(h);
    CAPTURE(w);
    CAPTURE(c);
    CAPTURE(o);
    CAPTURE(kernel);
    CAPTURE(options.stride);
    Numbers<T> numbers;
    Arena& memory = numbers.memory;
    Arena scratch;
    const Tensor<T> x = numbers.normal({n, h, w, c}),
                    weight = numbers.normal({kernel, kernel, c, o}),
                    dy = numbers.normal(conv2d_shape(x.shape(), weight.shape(), options)),
                    y = memory.make<T>(dy.shape());
    const Tensor<T> dx = numbers.normal(x.shape()), dw = numbers.normal(weight.shape());
    const Tensor<T> dx3 = numbers.copy(dx), dw3 = numbers.copy(dw);  // VJPs add to what is there
    const Tensor<double> y2 = memory.make<double>(y.shape()), dx2 = numbers.exact(dx),
                         dw2 = numbers.exact(dw), x2 = numbers.exact(x),
                         weight2 = numbers.exact(weight);
    convolve(x2, weight2, options, y2);
    convolve_vjp(numbers.exact(dy), x2, weight2, options, dx2, dw2);
    const int taps = kernel * kernel;
    const auto agree = [&] {
        CHECK(difference(y, y2, taps * c) < 2);
        CHECK(difference(dx, dx2, taps * o + 1) < 2);
        CHECK(difference(dw, dw2, n * dy.size(1) * dy.size(2) + 1) < 2);
    };
    conv2d<T>(x, weight, options, y, scratch);
    conv2d_data_vjp<T>(dy, weight, options, true, dx, scratch);
    conv2d_weight_vjp<T>(x, dy, options, dw, scratch);
    agree();
    std::copy(dx3.begin(), dx3.end(), dx.begin());
    std::copy(dw3.begin(), dw3.end(), dw.begin());
    conv2d_direct<T>(x, weight, options, y, scratch);
    conv2d_data_vjp_direct<T>(dy, weight, options, true, dx, scratch);
    conv2d_weight_vjp_direct<T>(x, dy, options, dw, scratch);
    agree();
    // Plus a row for each image and a picture, which may be the result's own memory; or the same
    // row for all.
    const Tensor<T> row = numbers.normal({n, o}), pixels = numbers.normal(y.shape());
    const Tensor<double> added = numbers.exact(pixels), sum = plus(y2, row, pixels, memory),
                         sum_of_row = plus(y2, Tensor<T>(row.data(), {1, o}), {}, memory);
    const auto agrees = [&] {  // relative to what is large, the convolution or what is added
        return std::min(difference_of_sum(y, sum, y2, taps * c + 2),
                        difference_of_sum(y, sum, added, taps * c + 2)) < 2;
    };
    for (const auto forward : {conv2d<T>, conv2d_direct<T>}) {
        forward(x, weight, options, y, scratch, {row.data(), o, pixels.data()});
        CHECK(agrees());
        std::copy(pixels.begin(), pixels.end(), y.begin());
        forward(x, weight, options, y, scratch, {row.data(), o, y.data()});
        CHECK(agrees());
        forward(x, weight, options, y, scratch, {row.data()});
        CHECK(difference_of_sum(y, sum_of_row, y2, taps * c + 1) < 2);
    }
}

}  // namespace

TEST_SUITE_BEGIN("ch04 kernel");

TEST_CASE_TEMPLATE(
    "(4.1) (4.2) (4.3) convolution and both VJPs equal plain loops on all kinds of shapes", T,
    float, double) {
    for (int kernel : {1, 3}) {
        for (int stride : {1, 2}) {
            check_conv<T>(1, 1, 1, 1, 1, kernel, stride);
            check_conv<T>(2, 3, 5, 2, 3, kernel, stride);
            check_conv<T>(3, 2, 2, 3, 5, kernel, stride);
            check_conv<T>(14, 2, 2, 32, 48, kernel, stride);
            check_conv<T>(4, 5, 7, 260, 132, kernel, stride);  // windows, in blocks
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

TEST_CASE_TEMPLATE(
    "(4.1) (4.2) (4.3) convolution with zeros after the image equals plain loops, too", T, float,
    double) {
    for (const int h : {2, 3, 8, 13}) {
        for (const int w : {2, 5, 28}) {
            check_conv<T>(2, h, w, 1, 1, 3, {2, Padding::after});
            check_conv<T>(1, h, w, 3, 20, 3, {2, Padding::after});
            check_conv<T>(2, h, w, 33, 17, 3, {2, Padding::after});
        }
    }
}

TEST_CASE("(4.1) zeros after the image: every window begins at an even pixel") {
    // A kernel that takes the window's last corner: pixel (2 i + 2, 2 j + 2), or 0 below it.
    Arena memory, scratch;
    const Tensor<double> x = memory.make<double>({1, 5, 6, 1}),
                         weight = memory.zeros<double>({3, 3, 1, 1}),
                         y = memory.make<double>({1, 2, 3, 1});
    fill_normal(x, Random(1, Purpose::test));
    weight(2, 2, 0, 0) = 1;
    conv2d<double>(x, weight, {2, Padding::after}, y, scratch);
    for (int i = 0; i < 2; ++i) {
        for (int j = 0; j < 3; ++j)
            CHECK(y(0, i, j, 0) == (j < 2 ? x(0, 2 * i + 2, 2 * j + 2, 0) : 0));
    }
}

TEST_CASE(
    "the VJPs are adjoints: <dy, conv(x)> = <data_vjp(dy), x> = <weight_vjp(x, dy), weight>") {
    for (const ConvOptions options :
         {ConvOptions(1), ConvOptions(2), ConvOptions(2, Padding::after)}) {
        Arena memory, scratch;
        const Tensor<double> x = memory.make<double>({2, 9, 7, 3}),
                             weight = memory.make<double>({3, 3, 3, 5});
        const Tensor<double> y =
            memory.make<double>(conv2d_shape(x.shape(), weight.shape(), options));
        const Tensor<double> dy = memory.make<double>(y.shape());
        const Tensor<double> dx = memory.zeros<double>(x.shape()),
                             dw = memory.zeros<double>(weight.shape());
        fill_normal(x, Random(1, Purpose::test, 1));
        fill_normal(weight, Random(1, Purpose::test, 2));
        fill_normal(dy, Random(1, Purpose::test, 3));
        conv2d<double>(x, weight, options, y, scratch);
        conv2d_data_vjp<double>(dy, weight, options, false, dx, scratch);
        conv2d_weight_vjp<double>(x, dy, options, dw, scratch);
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

TEST_CASE("(4.17) (4.18) six values and six products give a row of four, 36 a tile of sixteen") {
    Arena memory;
    const Tensor<double> d = memory.make<double>({6, 6, 1}), w = memory.make<double>({3, 3, 1, 1}),
                         y = memory.make<double>({6, 6, 1}), zero = memory.zeros<double>({1});
    fill_normal(d, Random(varied_seed(23), Purpose::test, 1));
    fill_normal(w, Random(varied_seed(23), Purpose::test, 2));
    plain::convolution(d, w, zero, {}, y);
    const plain::Winograd winograd_of;
    Eigen::Matrix<double, 6, 6> patch;
    Eigen::Matrix3d kernel;
    for (int i = 0; i < 36; ++i) patch(i / 6, i % 6) = d.data()[i];
    for (int i = 0; i < 9; ++i) kernel(i / 3, i % 3) = w.data()[i];
    const Eigen::Matrix4d tile = winograd_of.tile(patch, kernel);
    for (int i = 0; i < 16; ++i)  // the patch's margin has no whole window
        CHECK(tile(i / 4, i % 4) == doctest::Approx(y(1 + i / 4, 1 + i % 4, 0)).epsilon(1e-12));
    const Eigen::Vector4d row =
        winograd_of.row(patch.row(0).transpose(), kernel.row(0).transpose());
    for (int i = 0; i < 4; ++i) {
        const double expected = kernel(0, 0) * patch(0, i) + kernel(0, 1) * patch(0, i + 1) +
                                kernel(0, 2) * patch(0, i + 2);
        CHECK(row(i) == doctest::Approx(expected).epsilon(1e-12));
    }
    // (4.19) <dy, tile(d, w)> = <weight_vjp(d, dy), w>
    const Eigen::Matrix4d dy = tile.transpose() + Eigen::Matrix4d::Ones();
    CHECK(winograd_of.weight_vjp(patch, dy).cwiseProduct(kernel).sum() ==
          doctest::Approx(dy.cwiseProduct(tile).sum()).epsilon(1e-12));
}

TEST_CASE_TEMPLATE("(4.17) (4.18) (4.19) Winograd's convolution and VJPs equal plain loops", T,
                   float, double) {
    // 7 x 7 and 5 x 9 leave tiles half outside; 3, 20 and 33 channels leave registers half full.
    // The weights of the last two do not fit in the cache; those of the last go in pieces.
    struct Case {
        int n, h, w, c, o;
    };
    for (const Case s : {Case{1, 1, 1, 1, 1}, Case{2, 5, 9, 3, 20}, Case{1, 7, 7, 33, 17},
                         Case{9, 4, 4, 16, 16}, Case{1, 28, 28, 32, 32}, Case{3, 14, 14, 64, 32},
                         Case{2, 10, 13, 100, 90}, Case{1, 5, 6, 420, 300}}) {
        CAPTURE(s.h);
        CAPTURE(s.c);
        Numbers<T> numbers;
        Arena& memory = numbers.memory;
        Arena scratch;
        const Tensor<T> x = numbers.normal({s.n, s.h, s.w, s.c}),
                        weight = numbers.normal({3, 3, s.c, s.o}),
                        dy = numbers.normal({s.n, s.h, s.w, s.o}), y = numbers.normal(dy.shape()),
                        row = numbers.normal({s.n, s.o});
        const Tensor<double> x2 = numbers.exact(x), weight2 = numbers.exact(weight),
                             y2 = memory.make<double>(y.shape()),
                             dx2 = memory.zeros<double>(x.shape()),
                             dw2 = memory.zeros<double>(weight.shape());
        convolve(x2, weight2, {}, y2);
        convolve_vjp(numbers.exact(dy), x2, weight2, {}, dx2, dw2);
        winograd<T>(x, weight, {}, y, scratch);
        // (4.18) amplifies rounding: in float the bound is five times that of the direct form.
        CHECK(difference(y, y2, 9 * s.c) < 10);
        // The same plus a row for each image, plus itself; then plus one row for all.
        const Tensor<double> sum = plus(y2, row, y, memory);
        winograd<T>(x, weight, {row.data(), s.o, y.data()}, y, scratch);
        CHECK(difference(y, sum, 9 * s.c) < 10);
        winograd<T>(x, weight, {row.data(), 0}, y, scratch);
        CHECK(difference(y, plus(y2, Tensor<T>(row.data(), {1, s.o}), {}, memory), 9 * s.c) < 10);
        const Tensor<T> dx = numbers.normal(x.shape()), dw = memory.zeros<T>(weight.shape());
        winograd_data_vjp<T>(dy, weight, false, dx, scratch);
        CHECK(difference(dx, dx2, 9 * s.o) < 10);
        winograd_weight_vjp<T>(x, dy, dw, scratch);
        CHECK(difference(dw, dw2, s.n * s.h * s.w) < 10);
    }
}

TEST_CASE("(4.20) five products give a row of four of a doubled picture, 25 a tile of sixteen") {
    Arena memory;
    const Tensor<double> d = memory.make<double>({4, 4, 1}), w = memory.make<double>({3, 3, 1, 1}),
                         large = memory.make<double>({8, 8, 1}), y = memory.make<double>({8, 8, 1}),
                         zero = memory.zeros<double>({1});
    fill_normal(d, Random(varied_seed(24), Purpose::test, 1));
    fill_normal(w, Random(varied_seed(24), Purpose::test, 2));
    plain::upsample(d, large);
    plain::convolution(large, w, zero, {}, y);
    const plain::DoubledWinograd doubled;
    Eigen::Matrix4d patch;
    Eigen::Matrix3d kernel;
    for (int i = 0; i < 16; ++i) patch(i / 4, i % 4) = d.data()[i];
    for (int i = 0; i < 9; ++i) kernel(i / 3, i % 3) = w.data()[i];
    const Eigen::Matrix4d tile = doubled.tile(patch, kernel);
    for (int i = 0; i < 16; ++i)
        CHECK(tile(i / 4, i % 4) == doctest::Approx(y(2 + i / 4, 2 + i % 4, 0)).epsilon(1e-12));
    const Eigen::Vector4d of_row = doubled.row(patch.row(1).transpose(), kernel.row(2).transpose());
    for (int i = 0; i < 4; ++i) {
        double expected = 0;  // output i reads the doubled pixels i + 1 .. i + 3 of a a b b c c d d
        for (int v = 0; v < 3; ++v) expected += kernel(2, v) * patch(1, (i + 1 + v) / 2);
        CHECK(of_row(i) == doctest::Approx(expected).epsilon(1e-12));
    }
}

TEST_CASE_TEMPLATE("(4.20) a convolution of a doubled picture and its VJPs equal plain loops", T,
                   float, double) {
    struct Case {
        int n, h, w, c, o;
    };
    // Two do not consist of whole tiles, or have few channels. The weights of the last two do not
    // fit in the cache; those of the last go in pieces.
    for (const Case s : {Case{1, 4, 4, 16, 16}, Case{3, 8, 12, 33, 20}, Case{9, 4, 8, 17, 48},
                         Case{2, 28, 28, 64, 32}, Case{2, 6, 7, 16, 16}, Case{2, 8, 8, 2, 16},
                         Case{1, 16, 28, 110, 100}, Case{1, 4, 8, 450, 400}}) {
        CAPTURE(s.h);
        CAPTURE(s.c);
        Numbers<T> numbers;
        Arena& memory = numbers.memory;
        Arena scratch;
        const Tensor<T> x = numbers.normal({s.n, (s.h + 1) / 2, (s.w + 1) / 2, s.c}),
                        weight = numbers.normal({3, 3, s.c, s.o}),
                        dy = numbers.normal({s.n, s.h, s.w, s.o}), y = numbers.normal(dy.shape()),
                        row = numbers.normal({s.n, s.o});
        const Tensor<double> x2 = numbers.exact(x), weight2 = numbers.exact(weight),
                             large = memory.make<double>({s.n, s.h, s.w, s.c}),
                             y2 = memory.make<double>(y.shape()),
                             dlarge = memory.zeros<double>(large.shape()),
                             dx2 = memory.zeros<double>(x.shape()),
                             dw2 = memory.zeros<double>(weight.shape());
        for (int n = 0; n < s.n; ++n) plain::upsample(x2[n], large[n]);
        convolve(large, weight2, {}, y2);
        convolve_vjp(numbers.exact(dy), large, weight2, {}, dlarge, dw2);
        for (int n = 0; n < s.n; ++n) plain::upsample_vjp(dlarge[n], dx2[n]);
        conv2d_doubled<T>(x, weight, y, scratch);
        CHECK(difference(y, y2, 9 * s.c) < 10);
        conv2d_doubled<T>(x, weight, y, scratch, {row.data(), s.o});
        CHECK(difference(y, plus(y2, row, {}, memory), 9 * s.c) < 10);
        const Tensor<double> twice = plus(y2, row, y, memory);
        conv2d_doubled<T>(x, weight, y, scratch, {row.data(), s.o, y.data()});
        CHECK(difference(y, twice, 9 * s.c) < 10);
        // Alone and together, written and added to.
        const Tensor<T> dx = numbers.normal(x.shape()), dw = memory.zeros<T>(weight.shape());
        conv2d_doubled_vjp<T>(x, weight, dy, {dx, false, {}}, scratch);
        CHECK(difference(dx, dx2, 9 * s.o) < 10);
        conv2d_doubled_vjp<T>(x, weight, dy, {{}, true, dw}, scratch);
        CHECK(difference(dw, dw2, s.n * s.h * s.w) < 10);
        const Tensor<T> dx3 = memory.zeros<T>(x.shape()), dw3 = memory.zeros<T>(weight.shape());
        for (int i = 0; i < 2; ++i) conv2d_doubled_vjp<T>(x, weight, dy, {dx3, true, dw3}, scratch);
        for (double& v : dx2) v *= 2;
        for (double& v : dw2) v *= 2;
        CHECK(difference(dx3, dx2, 9 * s.o) < 10);
        CHECK(difference(dw3, dw2, s.n * s.h * s.w) < 10);
    }
}

TEST_CASE("convolution errors name both shapes") {
    Arena memory;
    const Tensor<float> small = memory.zeros<float>({1, 4, 4, 16}),
                        large = memory.zeros<float>({1, 8, 8, 16}),
                        odd = memory.zeros<float>({1, 10, 8, 16}),
                        weight = memory.zeros<float>({3, 3, 16, 16}),
                        other = memory.zeros<float>({3, 3, 16, 8});
    CHECK_THROWS_WITH_AS(conv2d_doubled<float>(small, weight, odd, memory),
                         "upsample: [1,4,4,16] does not double to [1,10,8,16]", Error);
    CHECK_THROWS_WITH_AS(conv2d_doubled_vjp<float>(small, weight, odd, {}, memory),
                         "upsample: [1,4,4,16] does not double to [1,10,8,16]", Error);
    CHECK_THROWS_WITH_AS(conv2d_doubled_vjp<float>(small, other, large, {}, memory),
                         "conv2d_doubled_vjp: dy is [1,8,8,16]", Error);
    CHECK_THROWS_WITH_AS(
        conv2d_doubled_vjp<float>(small, weight, large, {large, false, {}}, memory),
        "conv2d_doubled_vjp: x is [1,4,4,16], its gradient [1,8,8,16]", Error);
    CHECK_THROWS_WITH_AS(
        conv2d_doubled_vjp<float>(small, weight, large, {{}, false, other}, memory),
        "conv2d_doubled_vjp: weight is [3,3,16,16], its gradient [3,3,16,8]", Error);
    CHECK_THROWS_WITH_AS(conv2d_shape({1, 8, 8, 3}, {3, 3, 4, 5}),
                         "conv2d: x is [1,8,8,3], weight is [3,3,4,5], expected [N,H,W,C] and "
                         "[1,1,C,O] or [3,3,C,O]",
                         Error);
    CHECK_THROWS_WITH_AS(conv2d_shape({1, 8, 8, 3}, {3, 3, 3, 5}, 3),
                         "conv2d: stride is 3, expected 1 or 2", Error);
    CHECK_THROWS_WITH_AS(conv2d_shape({1, 8, 1, 3}, {3, 3, 3, 5}, {2, Padding::after}),
                         "conv2d: x is [1,8,1,3], weight is [3,3,3,5], stride is 2: zeros after "
                         "the image only take a 3 x 3 kernel, stride 2 and 2 x 2 pixels",
                         Error);
}

TEST_SUITE_END();
