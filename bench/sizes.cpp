// Operations at the sizes of Stable Diffusion's networks and of chapters 8 to 13, forward and,
// where we train at them, back: a single caller, all cores inside. bench/torch/time_sizes.py times
// the same rows, by the same names, in PyTorch; compare_sizes.py both in turn.
#include <algorithm>
#include <cstdio>
#include <utility>

#include "02_gradients/ops.hpp"
#include "04_unet/attention.hpp"
#include "04_unet/image_ops.hpp"
#include "bench.hpp"
#include "io/csv.hpp"
#include "kernels/conv_windows.hpp"
#include "kernels/winograd.hpp"
#include "tensor/random.hpp"

namespace diffusion {
namespace {

/// What an operation cannot do without: multiplications and additions, and numbers that it reads or
/// writes, if every one is met once.
struct Work {
    double flops, numbers;

    double bytes() const { return sizeof(float) * numbers; }
    /// The time that a machine needs for them at least.
    double least_seconds(double gflops, double gbytes) const {
        return std::max(flops / gflops, bytes() / gbytes) / 1e9;
    }
};
Work operator*(double c, Work w) {
    return {c * w.flops, c * w.numbers};
}

/// Times rows and compares them with the least that they need. On a machine that others use, too,
/// the peak changes from one moment to the next, so it is measured anew before every round of a
/// row.
class Bench {
public:
    Bench(const Machine& machine, const std::filesystem::path& file)
        : machine_(machine),
          table_(file,
                 "name,forward_ms,back_ms,flops,bytes,forward_gflops,forward_gbytes,forward_share,"
                 "back_share,peak,copy") {
        std::printf("%-40s%11s%11s%10s%8s%14s%6s\n", "at other sizes", "forward ms", "back ms",
                    "GFLOP/s", "GB/s", "share of most", "back");
    }

    /// Without `back` the operation runs as in a trained model: nothing is recorded.
    template <class Op>
    void row(const std::string& name, Work forward, Work back, const std::vector<Shape>& shapes,
             Op op) {
        const bool trained = back.numbers > 0;
        Arena memory, arena;
        Tape<float> tape(arena);
        std::vector<Tensor<float>> values;
        for (const Shape& shape : shapes) {
            values.push_back(memory.make<float>(shape));
            fill_normal(values.back(),
                        Random(1, Purpose::test, static_cast<std::uint32_t>(values.size())));
            for (float& v : values.back()) v *= 0.1f;
        }
        const auto run = [&](bool record) {
            tape.reset();
            std::vector<Var<float>> inputs;
            for (const Tensor<float>& x : values)
                inputs.push_back(record ? tape.leaf(x) : tape.constant(x));
            return op(inputs);
        };
        const auto only = [&] { run(false); };
        const auto recorded = [&] { fill(run(true).grad(), 1.0f); };
        const auto both = [&] { tape.backward_from(run(true), 1.0f); };
        int calls = 1;
        while (std::min(seconds(calls, only), seconds(calls, only)) * calls < 0.01) calls *= 2;
        std::vector<double> peak, ahead, ahead_share, behind, behind_share;
        for (int round = 0; round < kRounds; ++round) {
            peak.push_back(flops_now(machine_.threads));
            ahead.push_back(seconds(calls, only));
            ahead_share.push_back(forward.least_seconds(peak.back(), machine_.copy) / ahead.back());
            if (!trained) continue;
            const double first = seconds(calls, recorded);
            behind.push_back(seconds(calls, both) - first);
            behind_share.push_back(back.least_seconds(peak.back(), machine_.copy) / behind.back());
        }
        const double f = median(ahead), b = trained ? median(behind) : 0,
                     f_share = median(ahead_share), b_share = trained ? median(behind_share) : 0,
                     gflops = forward.flops / f / 1e9, gbytes = forward.bytes() / f / 1e9;
        std::printf("%-40s%11.3f%11.3f%10.0f%8.0f%14.2f%6.2f\n", name.c_str(), 1e3 * f, 1e3 * b,
                    gflops, gbytes, f_share, b_share);
        std::fflush(stdout);
        table_.row({name, shortest(1e3 * f), shortest(1e3 * b), shortest(forward.flops),
                    shortest(forward.bytes()), shortest(gflops), shortest(gbytes),
                    shortest(f_share), shortest(b_share), shortest(median(peak)),
                    shortest(machine_.copy)});
    }

private:
    static constexpr int kRounds = 9;

    /// Of one of so many calls.
    template <class Call>
    static double seconds(int calls, Call call) {
        const auto start = Clock::now();
        for (int i = 0; i < calls; ++i) call();
        return seconds_since(start) / calls;
    }

