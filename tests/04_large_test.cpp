// Images of more numbers than a cache holds: their norm is computed row by row, where a convolution
// reads them.
#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "04_unet/convolution.hpp"
#include "04_unet/layers.hpp"
#include "04_unet/plain_ops.hpp"
#include "support/exact.hpp"
#include "tensor/random.hpp"

#ifdef _OPENMP
#include <omp.h>
#endif

using namespace diffusion;

TEST_SUITE_BEGIN("ch04");

TEST_CASE("(4.1) (4.5) norm, SiLU and convolution of large images equal plain loops") {
    // Two images as one, in groups that span both; rows and columns that are no whole tiles.
    constexpr int kImages = 2, kHeight = 66, kWidth = 131, kA = 70, kB = 58, kGroups = 8;
    constexpr int kChannels = kA + kB;
    REQUIRE(kHeight * kWidth * kChannels > kLargeImage);
    Arena memory, arena;
    Tape<float> tape(arena);
    std::uint32_t stream = 0;
    const auto normal = [&](Shape shape) {
        const Tensor<float> x = memory.make<float>(shape);
        fill_normal(x, Random(1, Purpose::test, ++stream));
        return x;
    };
    const Tensor<float> a = normal({kImages, kHeight, kWidth, kA}),
                        b = normal({kImages, kHeight, kWidth, kB}), gain = normal({kChannels}),
                        bias = normal({kChannels});
    const Tensor<double> expected = memory.make<double>({kImages, kHeight, kWidth, kChannels});
    for (int n = 0; n < kImages; ++n) {
        Arena own;
        const Tensor<double> joined = own.make<double>(expected[n].shape());
        for (int p = 0; p < kHeight * kWidth; ++p) {
            std::copy_n(a[n].rows()[p].data(), kA, joined.rows()[p].data());
            std::copy_n(b[n].rows()[p].data(), kB, joined.rows()[p].data() + kA);
        }
        plain::group_norm(joined.rows(), exactly(gain, own), exactly(bias, own), kGroups, 1e-5,
                          expected[n].rows());
        for (double& z : expected[n]) z /= 1 + std::exp(-z);
    }
    // Winograd's way, and the direct one, which few output channels and a stride of 2 take.
    struct Case {
        int outputs, stride;
    };
    for (const Case s : {Case{20, 1}, Case{3, 1}, Case{20, 2}}) {
        const int outputs = s.outputs, stride = s.stride;
        CAPTURE(outputs);
        CAPTURE(stride);
        const Tensor<float> weight = normal({3, 3, kChannels, outputs}),
                            row = normal({kImages, outputs});
        const Shape shape = conv2d_shape(expected.shape(), weight.shape(), stride);
        const Tensor<float> other = normal(shape);
        const Tensor<double> y = memory.make<double>(shape);
        for (int n = 0; n < kImages; ++n) {
            const Tensor<double> exact = exactly(weight, memory);
            plain::convolution(expected[n], exact, exactly(row[n], memory), stride, y[n]);
            for (std::ptrdiff_t i = 0; i < y[n].numel(); ++i)
                y[n].data()[i] += static_cast<double>(other[n].data()[i]);
        }
        const auto run = [&] {
            tape.reset();
            const Var<float> image = conv2d<float>(
                normed(ConvInput<float>(tape.constant(a), tape.constant(b)),
                       {tape.constant(gain), tape.constant(bias), kGroups, 1e-5, true}),
                tape.constant(weight), {}, stride,
                {.shift = tape.constant(row), .image = tape.constant(other)});
            return std::vector<float>(image.value().begin(), image.value().end());
        };
        std::vector<float> once = run();
        CHECK(epsilons(Tensor<float>(once.data(), shape), y) < 20);
#ifdef _OPENMP
        const int most = omp_get_max_threads();
        for (const int threads : {1, 2, 3}) {
            omp_set_num_threads(threads);
            CHECK(run() == once);
        }
        omp_set_num_threads(most);
#endif
    }
}

