#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "02_gradients/gradient_check.hpp"
#include "02_gradients/optimizer.hpp"
#include "04_unet/unet.hpp"
#include "kernels/threads.hpp"
#include "support/varied.hpp"

using namespace diffusion;

namespace {

/// A small network all of whose parameters are random, the zero-initialised ones too.
struct Network {
    ParameterList list;
    UNet unet;
    Array<double> values, gradient;
    explicit Network(const UNetConfig& config)
        : unet(list, "", config), values(list.block()), gradient(values.shape()) {
        list.initialise<double>(values, 1);
        Random random(2, Purpose::test);
        for (double& v : values) v += 0.05 * random.normal();
    }
};

template <class T>
Tensor<T> normal(Arena& memory, Shape shape, std::uint32_t stream) {
    const Tensor<T> x = memory.make<T>(shape);
    fill_normal(x, Random(varied_seed(41), Purpose::test, stream));
    return x;
}

}  // namespace

TEST_SUITE_BEGIN("ch04 grad");

TEST_CASE("the whole UNet: its VJP along random directions equals central differences") {
    for (const int size : {7, 8}) {  // 7 -> 4 -> 2 and back: odd sizes too
        Network net(unet_config(2, 8, {1, 2, 1}, 2));
        Arena memory, arena;
        const Tensor<double> x = normal<double>(memory, {2, size, size, 2}, 1),
                             w = normal<double>(memory, x.shape(), 2);
        const std::vector<float> t{3, 700};
        Tape<double> tape(arena);
        const auto loss = [&](const Array<double>& values, Tensor<double> input) {
            tape.reset();
            Array<double> copy = values;
            tape.bind(copy.data());
            const Tensor<double> y = net.unet(tape.constant(input), t).value();
            double sum = 0;
            for (std::ptrdiff_t i = 0; i < y.numel(); ++i) sum += y.data()[i] * w.data()[i];
            return sum;
        };
        tape.bind(net.values.data(), net.gradient.data());
        std::fill(net.gradient.begin(), net.gradient.end(), 0.0);
        const Tensor<double> dx = memory.zeros<double>(x.shape());
        tape.backward_from(mul(net.unet(tape.leaf(x, dx), t), tape.constant(w)), 1.0);
        for (std::uint32_t direction = 0; direction < 5; ++direction) {
            Random random(3, Purpose::test, direction);
            Array<double> above = net.values, below = net.values;
            double expected = 0;
            // A direction of length 1: the error of the difference grows with the square of the
            // step's length.
            constexpr double h = 1e-5;
            const double length = std::sqrt(static_cast<double>(net.values.size()));
            for (std::size_t i = 0; i < above.size(); ++i) {
                const double d = random.normal() / length;
                above[i] += h * d;
                below[i] -= h * d;
                expected += d * net.gradient[i];
            }
            CHECK((loss(above, x) - loss(below, x)) / (2 * h) ==
                  doctest::Approx(expected).epsilon(1e-6));
            // And a direction in the pictures.
            const Tensor<double> up = memory.make<double>(x.shape()),
                                 down = memory.make<double>(x.shape());
            double along = 0;
            for (std::ptrdiff_t i = 0; i < x.numel(); ++i) {
                const double d = random.normal() / std::sqrt(static_cast<double>(x.numel()));
                up.data()[i] = x.data()[i] + h * d;
                down.data()[i] = x.data()[i] - h * d;
                along += d * dx.data()[i];
            }
            CHECK((loss(net.values, up) - loss(net.values, down)) / (2 * h) ==
                  doctest::Approx(along).epsilon(1e-6));
        }
    }
}

