// Operations at the sizes of Stable Diffusion's networks and of chapters 8 to 13, forward and,
// where we train at them, back: a single caller, all cores inside. bench/torch/time_sizes.py times
// the same rows, by the same names, in PyTorch; compare_sizes.py both in turn.
#include <cstdio>
#include <utility>

#include "02_gradients/ops.hpp"
#include "04_unet/attention.hpp"
#include "04_unet/image_ops.hpp"
#include "bench.hpp"
#include "io/csv.hpp"
#include "tensor/random.hpp"

namespace diffusion {
namespace {

/// What a row's operation works on: a tape, and leaves of random numbers that stay the same.
class Bench {
public:
    Bench(const Machine& machine, const std::filesystem::path& file)
        : machine_(machine),
          table_(file,
                 "name,forward_ms,back_ms,unit,forward_rate,back_rate,forward_share,back_share") {
        std::printf("%-40s%11s%11s%9s%9s   %s\n", "at other sizes", "forward ms", "back ms",
                    "forward", "back", "share of the FMA peak, or of copying");
    }

    /// Work is in multiplications and additions or, for a unit of GB/s, in bytes. Without `back`
    /// the operation runs as in a trained model: nothing is recorded.
    template <class Op>
    void row(const std::string& name, bool bytes, double forward, double back,
             const std::vector<Shape>& shapes, Op op) {
        Arena memory, arena;
        Tape<float> tape(arena);
        std::vector<Tensor<float>> values, gradients;
        for (const Shape& shape : shapes) {
            values.push_back(memory.make<float>(shape));
            fill_normal(values.back(),
                        Random(1, Purpose::test, static_cast<std::uint32_t>(values.size())));
            for (float& v : values.back()) v *= 0.1f;
            gradients.push_back(back > 0 ? memory.zeros<float>(shape) : Tensor<float>());
        }
        const auto run = [&](bool record) {
            tape.reset();
            std::vector<Var<float>> inputs;
            for (std::size_t i = 0; i < values.size(); ++i)
                inputs.push_back(record ? tape.leaf(values[i], gradients[i])
                                        : tape.constant(values[i]));
            return op(inputs);
        };
        const double seconds = seconds_per_call(1, [&](int) { run(false); });
        double back_seconds = 0;
        if (back > 0) {
            const double recorded = seconds_per_call(1, [&](int) { run(true); });
            back_seconds = seconds_per_call(1,
                                            [&](int) {
                                                const Var<float> y = run(true);
                                                tape.backward_from(y, 1.0f);
                                            }) -
                           recorded;
        }
        const double most = bytes ? machine_.copy : machine_.flops_all;
        const double f = forward / seconds / 1e9, b = back > 0 ? back / back_seconds / 1e9 : 0;
        std::printf("%-40s%11.3f%11.3f%9.0f%9.0f %s   %.2f %.2f\n", name.c_str(), 1e3 * seconds,
                    1e3 * back_seconds, f, b, bytes ? "GB/s   " : "GFLOP/s", f / most, b / most);
        std::fflush(stdout);
        table_.row({name, shortest(1e3 * seconds), shortest(1e3 * back_seconds),
                    bytes ? "GB/s" : "GFLOP/s", shortest(f), shortest(b), shortest(f / most),
                    shortest(b / most)});
    }

private:
    const Machine& machine_;
    Table table_;
};

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
        const double flops = 2.0 * c.rows * c.in * c.out;
        bench.row(name, false, flops, c.trained ? 2 * flops : 0,
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
        bench.row(
            name, false, 2 * product, c.trained ? 5 * product : 0, {shape, shape, shape},
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
        bench.row(name, false, 18.0 * c.size * c.size * c.in * c.out, 0,
                  {{1, c.size, c.size, c.in}, {3, 3, c.in, c.out}, {c.out}},
                  [](const auto& in) { return conv2d<float>(in[0], in[1], in[2]); });
    }
}

void norms(Bench& bench) {
    for (const auto& [size, channels] :
         {std::pair{64, 320}, {32, 640}, {16, 1280}, {8, 1280}, {256, 128}, {256, 256}}) {
        char name[64];
        std::snprintf(name, sizeof name, "group norm and SiLU %d x %d, %d", size, size, channels);
        const Shape shape{1, size, size, channels};
        bench.row(name, true, 8.0 * static_cast<double>(shape.numel()), 0,
                  {shape, {channels}, {channels}}, [](const auto& in) {
                      return group_norm<float>(in[0], {in[1], in[2], 32, 1e-5, true});
                  });
    }
    for (const auto& [rows, channels] :
         {std::pair{4096, 320}, {1024, 640}, {256, 1280}, {77, 768}, {4096, 256}}) {
        char name[64];
        const Shape shape{rows, channels};
        const double bytes = 4.0 * rows * channels;
        const double back = channels <= 768 && rows != 1024 ? 3 * bytes : 0;
        std::snprintf(name, sizeof name, "layer norm %d x %d", rows, channels);
        bench.row(name, true, 2 * bytes, back, {shape, {channels}, {channels}},
                  [](const auto& in) { return layer_norm(in[0], in[1], in[2]); });
        std::snprintf(name, sizeof name, "RMS norm %d x %d", rows, channels);
        bench.row(name, true, 2 * bytes, back, {shape, {channels}},
                  [](const auto& in) { return rms_norm(in[0], in[1]); });
    }
}

}  // namespace

void bench_sizes(const Machine& machine, const std::filesystem::path& folder) {
    Bench bench(machine, folder / "sizes.csv");
    linears(bench);
    attentions(bench);
    convolutions(bench);
    norms(bench);
}

}  // namespace diffusion
