// Images of more numbers than a cache holds: their norm is computed row by row, where a convolution
// reads them.
#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "04_unet/convolution.hpp"
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

TEST_SUITE_END();