TEST_CASE("(4.13) (4.14) at first a block is its shortcut: x itself where the channels stay") {
    ParameterList list;
    const UNetConfig config;
    const ResBlock same(list, "a", 8, 8, 4, config), wider(list, "b", 8, 16, 4, config);
    Array<double> values(list.block());
    list.initialise<double>(values, varied_seed(5));
    Arena memory, arena;
    Tape<double> tape(arena);
    tape.bind(values.data());
    const int width = varied_size(3);
    const Var<double> x = tape.constant(normal<double>(memory, {2, 3, width, 8}, 1)),
                      time = tape.constant(normal<double>(memory, {2, 4}, 2));
    const Tensor<double> kept = memory.make<double>(x.shape());
    std::copy(x.value().begin(), x.value().end(), kept.begin());
    const Tensor<double> y = same(x, time).value(), past = (*wider.skip)(x).value();
    CHECK(std::equal(y.begin(), y.end(), kept.begin()));
    const Tensor<double> z = wider(x, time).value();
    for (std::ptrdiff_t i = 0; i < z.numel(); ++i)
        CHECK(z.data()[i] == doctest::Approx(past.data()[i]).epsilon(1e-12));
}

TEST_CASE(
    "(4.11) to (4.14) the residual block differentiated by hand gives exactly what the tape "
    "gives") {
    ParameterList list;
    const ResBlock block(list, "b", 8, 16, 4, UNetConfig());
    Array<double> values(list.block()), gradient(values.size());
    list.initialise<double>(values, 5);
    Random random(6, Purpose::test);
    for (double& v : values) v += 0.1 * random.normal();
    Arena memory, arena, other;
    const Tensor<double> x = normal<double>(memory, {2, 3, 3, 8}, 1),
                         time = normal<double>(memory, {2, 4}, 2);
    const Tensor<double> dx = memory.zeros<double>(x.shape());
    Tape<double> tape(arena);
    tape.bind(values.data(), gradient.data());
    const Tensor<double> dy = normal<double>(memory, {2, 3, 3, 16}, 3),
                         dtime = memory.zeros<double>(time.shape());
    tape.backward_from(mul(block(tape.leaf(x, dx), tape.leaf(time, dtime)), tape.constant(dy)),
                       1.0);

    // By hand: y = skip(x) + conv2(z2), z2 = norm2(h), h = conv1(z1) + shift, z1 = norm1(x); every
    // gradient in turn.
    Tape<double> pieces(other);
    const Tensor<double> by_hand = memory.zeros<double>(x.shape());
    Array<double> by_hand_gradient(values.shape());
    const auto pull = [&](auto layer, Tensor<double> input, Tensor<double> cotangent) {
        pieces.reset();
        pieces.bind(values.data(), by_hand_gradient.data());
        const Tensor<double> g = memory.zeros<double>(input.shape());
        const Var<double> y = layer(pieces.leaf(input, g));
        pieces.backward_from(mul(y, pieces.constant(cotangent)), 1.0);
        return g;
    };
    const auto push = [&](auto layer, Tensor<double> input) {
        pieces.bind(values.data());
        const Tensor<double> y = layer(pieces.constant(input)).value(),
                             kept = memory.make<double>(y.shape());
        std::copy(y.begin(), y.end(), kept.begin());
        pieces.reset();
        return kept;
    };
    const auto norm1 = [&](Var<double> v) { return silu(block.norm1(v)); };
    const auto norm2 = [&](Var<double> v) { return silu(block.norm2(v)); };
    const auto shift = [&](Var<double> v) {
        const Var<double> u = (*block.time)(pieces.constant(time));
        const Tensor<double> every = pieces.arena().make<double>(v.shape());
        for (int n = 0; n < v.size(0); ++n) {
            for (int p = 0; p < v.size(1) * v.size(2); ++p)
                std::copy(u.value()[n].begin(), u.value()[n].end(), every[n].rows()[p].begin());
        }
        return add(v, pieces.constant(every));
    };
    const Tensor<double> z1 = push(norm1, x), c1 = push(block.conv1, z1), h = push(shift, c1),
                         z2 = push(norm2, h);
    const Tensor<double> dz2 = pull(block.conv2, z2, dy), dh = pull(norm2, h, dz2),
                         dz1 = pull(block.conv1, z1, dh);
    const Tensor<double> branch = pull(norm1, x, dz1), around = pull(*block.skip, x, dy);
    const Tensor<double> du = memory.zeros<double>({2, 16});  // step 4: summed over the pixels
    for (int n = 0; n < 2; ++n) {
        for (int p = 0; p < 9; ++p) {
            for (int o = 0; o < 16; ++o) du(n, o) += dh[n].rows()(p, o);
        }
    }
    const Tensor<double> dtime_by_hand = pull(*block.time, time, du);
    for (std::ptrdiff_t i = 0; i < dtime.numel(); ++i)
        CHECK(dtime_by_hand.data()[i] == doctest::Approx(dtime.data()[i]).epsilon(1e-12));
    for (std::size_t i = 0; i < gradient.size(); ++i)  // every weight of the block
        CHECK(by_hand_gradient[i] == doctest::Approx(gradient[i]).epsilon(1e-12));
    for (std::ptrdiff_t i = 0; i < dx.numel(); ++i) {
        by_hand.data()[i] =
            branch.data()[i] + around.data()[i];  // the sum of (4.13) sends its gradient both ways
        CHECK(by_hand.data()[i] == doctest::Approx(dx.data()[i]).epsilon(1e-12));
    }
}

