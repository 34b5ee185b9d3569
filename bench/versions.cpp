// One convolution, from the obvious loops to the code in use: the table of chapter 4's lesson.
#include <Eigen/Core>
#include <cstdio>

#include "bench.hpp"
#include "io/csv.hpp"
#include "kernels/conv.hpp"
#include "tensor/random.hpp"

namespace diffusion {
namespace {

/// (4.1) read from left to right: one number of y after the other. Neighbouring weights of its sum
/// lie O numbers apart.
void one_number_at_a_time(Tensor<const float> x, Tensor<const float> weight, Tensor<float> y) {
    for (int n = 0; n < y.size(0); ++n) {
        for (int i = 0; i < y.size(1); ++i) {
            for (int j = 0; j < y.size(2); ++j) {
                for (int o = 0; o < y.size(3); ++o) {
                    float sum = 0;
                    for (int u = 0; u < 3; ++u) {
                        for (int v = 0; v < 3; ++v) {
                            const int r = i + u - 1, s = j + v - 1;
                            if (r < 0 || r >= x.size(1) || s < 0 || s >= x.size(2)) continue;
                            for (int c = 0; c < x.size(3); ++c)
                                sum += x(n, r, s, c) * weight(u, v, c, o);
                        }
                    }
                    y(n, i, j, o) = sum;
                }
            }
        }
    }
}

/// Output channels innermost, as in chapters/04_unet/plain_ops.cpp: neighbouring weights, and
/// neighbouring numbers of y.
void channels_innermost(Tensor<const float> x, Tensor<const float> weight, Tensor<float> y) {
    std::fill(y.begin(), y.end(), 0.0f);
    for (int n = 0; n < y.size(0); ++n) {
        for (int i = 0; i < y.size(1); ++i) {
            for (int j = 0; j < y.size(2); ++j) {
                for (int u = 0; u < 3; ++u) {
                    for (int v = 0; v < 3; ++v) {
                        const int r = i + u - 1, s = j + v - 1;
                        if (r < 0 || r >= x.size(1) || s < 0 || s >= x.size(2)) continue;
                        for (int c = 0; c < x.size(3); ++c) {
                            for (int o = 0; o < y.size(3); ++o)
                                y(n, i, j, o) += x(n, r, s, c) * weight(u, v, c, o);
                        }
                    }
                }
            }
        }
    }
}

/// Every window written out as a row of a matrix, and Eigen's product.
void windows_and_eigen(Tensor<const float> x, Tensor<const float> weight, Tensor<float> y,
                       Arena& scratch) {
    using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    Arena::Scope scope(scratch);
    const int height = y.size(1), width = y.size(2), channels = x.size(3), outputs = y.size(3);
    const Tensor<float> windows = scratch.make<float>({height, width, 9, channels});
    for (int n = 0; n < y.size(0); ++n) {
        for (int i = 0; i < height; ++i) {
            for (int j = 0; j < width; ++j) {
                for (int k = 0; k < 9; ++k) {
                    const int r = i + k / 3 - 1, s = j + k % 3 - 1;
                    float* to = &windows(i, j, k, 0);
                    if (r < 0 || r >= height || s < 0 || s >= width) {
                        std::fill_n(to, channels, 0.0f);
                    } else {
                        std::copy_n(&x(n, r, s, 0), channels, to);
                    }
                }
            }
        }
        Eigen::Map<const Matrix> a(windows.data(), height * width, 9 * channels);
        Eigen::Map<const Matrix> b(weight.data(), 9 * channels, outputs);
        Eigen::Map<Matrix>(&y(n, 0, 0, 0), height * width, outputs).noalias() = a * b;
    }
}

}  // namespace

void bench_versions(const Machine& machine, const std::filesystem::path& folder) {
    Arena memory, scratch;
    constexpr int kSize = 28, kChannels = 32, kImages = 4;
    const Tensor<float> x = memory.make<float>({kImages, kSize, kSize, kChannels}),
                        w = memory.make<float>({3, 3, kChannels, kChannels}),
                        y = memory.make<float>(x.shape()), other = memory.make<float>(x.shape()),
                        row = memory.make<float>({kImages, kChannels});
    for (const Tensor<float> t : {x, w, other, row}) fill_normal(t, Random(1, Purpose::test));
    Table table(folder / "versions.csv", "version,gflops,share");
    std::printf("%-50s%10s%10s\n", "28x28, 32 -> 32, 4 pictures, one thread", "GFLOP/s", "of peak");
    const double flops = 2.0 * 9 * kChannels * kChannels * kSize * kSize * kImages / 1e9;
    const auto run = [&](const char* name, auto work) {
        const double rate = flops / seconds_per_call(1, [&](int) {
                                scratch.reset();
                                work();
                            });
        std::printf("%-50s%10.1f%10.2f\n", name, rate, rate / machine.flops_one);
        table.row({name, shortest(rate), shortest(rate / machine.flops_one)});
    };
    run("one number at a time", [&] { one_number_at_a_time(x, w, y); });
    run("output channels innermost", [&] { channels_innermost(x, w, y); });
    run("windows written out; Eigen's product", [&] { windows_and_eigen(x, w, y, scratch); });
    run("windows as overlapping rows; register tiles",
        [&] { conv2d_direct<float>(x, w, 1, y, scratch); });
    run("Winograd: 36 products for 144", [&] { conv2d<float>(x, w, 1, y, scratch); });
    const auto add_all = [&] {  // what is added to a convolution in a residual block, in passes
        for (int n = 0; n < kImages; ++n) {
            const Tensor<float> pixels = y[n].rows();
            for (int p = 0; p < kSize * kSize; ++p) {
                for (int c = 0; c < kChannels; ++c) pixels(p, c) += row(n, c);
            }
        }
        for (std::ptrdiff_t i = 0; i < y.numel(); ++i) y.data()[i] += other.data()[i];
    };
    run("the same, then + bias and time, then + the way past", [&] {
        conv2d<float>(x, w, 1, y, scratch);
        add_all();
    });
    run("both added before the result is stored", [&] {
        conv2d<float>(x, w, 1, y, scratch, {row.data(), kChannels, other.data()});
    });
    std::printf("\n");
}

}  // namespace diffusion
