#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "02_gradients/gradient_check.hpp"
#include "02_gradients/ops.hpp"
#include "04_unet/group_norm.hpp"
#include "support/varied.hpp"

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
                      return conv2d(v[0], v[1], v[2], stride, v[3]);
                  }) < kTolerance);
            CHECK(gradient_error({x, weight, row, y}, [=](auto&, const Vars& v) {
                      return conv2d(v[0], v[1], v[2], stride, {}, v[3]);
                  }) < kTolerance);
            CHECK(gradient_error({x, weight, row, shift, y}, [=](auto&, const Vars& v) {
                      return conv2d(v[0], v[1], v[2], stride, v[3], v[4]);
                  }) < kTolerance);
        }
    }
}

TEST_CASE("(4.5) (4.6) group norm: VJPs equal central differences") {
    CHECK(gradient_error({{2, 3, varied_size(3), 6}, {6}, {6}}, [](auto&, const Vars& v) {
              return group_norm(v[0], v[1], v[2], 3);
          }) < kTolerance);
}

TEST_CASE("(4.5) (4.6) norm and SiLU inside a convolution: VJPs equal central differences") {
    const Shape row{12}, image{2, varied_size(4), 3, 12};
    for (int kernel : {1, 3}) {
        CHECK(gradient_error(
                  {image, row, row, {kernel, kernel, 12, 8}, {8}}, [](auto&, const Vars& v) {
                      return conv2d(Normed<double>{v[0], v[1], v[2], 3, true}, v[3], v[4]);
                  }) < kTolerance);
        // Two images read as one: 5 and 7 channels, so that the second of three groups has both.
        CHECK(gradient_error({{2, 4, 3, 5}, {2, 4, 3, 7}, row, row, {kernel, kernel, 12, 8}, {8}},
                             [](auto&, const Vars& v) {
                                 const Joined<double> x(v[0], v[1]);
                                 return conv2d(Normed<double>{x, v[2], v[3], 3, true}, v[4], v[5]);
                             }) < kTolerance);
    }
    CHECK(
        gradient_error({{2, 4, 3, 5}, {2, 4, 3, 7}, {1, 1, 12, 8}, {8}}, [](auto&, const Vars& v) {
            return conv2d(Joined<double>(v[0], v[1]), v[2], v[3]);
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
        const Joined<double> x(r[0], r[1]);
        const Var<double> h = conv2d(Normed<double>{x, r[2], r[3], 3, true}, r[4], r[5], 1, r[8]);
        const Var<double> around = conv2d(x, r[7], r[5]);
        const Var<double> y = conv2d(h, r[9], r[5], 1, {}, around, true);
        return conv2d(Upsampled<double>{add(y, r[6]), 8, 6}, r[9], r[5]);
    };
    CHECK(gradient_error(shapes, all) < kTolerance);
    for (std::size_t i = 0; i < shapes.size(); ++i) {
        CAPTURE(i);
        const auto direct = [](auto&, const Vars& v) {
            const Joined<double> x(v[0], v[1]);
            const Var<double> h =
                conv2d(Normed<double>{x, v[2], v[3], 3, true}, v[4], v[5], 1, v[8], v[6]);
            return conv2d(Upsampled<double>{add(h, conv2d(x, v[7], v[5])), 8, 6}, v[9], v[5]);
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
    const Joined<double> both(left, right);
    const Tensor<double> side_by_side = memory.make<double>({2, 5, 5, 12});
    for (int p = 0; p < 50; ++p) {
        std::copy_n(a.rows()[p].data(), 5, side_by_side.rows()[p].data());
        std::copy_n(b.rows()[p].data(), 7, side_by_side.rows()[p].data() + 5);
    }
    const Var<double> whole = tape.constant(side_by_side);
    equal(conv2d(Normed<double>{both, gain, bias, 3, true}, w3, plus),
          conv2d(silu(group_norm(whole, gain, bias, 3)), w3, plus));
    equal(conv2d(both, w1, plus), conv2d(whole, w1, plus));
    // The result in the place of what it is added to.
    const Var<double> other = conv2d(both, w1, plus), kept = conv2d(both, w1, plus);
    equal(conv2d(whole, w3, plus, 1, {}, other, true), conv2d(whole, w3, plus, 1, {}, kept));
    CHECK_THROWS_WITH_AS(conv2d(both, w1, plus, 1, {}, {}, true),
                         "conv2d: onto needs something to add to that is not its input", Error);
    CHECK_THROWS_WITH_AS(conv2d(both, w3, plus), "conv2d: joined images need K = 1", Error);
    CHECK_THROWS_WITH_AS(
        conv2d(Joined<double>(left, tape.constant(normal<double>(memory, {2, 5, 4, 7}, 8))), w1,
               plus),
        "joined images: shapes are [2,5,5,5] and [2,5,4,7]", Error);
}

namespace {

/// Group norm and SiLU by obvious loops in double, and the VJP by (2.6) and the formula before
/// (4.6).
struct ObviousNorm {
    std::vector<double> y, dx, dgain, dbias;
};
template <class T>
ObviousNorm group_norm_obvious(Tensor<T> x, Tensor<T> gain, Tensor<T> bias, int groups, bool silu,
                               Tensor<T> dy) {
    const int pixels = x.size(1) * x.size(2), channels = x.size(3), width = channels / groups;
    const auto n = static_cast<std::size_t>(x.numel()), c = static_cast<std::size_t>(channels);
    ObviousNorm o{std::vector<double>(n), std::vector<double>(n), std::vector<double>(c),
                  std::vector<double>(c)};
    const auto number = [](T v) { return static_cast<double>(v); };
    for (int image = 0; image < x.size(0); ++image) {
        for (int group = 0; group < groups; ++group) {
            const auto each = [&](auto visit) {
                for (int p = 0; p < pixels; ++p) {
                    for (int k = group * width; k < (group + 1) * width; ++k)
                        visit((image * pixels + p) * channels + k, k);
                }
            };
            const double count = pixels * width;
            double mean = 0, square = 0, g_mean = 0, along = 0;
            each([&](int i, int) { mean += number(x.data()[i]) / count; });
            each([&](int i, int) { square += std::pow(number(x.data()[i]) - mean, 2) / count; });
            const double deviation = std::sqrt(square + 1e-5);
            const auto normal = [&](int i) { return (number(x.data()[i]) - mean) / deviation; };
            const auto dz = [&](int i, int k) {
                const double z = normal(i) * number(gain(k)) + number(bias(k)),
                             s = 1 / (1 + std::exp(-z));
                return number(dy.data()[i]) * (silu ? s + z * s * (1 - s) : 1);
            };
            each([&](int i, int k) {
                const auto at = static_cast<std::size_t>(i), channel = static_cast<std::size_t>(k);
                const double z = normal(i) * number(gain(k)) + number(bias(k));
                o.y[at] = silu ? z / (1 + std::exp(-z)) : z;
                o.dgain[channel] += dz(i, k) * normal(i);
                o.dbias[channel] += dz(i, k);
                g_mean += number(gain(k)) * dz(i, k) / count;
                along += number(gain(k)) * dz(i, k) * normal(i) / count;
            });
            each([&](int i, int k) {
                o.dx[static_cast<std::size_t>(i)] =
                    (number(gain(k)) * dz(i, k) - g_mean - normal(i) * along) / deviation;
            });
        }
    }
    return o;
}

/// Root of the mean square of the difference, in epsilons of that of b.
template <class T>
double epsilons(Tensor<T> a, const std::vector<double>& b) {
    double error = 0, norm = 0;
    for (std::size_t i = 0; i < b.size(); ++i) {
        const double off = static_cast<double>(a.data()[i]) - b[i];
        error += off * off;
        norm += b[i] * b[i];
    }
    return std::sqrt(error / norm) / static_cast<double>(std::numeric_limits<T>::epsilon());
}

}  // namespace

TEST_CASE_TEMPLATE("(4.5) (4.6) group norm and SiLU equal obvious loops within a few epsilon", T,
                   float, double) {
    struct Case {
        int images, size, a, b, groups;
    };
    for (const Case s :
         {Case{1, 28, 32, 0, 8}, Case{2, 7, 64, 64, 8}, Case{3, varied_size(3), 5, 7, 3},
          Case{2, 1, 24, 0, 8}, Case{1, 14, 33, 31, 8}}) {
        for (const bool silu : {false, true}) {
            CAPTURE(s.size);
            CAPTURE(s.a);
            CAPTURE(silu);
            Arena memory, arena;
            Tape<T> tape(arena);
            const int channels = s.a + s.b;
            const Tensor<T> x = normal<T>(memory, {s.images, s.size, s.size, channels}, 1),
                            dy = normal<T>(memory, x.shape(), 2);
            const Tensor<T> gain = normal<T>(memory, {channels}, 3),
                            bias = normal<T>(memory, {channels}, 4);
            const Tensor<T> dgain = memory.zeros<T>({channels}),
                            dbias = memory.zeros<T>({channels});
            const auto part = [&](int first, int count) {
                const Tensor<T> some = memory.make<T>({s.images, s.size, s.size, count});
                for (int p = 0; p < some.rows().size(0); ++p)
                    std::copy_n(&x.rows()(p, first), count, some.rows()[p].data());
                return tape.leaf(some, memory.zeros<T>(some.shape()));
            };
            const Var<T> a = part(0, s.a), b = s.b > 0 ? part(s.a, s.b) : Var<T>();
            const Normed<T> norm{Joined<T>(a, b), tape.leaf(gain, dgain), tape.leaf(bias, dbias),
                                 s.groups, silu};
            const Tensor<T> y = memory.make<T>(x.shape()), again = memory.make<T>(x.shape());
            const ObviousNorm o = group_norm_obvious(x, gain, bias, s.groups, silu, dy);
            const NormLines<T> lines = group_norm_forward(norm, y);
            CHECK(epsilons(y, o.y) < 8);
            group_norm_vjp(norm, lines, dy, again);
            if (silu) CHECK(epsilons(again, o.y) < 8);
            const Tensor<T> dx = memory.make<T>(x.shape());
            for (int p = 0; p < dx.rows().size(0); ++p) {
                T* to = dx.rows()[p].data();
                std::copy_n(a.grad().rows()[p].data(), s.a, to);
                if (b) std::copy_n(b.grad().rows()[p].data(), s.b, to + s.a);
            }
            CHECK(epsilons(dx, o.dx) < 16);
            CHECK(epsilons(dgain, o.dgain) < 16);
            CHECK(epsilons(dbias, o.dbias) < 16);
        }
    }
}

TEST_CASE("(4.8) row i of an upsampled image is row i / 2 of the small one, inside a convolution") {
    for (int height : {5, 6}) {
        for (int width : {7, 8}) {
            Arena memory, arena;
            Tape<double> tape(arena);
            const Tensor<double> small = normal<double>(memory, {2, 3, 4, 8}, 1),
                                 large = memory.make<double>({2, height, width, 8});
            for (int n = 0; n < 2; ++n) {
                for (int i = 0; i < height; ++i) {
                    for (int j = 0; j < width; ++j) {
                        for (int c = 0; c < 8; ++c) large(n, i, j, c) = small(n, i / 2, j / 2, c);
                    }
                }
            }
            const Var<double> w = tape.constant(normal<double>(memory, {3, 3, 8, 8}, 2)),
                              b = tape.constant(normal<double>(memory, {8}, 3));
            const Tensor<double> y =
                conv2d(Upsampled<double>{tape.constant(small), height, width}, w, b).value();
            const Tensor<double> y2 = conv2d(tape.constant(large), w, b).value();
            for (std::ptrdiff_t i = 0; i < y.numel(); ++i) CHECK(y.data()[i] == y2.data()[i]);
            CHECK_THROWS_WITH_AS(conv2d(Upsampled<double>{tape.constant(small), 7, 8}, w, b),
                                 "upsample: [2,3,4,8] does not double to [2,7,8,8]", Error);
        }
    }
}

TEST_CASE("(4.8) slices and upsampling: VJPs equal central differences") {
    CHECK(gradient_error({{2, 3, 6}}, [](auto&, const Vars& v) {
              return slice_channels(v[0], 2, 3);
          }) < kTolerance);
    for (int channels : {3, 8}) {  // 8 go Winograd's way
        for (int width : {3, 4}) {
            CHECK(gradient_error({{2, 3, 2, channels}, {3, 3, channels, 8}, {8}},
                                 [=](auto&, const Vars& v) {
                                     return conv2d(Upsampled<double>{v[0], 6, width}, v[1], v[2]);
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
        group_norm(tape.constant(x), tape.constant(one), tape.constant(zero), 2, 0.0).value();
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