TEST_SUITE_END();
TEST_SUITE_BEGIN("ch04 math");

TEST_CASE("the reference and the quick UNet have the stated numbers of parameters") {
    const auto count = [](const UNetConfig& config) {
        ParameterList list;
        UNet(list, "", config);
        return list.count();
    };
    CHECK(count(unet_config(1, 32, {1, 2, 2})) == 1539329);
    CHECK(count(unet_config(1, 16, {1, 2, 2})) == 387201);
    CHECK_THROWS_WITH_AS(count(unet_config(1, 12, {1, 2})),
                         "unet: level 0 has 12 channels, expected a multiple of 8", Error);
}

TEST_CASE(
    "(4.7) the time embedding: cosines, then sines, frequencies from 1 down to 1/10000 exclusive") {
    Arena arena;
    const std::vector<float> t{0, static_cast<float>(varied_size(7))};
    const Tensor<double> e = timestep_embedding<double>(t, 8, {}, arena);
    for (int i = 0; i < 4; ++i) {
        CHECK(e(0, i) == 1.0);
        CHECK(e(0, 4 + i) == 0.0);
        CHECK(e(1, i) == doctest::Approx(std::cos(static_cast<double>(t[1]) * std::pow(10.0, -i)))
                             .epsilon(1e-15));
        CHECK(e(1, 4 + i) ==
              doctest::Approx(std::sin(static_cast<double>(t[1]) * std::pow(10.0, -i)))
                  .epsilon(1e-15));
    }
}

TEST_CASE("(4.13) a fresh network predicts 0 for any input") {
    ParameterList list;
    const UNet unet(list, "", unet_config(1, 8, {1, 2}));
    Array<double> values(list.block());
    list.initialise<double>(values, 1);
    Arena memory, arena;
    Tape<double> tape(arena);
    tape.bind(values.data());
    const std::vector<float> t{10, 20};
    const Tensor<double> x = normal<double>(memory, {2, 6, 6, 1}, 1);
    for (double v : unet(tape.constant(x), t).value()) CHECK(v == 0.0);
}

TEST_CASE(
    "memory that is given up early changes nothing: the same bits with and without gradients") {
    Network net(unet_config(1, 8, {1, 2, 2}));
    Arena memory, arena;
    Tape<double> tape(arena);
    Array<double> gradient(net.values.shape());
    const Tensor<double> x = normal<double>(memory, {2, 12, 12, 1}, 1),
                         kept = memory.make<double>(x.shape());
    const std::vector<float> t{10, 20};
    tape.bind(net.values.data(), gradient.data());
    const Tensor<double> with = net.unet(tape.constant(x), t).value();
    std::copy(with.begin(), with.end(), kept.begin());
    for (int i = 0; i < 2; ++i) {
        tape.reset();
        tape.bind(net.values.data());
        const Tensor<double> without = net.unet(tape.constant(x), t).value();
        for (std::ptrdiff_t k = 0; k < kept.numel(); ++k)
            CHECK(without.data()[k] == kept.data()[k]);
    }
    // A frozen start: its results need no gradient, but the VJPs of what comes after read them.
    tape.reset();
    const Var<double> frozen = scale(tape.constant(x), 2.0), w = tape.leaf(x);
    mul(frozen, w);
    tape.done(frozen);
    const Var<double> next = scale(tape.constant(x), 3.0);
    CHECK(next.value().data() != frozen.value().data());
    scale(next, 1.0);
    tape.done(next);  // and here nothing is recorded
    CHECK(scale(tape.constant(x), 5.0).value().data() == next.value().data());
}