TEST_CASE("pixels at a time are what all of them are, in less memory") {
    constexpr int kChannels = 4, kWide = 64, kPixels = 300;  // more than 2^23 numbers at kWide
    Arena memory;
    ParameterList list;
    const Conv2d wide = Conv2d::of_pixels(list, {"wide"}, kChannels, kWide),
                 narrow = Conv2d::of_pixels(list, {"narrow"}, kWide, kChannels);
    Array<float> values(list.block()), gradients(list.block());
    list.initialise<float>(values, 1);
    const Tensor<float> x = memory.make<float>({2, kPixels, kPixels, kChannels});
    fill_normal(x, Random(1, Purpose::test));
    const auto layers = [&](Var<float> some) { return narrow(wide(some), {.image = some}); };
    const auto run = [&](bool pieces, bool train) {
        OwnTape<float> own;
        own.tape.bind(values.data(), train ? gradients.data() : nullptr);
        const Var<float> all = own.tape.constant(x);
        const Var<float> y = pieces ? pixels_at_a_time(all, kWide, layers) : layers(all);
        CHECK(y.shape() == x.shape());
        CHECK(y.needs_grad() == train);
        const std::vector<float> result(y.value().begin(), y.value().end());
        own.tape.reset();  // its memory is then one block, as large as was needed
        return std::pair(result, own.arena.capacity());
    };
    const auto [whole, much] = run(false, false);
    const auto [parts, less] = run(true, false);
    CHECK(parts == whole);
    CHECK(3 * less < 2 * much);
    CHECK(run(true, true).first == whole);
}

TEST_CASE("layers whose weights are in half precision are those of the rounded weights") {
    constexpr int kChannels = 128, kLayers = 6;
    Arena memory;
    ParameterList list;
    std::vector<GroupNorm> norms;
    std::vector<Conv2d> convs;
    for (int i = 0; i < kLayers; ++i) {
        norms.emplace_back(list, "norm" + std::to_string(i), kChannels, 8);
        convs.emplace_back(list, "conv" + std::to_string(i), kChannels, kChannels, 3);
    }
    const Linear last(list, "last", kChannels, 5);
    Array<Half> halves(list.block());
    list.initialise<Half>(halves, 1);
    Array<float> rounded(list.block());
    for (std::size_t i = 0; i < halves.size(); ++i) rounded[i] = static_cast<float>(halves[i]);
    const Tensor<float> x = memory.make<float>({2, 4, 6, kChannels});
    fill_normal(x, Random(1, Purpose::test));

    // The result, the gradient of x if it is asked for, and how much memory it took.
    const auto run = [&](auto& weights, bool ask) {
        OwnTape<float> own;
        own.tape.bind(weights.data());
        const Var<float> in = ask ? own.tape.leaf(x) : own.tape.constant(x);
        Var<float> h = in;
        for (int i = 0; i < kLayers; ++i) {
            const Var<float> before = h;
            const auto at = static_cast<std::size_t>(i);
            h = own.tape.result_of([&] {  // the norm is computed when the convolution reads it
                const ConvInput<float> normed = norms[at].silu(before);
                return convs[at](normed, {.image = before});
            });
            own.tape.done(before);
        }
        const Var<float> y = last(reshape(h, {2 * 4 * 6, kChannels}));
        std::vector<float> all(y.value().begin(), y.value().end());
        if (ask) {
            own.tape.backward_from(y, 1.0f);
            const Tensor<float> g = in.grad();
            all.insert(all.end(), g.begin(), g.end());
        }
        own.tape.reset();
        return std::pair(all, own.arena.capacity());
    };
    for (const bool ask : {false, true}) {
        CAPTURE(ask);
        CHECK(run(halves, ask).first == run(rounded, ask).first);
    }
    constexpr std::size_t kKernel = sizeof(float) * 9 * kChannels * kChannels;
    const std::size_t wide = run(halves, false).second, alone = run(rounded, false).second;
    CHECK(wide < alone + 2 * kKernel);  // one kernel at a time, not six
}

TEST_SUITE_END();
