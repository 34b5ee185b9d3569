#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "02_gradients/gradient_check.hpp"
#include "02_gradients/ops.hpp"
#include "04_unet/convolution.hpp"
#include "04_unet/plain_ops.hpp"
#include "support/exact.hpp"
#include "support/varied.hpp"
#include "tensor/array.hpp"

using namespace diffusion;
using Vars = std::vector<Var<double>>;

namespace {

constexpr double kTolerance = 1e-7;

template <class T>
Tensor<T> normal(Arena& memory, Shape shape, std::uint32_t stream) {
    const Tensor<T> x = memory.make<T>(shape);
    fill_normal(x, Random(varied_seed(31), Purpose::test, stream));
    return x;
}

/// The norm of `x` with SiLU, for a convolution to compute.
ConvInput<double> norm_silu(const ConvInput<double>& x, Var<double> gain, Var<double> bias) {
    return normed(x, {gain, bias, 3, 1e-5, true});
}

}  // namespace

TEST_SUITE_BEGIN("ch04 grad");

TEST_CASE("(4.1) (4.2) (4.3) convolution: all three VJPs equal central differences") {
    for (int stride : {1, 2}) {
        for (int kernel : {1, 3}) {
            CHECK(gradient_error({{2, 5, 4, 3}, {kernel, kernel, 3, 2}, {2}},
                                 [=](auto&, const Vars& v) {
                                     return conv2d(v[0], v[1], v[2], stride);
                                 }) < kTolerance);
        }
    }
}

TEST_CASE("(4.12) (4.13) what is added to a convolution: VJPs equal central differences") {
    for (int channels : {2, 8}) {  // 8 go Winograd's way
        for (int stride : {1, 2}) {
            const int h = 6 / stride, w = 4 / stride;
            const Shape x{2, 6, 4, channels}, y{2, h, w, channels},
                weight{3, 3, channels, channels}, row{channels}, shift{2, channels};
            CHECK(gradient_error({x, weight, row, shift}, [=](auto&, const Vars& v) {
                      return conv2d(v[0], v[1], v[2], stride, {v[3]});
                  }) < kTolerance);
            CHECK(gradient_error({x, weight, row, y}, [=](auto&, const Vars& v) {
                      return conv2d(v[0], v[1], v[2], stride, {.image = v[3]});
                  }) < kTolerance);
            CHECK(gradient_error({x, weight, row, shift, y}, [=](auto&, const Vars& v) {
                      return conv2d(v[0], v[1], v[2], stride, {v[3], v[4]});
                  }) < kTolerance);
        }
    }
}

TEST_CASE("(4.5) (4.6) group norm: VJPs equal central differences") {
    CHECK(gradient_error({{2, 3, varied_size(3), 6}, {6}, {6}}, [](auto&, const Vars& v) {
              return group_norm(v[0], {v[1], v[2], 3});
          }) < kTolerance);
}

TEST_CASE("(4.5) (4.6) norm and SiLU inside a convolution: VJPs equal central differences") {
    const Shape row{12}, image{2, varied_size(4), 3, 12};
    for (int kernel : {1, 3}) {
        CHECK(gradient_error({image, row, row, {kernel, kernel, 12, 8}, {8}},
                             [](auto&, const Vars& v) {
                                 return conv2d(norm_silu(v[0], v[1], v[2]), v[3], v[4]);
                             }) < kTolerance);
        // Two images read as one: 5 and 7 channels, so that the second of three groups has both.
        CHECK(gradient_error({{2, 4, 3, 5}, {2, 4, 3, 7}, row, row, {kernel, kernel, 12, 8}, {8}},
                             [](auto&, const Vars& v) {
                                 const ConvInput<double> x(v[0], v[1]);
                                 return conv2d(norm_silu(x, v[2], v[3]), v[4], v[5]);
                             }) < kTolerance);
    }
    CHECK(
        gradient_error({{2, 4, 3, 5}, {2, 4, 3, 7}, {1, 1, 12, 8}, {8}}, [](auto&, const Vars& v) {
            return conv2d(ConvInput<double>(v[0], v[1]), v[2], v[3]);
        }) < kTolerance);
}