TEST_CASE("the images of a batch do not see each other") {
    Network net(unet_config(1, 8, {1, 2}));
    Arena memory, arena;
    Tape<double> tape(arena);
    tape.bind(net.values.data());
    const Tensor<double> x = normal<double>(memory, {2, 6, 6, 1}, 1);
    const std::vector<float> t{10, 20};
    const Tensor<double> both = net.unet(tape.constant(x), t).value();
    const Tensor<double> second =
        net.unet(tape.constant({x[1].data(), {1, 6, 6, 1}}), std::span(t).subspan(1)).value();
    for (std::ptrdiff_t i = 0; i < second.numel(); ++i)
        CHECK(both[1].data()[i] == second.data()[i]);
}

TEST_CASE(
    "one picture has the same bits on one core, shared out to several, and inside a parallel "
    "loop") {
    // 28 x 28 with 49 tiles is shared out by tiles, the smaller levels by channels; 40 is no whole
    // number of registers.
    ParameterList list;
    const UNet unet(list, "", unet_config(1, 40, {1, 2}));
    Array<float> values(list.block());
    list.initialise<float>(values, 1);
    Random random(2, Purpose::test);
    for (float& v : values) v += 0.05f * static_cast<float>(random.normal());
    Arena memory;
    const Tensor<float> x = normal<float>(memory, {1, 28, 28, 1}, 5);
    const std::vector<float> t{300};
    const auto draw = [&] {
        Arena arena;
        Tape<float> tape(arena);
        tape.bind(values.data());
        const Tensor<float> y = unet(tape.constant(x), t).value();
        return std::vector<float>(y.begin(), y.end());
    };
    std::vector<float> lane[2];
    parallel_for(2, 2, [&](int i) { lane[i] = draw(); });
    CHECK(lane[0] == lane[1]);
#ifdef _OPENMP
    const int most = omp_get_max_threads();
    for (int threads = 1; threads <= 5; ++threads) {
        omp_set_num_threads(threads);
        CHECK(draw() == lane[0]);
    }
    omp_set_num_threads(most);
#else
    CHECK(draw() == lane[0]);
#endif
}

TEST_CASE("a small UNet learns one batch by heart") {
    ParameterList list;
    const UNet unet(list, "", unet_config(1, 8, {1, 2}));
    Array<float> values(list.block()), gradient(values.size());
    list.initialise<float>(values, 1);
    Arena memory, arena;
    Tape<float> tape(arena);
    const Tensor<float> x = normal<float>(memory, {4, 12, 12, 1}, 1),
                        eps = normal<float>(memory, x.shape(), 2);
    const std::vector<float> t{1, 2, 3, 4};
    AdamW<float> adam(values.size(), {.learning_rate = 3e-3});
    float first = 0, last = 0;
    for (int step = 0; step < 200; ++step) {
        tape.reset();
        std::fill(gradient.begin(), gradient.end(), 0.0f);
        tape.bind(values.data(), gradient.data());
        const Var<float> loss = mse(unet(tape.constant(x), t), tape.constant(eps));
        tape.backward(loss);
        adam.step(values, gradient);
        last = loss.value()(0);
        if (step == 0) first = last;
    }
    CHECK(first > 0.8f);
    CHECK(last < 0.1f);
}

TEST_SUITE_END();