    const Machine& machine_;
    Table table_;
};

constexpr Work kNotTrained{};

void linears(Bench& bench) {
    struct Case {
        int rows, in, out;
        bool trained;
    };
    for (const Case c :
         {Case{4096, 320, 2560, false}, Case{4096, 1280, 1280, false}, Case{1024, 640, 5120, false},
          Case{77, 768, 3072, true}, Case{64, 256, 1024, true}, Case{256, 256, 1024, true},
          Case{1024, 256, 1024, true}, Case{4096, 256, 1024, true}}) {
        char name[64];
        std::snprintf(name, sizeof name, "linear %d x %d -> %d", c.rows, c.in, c.out);
        const double m = c.rows, k = c.in, n = c.out;
        const Work forward{2 * m * k * n, m * k + k * n + m * n};
        bench.row(name, forward, c.trained ? 2 * forward : kNotTrained,
                  {{c.rows, c.in}, {c.in, c.out}, {c.out}},
                  [](const auto& in) { return linear(in[0], in[1], in[2]); });
    }
}

void attentions(Bench& bench) {
    struct Case {
        int tokens, heads, width;
        bool trained;
    };
    std::vector<Case> cases;
    for (const int tokens : {4096, 1024, 256, 77})
        for (const int width : {40, 80, 64}) cases.push_back({tokens, 8, width, tokens <= 256});
    cases.push_back({4096, 1, 512, false});
    for (const Case& c : cases) {
        char name[64];
        std::snprintf(name, sizeof name, "attention %d tokens, %d x %d", c.tokens, c.heads,
                      c.width);
        const double product = 2.0 * c.heads * c.width * c.tokens * c.tokens;
        const Shape shape{1, c.tokens, c.heads * c.width};
        const auto numbers = static_cast<double>(shape.numel());
        bench.row(
            name, {2 * product, 4 * numbers},
            c.trained ? Work{5 * product, 8 * numbers} : kNotTrained, {shape, shape, shape},
            [heads = c.heads](const auto& in) { return attention(in[0], in[1], in[2], {heads}); });
    }
}

void convolutions(Bench& bench) {
    struct Case {
        int size, in, out;
    };
    for (const Case c :
         {Case{64, 320, 320}, Case{32, 640, 640}, Case{16, 1280, 1280}, Case{8, 1280, 1280},
          Case{8, 2560, 1280}, Case{256, 128, 128}, Case{256, 256, 256}}) {
        char name[64];
        std::snprintf(name, sizeof name, "3x3 %d x %d, %d -> %d", c.size, c.size, c.in, c.out);
        const double pixels = c.size * c.size, weights = 9.0 * c.in * c.out;
        bench.row(name, {2 * pixels * weights, pixels * (c.in + c.out) + weights}, kNotTrained,
                  {{1, c.size, c.size, c.in}, {3, 3, c.in, c.out}, {c.out}},
                  [](const auto& in) { return conv2d<float>(in[0], in[1], in[2]); });
    }
}

/// The two ways to use a kernel of many weights, for 4, 8, 9 and 16 tiles of 4 x 4 pixels.
void winograd_and_windows(Bench& bench) {
    struct Case {
        int images, size, channels;
    };
    for (const Case c : {Case{1, 8, 1280}, Case{2, 8, 1280}, Case{1, 12, 1280}, Case{1, 16, 1280},
                         Case{1, 12, 512}}) {
        for (const bool with_winograd : {true, false}) {
            char name[64];
            std::snprintf(name, sizeof name, "3x3 %d of %d x %d, %d -> %d, %s", c.images, c.size,
                          c.size, c.channels, c.channels, with_winograd ? "Winograd" : "windows");
            const double pixels = c.images * c.size * c.size,
                         weights = 9.0 * c.channels * c.channels;
            const Shape shape{c.images, c.size, c.size, c.channels};
            bench.row(name, {2 * pixels * weights, 2 * pixels * c.channels + weights}, kNotTrained,
                      {shape, {3, 3, c.channels, c.channels}}, [&](const auto& in) {
                          Tape<float>& tape = in[0].tape();
                          const Var<float> y = tape.result(shape);
                          const Tensor<const float> x = in[0].value(), w = in[1].value();
                          if (with_winograd) {
                              winograd<float>(x, w, {}, y.value(), tape.scratch());
                          } else {
                              conv2d_windows<float>(x, w, {}, {}, y.value());
                          }
                          return y;
                      });
        }
    }
}

void norms(Bench& bench) {
    constexpr double kOfNorm = 8;  // about so many operations for a number; they do not decide
    for (const auto& [size, channels] :
         {std::pair{64, 320}, {32, 640}, {16, 1280}, {8, 1280}, {256, 128}, {256, 256}}) {
        char name[64];
        std::snprintf(name, sizeof name, "group norm and SiLU %d x %d, %d", size, size, channels);
        const Shape shape{1, size, size, channels};
        const auto numbers = static_cast<double>(shape.numel());
        bench.row(name, {kOfNorm * numbers, 2 * numbers}, kNotTrained,
                  {shape, {channels}, {channels}}, [](const auto& in) {
                      return group_norm<float>(in[0], {in[1], in[2], 32, 1e-5, true});
                  });
    }
    for (const auto& [rows, channels] :
         {std::pair{4096, 320}, {1024, 640}, {256, 1280}, {77, 768}, {4096, 256}}) {
        char name[64];
        const Shape shape{rows, channels};
        const double numbers = static_cast<double>(shape.numel());
        const Work forward{kOfNorm * numbers, 2 * numbers};
        const Work back = channels <= 768 && rows != 1024 ? 1.5 * forward : kNotTrained;
        std::snprintf(name, sizeof name, "layer norm %d x %d", rows, channels);
        bench.row(name, forward, back, {shape, {channels}, {channels}},
                  [](const auto& in) { return layer_norm(in[0], in[1], in[2]); });
        std::snprintf(name, sizeof name, "RMS norm %d x %d", rows, channels);
        bench.row(name, forward, back, {shape, {channels}},
                  [](const auto& in) { return rms_norm(in[0], in[1]); });
    }
}

}  // namespace

void bench_sizes(const Machine& machine, const std::filesystem::path& folder) {
    Bench bench(machine, folder / "sizes.csv");
    linears(bench);
    attentions(bench);
    convolutions(bench);
    winograd_and_windows(bench);
    norms(bench);
}

}  // namespace diffusion