TEST_CASE("convolutions whose inputs are results, or constants in part") {
    // Leaves bring memory for their gradients; the gradient of a result starts with nothing, so it
    // is written, or handed over, where a leaf's is added to.
    const std::vector<Shape> shapes{{2, 4, 3, 5},  {2, 4, 3, 7}, {12},         {12},
                                    {3, 3, 12, 8}, {8},          {2, 4, 3, 8}, {1, 1, 12, 8},
                                    {2, 8},        {3, 3, 8, 8}};
    const auto all = [](auto&, const Vars& v) {
        Vars r;
        for (const Var<double>& x : v) r.push_back(scale(x, 1.0));
        const ConvInput<double> x(r[0], r[1]);
        const Var<double> h = conv2d(norm_silu(x, r[2], r[3]), r[4], r[5], 1, {r[8]});
        const Var<double> around = conv2d(x, r[7], r[5]);
        const Var<double> y = conv2d(h, r[9], r[5], 1, {.image = around, .in_place = true});
        return conv2d(doubled(add(y, r[6]), 8, 6), r[9], r[5]);
    };
    CHECK(gradient_error(shapes, all) < kTolerance);
    for (std::size_t i = 0; i < shapes.size(); ++i) {
        CAPTURE(i);
        const auto direct = [](auto&, const Vars& v) {
            const ConvInput<double> x(v[0], v[1]);
            const Var<double> h = conv2d(norm_silu(x, v[2], v[3]), v[4], v[5], 1, {v[8], v[6]});
            return conv2d(doubled(add(h, conv2d(x, v[7], v[5])), 8, 6), v[9], v[5]);
        };
        CHECK(gradient_error(shapes, direct, i) < kTolerance);
    }
}

TEST_CASE("norm, SiLU and joined images inside a convolution equal the operations one by one") {
    Arena memory, arena;
    Tape<double> tape(arena);
    const Tensor<double> a = normal<double>(memory, {2, 5, 5, 5}, 1),
                         b = normal<double>(memory, {2, 5, 5, 7}, 2);
    const auto row = [&](std::uint32_t i, int n) {
        return tape.constant(normal<double>(memory, {n}, i));
    };
    const Var<double> gain = row(3, 12), bias = row(4, 12), plus = row(5, 8);
    const Var<double> left = tape.constant(a), right = tape.constant(b);
    const Var<double> w3 = tape.constant(normal<double>(memory, {3, 3, 12, 8}, 6)),
                      w1 = tape.constant(normal<double>(memory, {1, 1, 12, 8}, 7));
    const auto equal = [](Var<double> x, Var<double> y) {
        for (std::ptrdiff_t i = 0; i < x.value().numel(); ++i)
            CHECK(x.value().data()[i] == doctest::Approx(y.value().data()[i]).epsilon(1e-12));
    };
    const ConvInput<double> both(left, right);
    const Tensor<double> side_by_side = memory.make<double>({2, 5, 5, 12});
    for (int p = 0; p < 50; ++p) {
        std::copy_n(a.rows()[p].data(), 5, side_by_side.rows()[p].data());
        std::copy_n(b.rows()[p].data(), 7, side_by_side.rows()[p].data() + 5);
    }
    const Var<double> whole = tape.constant(side_by_side);
    equal(conv2d(norm_silu(both, gain, bias), w3, plus),
          conv2d(silu(group_norm(whole, {gain, bias, 3})), w3, plus));
    equal(conv2d(both, w1, plus), conv2d(whole, w1, plus));
    // The result in the place of what it is added to.
    const Var<double> other = conv2d(both, w1, plus), kept = conv2d(both, w1, plus);
    equal(conv2d(whole, w3, plus, 1, {.image = other, .in_place = true}),
          conv2d(whole, w3, plus, 1, {.image = kept}));
    CHECK_THROWS_WITH_AS(conv2d(both, w1, plus, 1, {.in_place = true}),
                         "conv2d: in_place needs an image to add to that is not its input", Error);
    CHECK_THROWS_WITH_AS(conv2d(both, w3, plus), "conv2d: joined images need K = 1", Error);
    CHECK_THROWS_WITH_AS(
        conv2d(ConvInput<double>(left, tape.constant(normal<double>(memory, {2, 5, 4, 7}, 8))), w1,
               plus),
        "joined images: shapes are [2,5,5,5] and [2,5,4,7]", Error);
}

TEST_CASE("(4.1) a convolution without a bias, and with zeros after the image: VJPs") {
    const ConvOptions after(2, Padding::after);
    for (int channels : {3, 8}) {
        const Shape weight{3, 3, channels, 8}, image{2, 5, 4, channels};
        CHECK(gradient_error({image, weight, {8}}, [=](auto&, const Vars& v) {
                  return conv2d(v[0], v[1], v[2], after);
              }) < kTolerance);
        CHECK(gradient_error({image, weight}, [=](auto&, const Vars& v) {
                  return conv2d(v[0], v[1], {}, after);
              }) < kTolerance);
        CHECK(gradient_error({image, weight, {2, 8}}, [=](auto&, const Vars& v) {
                  return conv2d(v[0], v[1], {}, 1, {v[2]});
              }) < kTolerance);
        CHECK(gradient_error({image, weight, {2, 5, 4, 8}}, [=](auto&, const Vars& v) {
                  return conv2d(v[0], v[1], {}, 1, {.image = v[2]});
              }) < kTolerance);
    }
}

TEST_CASE("(4.1) (4.5) images that the cache does not hold together have what each has by itself") {
    constexpr int kImages = 3;
    const Shape shape{kImages, 64, 64, 24}, result{kImages, 64, 64, 16};
    REQUIRE(2 * shape.numel() / kImages > kNumbersInCache<float>);
    Arena memory;
    const Tensor<float> x = normal<float>(memory, shape, 1),
                        weight = normal<float>(memory, {3, 3, 24, 16}, 2),
                        line = normal<float>(memory, {24}, 3),
                        shift = normal<float>(memory, {kImages, 16}, 4),
                        other = normal<float>(memory, result, 5), dy = other;
    struct Results {
        Array<float> y, dx, dweight, dline;
    };
    const auto convolved = [&](int first, int count) {
        const Images some{first, count};
        Arena arena;
        Tape<float> tape(arena);
        const Var<float> in = tape.leaf(some.of(x)), w = tape.leaf(weight), gain = tape.leaf(line);
        const Var<float> y = conv2d(
            normed(ConvInput<float>(in), {gain, tape.constant(line), 1, 1e-5, true}), w, {}, {},
            {.shift = tape.constant(some.of(shift)), .image = tape.constant(some.of(other))});
        tape.backward(y, some.of(dy));
        const auto copy = [](Tensor<float> from) {
            Array<float> to(from.shape());
            std::ranges::copy(from, to.begin());
            return to;
        };
        return Results{copy(y.value()), copy(in.grad()), copy(w.grad()), copy(gain.grad())};
    };
    const Results all = convolved(0, kImages);
    Array<float> dweight(weight.shape()), dline(line.shape());
    for (int n = 0; n < kImages; ++n) {
        Results one = convolved(n, 1);
        CHECK(std::ranges::equal(one.y.tensor(), all.y.tensor()[n]));
        CHECK(std::ranges::equal(one.dx.tensor(), all.dx.tensor()[n]));
        write_or_add(dweight.tensor(), 1.0f, one.dweight.tensor(), true);
        write_or_add(dline.tensor(), 1.0f, one.dline.tensor(), true);
    }
    const auto near = [](float a, float b) { return std::abs(a - b) < 0.05f; };
    CHECK((std::ranges::equal(dweight, all.dweight, near) &&
           std::ranges::equal(dline, all.dline, near)));
}

namespace {

/// Group norm and SiLU of a batch, and their VJP, from the plain loops and (2.6).
struct PlainNorm {
    Tensor<double> y, dx, dgain, dbias;

    /// dx begins with what is there.
    PlainNorm(Tensor<double> x, Tensor<double> gain, Tensor<double> bias, int groups, double eps,
              bool silu, Tensor<double> dy, Tensor<double> dx_, Arena& memory)
        : y(memory.make<double>(x.shape())),
          dx(dx_),
          dgain(memory.zeros<double>(gain.shape())),
          dbias(memory.zeros<double>(gain.shape())) {
        const Tensor<double> dz = exactly(dy, memory);
        for (int n = 0; n < x.size(0); ++n) {
            plain::group_norm(x[n].rows(), gain, bias, groups, eps, y[n].rows());
            for (std::ptrdiff_t i = 0; silu && i < y[n].numel(); ++i) {
                double& z = y[n].data()[i];
                const double s = 1 / (1 + std::exp(-z));
                dz[n].data()[i] *= silu_slope(s, z * s);  // (2.6)
                z *= s;
            }
            plain::group_norm_vjp(dz[n].rows(), x[n].rows(), gain, groups, eps, dx[n].rows(), dgain,
                                  dbias);
        }
    }
};

}  // namespace

TEST_CASE_TEMPLATE("(4.5) (4.6) group norm and SiLU equal plain loops within a few epsilon", T,
                   float, double) {
    struct Case {
        int images, size, a, b, groups;
        double eps;
    };
    for (const Case s :
         {Case{1, 28, 32, 0, 8, 1e-5}, Case{2, 7, 64, 64, 32, 1e-6},
          Case{3, varied_size(3), 5, 7, 3, 1e-5}, Case{2, 1, 24, 0, 8, 1e-3},
          Case{1, 14, 33, 31, 8, 1e-5}, Case{2, 3, 6, 0, 1, 0.5}, Case{1, 131, 37, 27, 8, 1e-5}}) {
        for (const bool with_silu : {false, true}) {
            CAPTURE(s.size);
            CAPTURE(s.a);
            CAPTURE(with_silu);
            Arena memory, scratch;
            // The loops add up all numbers of a group, one after the other.
            const double most = s.size > 100 ? 32 : 8;
            const int channels = s.a + s.b;
            const Tensor<T> x = normal<T>(memory, {s.images, s.size, s.size, channels}, 1),
                            dy = normal<T>(memory, x.shape(), 2);
            const Tensor<T> gain = normal<T>(memory, {channels}, 3),
                            bias = normal<T>(memory, {channels}, 4);
            const auto channels_of = [&](Tensor<T> all, int first, int count) {
                const Tensor<T> some = memory.make<T>({s.images, s.size, s.size, count});
                for (int p = 0; p < some.rows().size(0); ++p)
                    std::copy_n(&all.rows()(p, first), count, some.rows()[p].data());
                return some;
            };
            // The gradient of a is added to, that of b is written.
            const Tensor<T> before = normal<T>(memory, x.shape(), 5);
            for (int p = 0; p < before.rows().size(0); ++p)
                std::fill_n(before.rows()[p].data() + s.a, s.b, T(0));
            const PlainNorm expected(exactly(x, memory), exactly(gain, memory),
                                     exactly(bias, memory), s.groups, s.eps, with_silu,
                                     exactly(dy, memory), exactly(before, memory), memory);
            GroupNormInput<T> in{
                channels_of(x, 0, s.a), {}, gain, bias, s.groups, s.eps, with_silu};
            if (s.b > 0) in.b = channels_of(x, s.a, s.b);
            const Tensor<T> y = memory.make<T>(x.shape()), again = memory.make<T>(x.shape());
            const auto line = [&](int n) { return memory.make<T>({s.images, n}); };
            const GroupNormLines<T> lines{line(channels), line(channels), line(s.groups),
                                          line(s.groups)};
            group_norm_forward(in, lines, y, scratch);
            CHECK(epsilons(y, expected.y) < most);
            GroupNormGradients<T> to;
            to.a = channels_of(before, 0, s.a);
            if (in.b) to.b = memory.make<T>(in.b.shape());
            to.add_b = false;
            to.gain = memory.zeros<T>({channels});
            to.bias = memory.zeros<T>({channels});
            group_norm_vjp(in, lines, dy, again, to, scratch);
            if (with_silu) CHECK(epsilons(again, expected.y) < most);
            const Tensor<T> dx = memory.make<T>(x.shape());
            for (int p = 0; p < dx.rows().size(0); ++p) {
                std::copy_n(to.a.rows()[p].data(), s.a, dx.rows()[p].data());
                if (in.b) std::copy_n(to.b.rows()[p].data(), s.b, dx.rows()[p].data() + s.a);
            }
            CHECK(epsilons(dx, expected.dx) < 2 * most);
            CHECK(epsilons(to.gain, expected.dgain) < 2 * most);
            CHECK(epsilons(to.bias, expected.dbias) < 2 * most);
        }
    }
}

TEST_CASE("(4.5) a group may have more numbers than an int can count") {
    CHECK(numbers_of_group({1, 46340, 46340, 6}, 2) == std::ptrdiff_t{46340} * 46340 * 3);
    // More pixels than an int can count are refused before anything is read or written.
    const Tensor<float> large(nullptr, {1, 65536, 32768, 6});
    Arena scratch;
    CHECK_THROWS_WITH_AS(
        group_norm_forward<float>(
            {.a = large, .b = {}, .gain = {}, .bias = {}, .groups = 2, .eps = 1e-5, .silu = false},
            {}, large, scratch),
        "images [1,65536,32768,6]: too many pixels", Error);
    CHECK_THROWS_WITH_AS(
        group_norm_vjp<float>(
            {.a = large, .b = {}, .gain = {}, .bias = {}, .groups = 2, .eps = 1e-5, .silu = false},
            {}, large, large, {}, scratch),
        "images [1,65536,32768,6]: too many pixels", Error);
}

TEST_CASE("(4.8) row i of an upsampled image is row i / 2 of the small one, inside a convolution") {
    for (int height : {5, 6}) {
        for (int width : {7, 8}) {
            Arena memory, arena;
            Tape<double> tape(arena);
            const Tensor<double> small = normal<double>(memory, {2, 3, 4, 8}, 1),
                                 large = memory.make<double>({2, height, width, 8});
            for (int n = 0; n < 2; ++n) plain::upsample(small[n], large[n]);
            const Var<double> w = tape.constant(normal<double>(memory, {3, 3, 8, 8}, 2)),
                              b = tape.constant(normal<double>(memory, {8}, 3));
            const Tensor<double> y =
                conv2d(doubled(tape.constant(small), height, width), w, b).value();
            const Tensor<double> y2 = conv2d(tape.constant(large), w, b).value();
            for (std::ptrdiff_t i = 0; i < y.numel(); ++i) CHECK(y.data()[i] == y2.data()[i]);
            CHECK_THROWS_WITH_AS(conv2d(doubled(tape.constant(small), 7, 8), w, b),
                                 "upsample: [2,3,4,8] does not double to [2,7,8,8]", Error);
        }
    }
}

TEST_CASE("(4.8) the VJP of doubling collects what plain loops collect, and adds it") {
    Arena memory;
    const Tensor<double> dy = normal<double>(memory, {2, 5, 8, 3}, 1),
                         dx = normal<double>(memory, {2, 3, 4, 3}, 2), dx2 = exactly(dx, memory);
    upsample_vjp<double>(dy, true, dx);
    for (int n = 0; n < 2; ++n) plain::upsample_vjp(dy[n], dx2[n]);
    CHECK(epsilons(dx, dx2) < 2);
}

TEST_CASE("(4.8) slices and upsampling: VJPs equal central differences") {
    CHECK(gradient_error({{2, 3, 6}}, [](auto&, const Vars& v) {
              return slice_channels(v[0], 2, 3);
          }) < kTolerance);
    for (int channels : {3, 8}) {  // 8 go Winograd's way
        for (int width : {3, 4}) {
            CHECK(gradient_error({{2, 3, 2, channels}, {3, 3, channels, 8}, {8}},
                                 [=](auto&, const Vars& v) {
                                     return conv2d(doubled(v[0], 6, width), v[1], v[2]);
                                 }) < kTolerance);
        }
    }
}

TEST_SUITE_END();
TEST_SUITE_BEGIN("ch04 math");

TEST_CASE(
    "(4.5) after group norm each group of each image has mean 0 and variance 1, also far from 0") {
    Arena memory, arena;
    Tape<double> tape(arena);
    const Tensor<double> x = normal<double>(memory, {2, 5, 5, 6}, 1);
    for (double& v : x) v = 1e6 + 3 * v;
    const Tensor<double> one = memory.zeros<double>({6}), zero = memory.zeros<double>({6});
    for (double& v : one) v = 1;
    const Tensor<double> y =
        group_norm(tape.constant(x), {tape.constant(one), tape.constant(zero), 2, 0}).value();
    for (int n = 0; n < 2; ++n) {
        for (int g = 0; g < 2; ++g) {
            double mean = 0, square = 0;
            for (int p = 0; p < 25; ++p) {
                for (int c = 3 * g; c < 3 * g + 3; ++c) {
                    const double v = y[n].rows()(p, c);
                    mean += v / 75;
                    square += v * v / 75;
                }
            }
            CHECK(std::abs(mean) < 1e-8);  // 1e6 epsilon, and a little
            CHECK(square == doctest::Approx(1).epsilon(1e-8));
        }
    }
}

TEST_SUITE_END();
