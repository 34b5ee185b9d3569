// Every kernel on the shapes of the reference UNet, all threads at once, each with pictures of its
// own. Convolutions count the multiplications and additions of the direct form, so that Winograd's
// may exceed the peak; passes over memory count the bytes that they must read and write.
#include <cmath>
#include <cstdio>
#include <utility>

#include "02_gradients/ops.hpp"
#include "02_gradients/optimizer.hpp"
#include "04_unet/attention.hpp"
#include "04_unet/convolution.hpp"
#include "04_unet/plain_ops.hpp"
#include "bench.hpp"
#include "io/csv.hpp"
#include "kernels/exp.hpp"
#include "kernels/upsample.hpp"
#include "tensor/random.hpp"

namespace diffusion {
namespace {

/// Of the forward pass for one image of standard normal numbers against obvious loops in double, in
/// the Euclidean norm.
double relative_error(int size, int in, int out) {
    Arena memory, scratch;
    const auto both = [&](Shape shape, std::uint32_t stream) {
        const Tensor<float> x = memory.make<float>(shape);
        const Tensor<double> exact = memory.make<double>(shape);
        fill_normal(x, Random(1, Purpose::test, stream));
        std::copy(x.begin(), x.end(), exact.begin());
        return std::pair(x, exact);
    };
    const auto [x, x2] = both({1, size, size, in}, 0);
    const auto [w, w2] = both({3, 3, in, out}, 1);
    const Tensor<float> y = memory.make<float>({1, size, size, out});
    const Tensor<double> y2 = memory.make<double>(y.shape());
    conv2d<float>(x, w, 1, y, scratch);
    plain::convolution(x2[0], w2, memory.zeros<double>({out}), {}, y2[0]);
    double error = 0, norm = 0;
    for (std::ptrdiff_t i = 0; i < y.numel(); ++i) {
        const double d = static_cast<double>(y.data()[i]) - y2.data()[i];
        error += d * d;
        norm += y2.data()[i] * y2.data()[i];
    }
    return std::sqrt(error / norm);
}

struct Case {
    int size, in, out, kernel = 3, stride = 1;
};

constexpr int kImages = 8;  // of each thread

struct Worker {
    Arena arena, scratch;
    Tensor<float> x, w, y;
};

std::string shape_name(const Case& c) {
    char name[64];
    std::snprintf(name, sizeof name, "%dx%d %d -> %d", c.size, c.size, c.in, c.out);
    return name;
}

/// One line for each case: forward, data VJP, weight VJP.
template <class Forward, class Data, class Weights>
void convolutions(const Machine& machine, Table& table, const char* title,
                  std::initializer_list<Case> cases, bool errors, Forward forward, Data data,
                  Weights weights) {
    std::printf("%-30s%9s%9s%9s   %s%s\n", title, "forward", "data", "weights", "of peak",
                errors ? "           error, 1e-7" : "");
    for (const Case& c : cases) {
        std::vector<Worker> all(static_cast<std::size_t>(machine.threads));
        for (Worker& m : all) {
            m.x = m.arena.make<float>({kImages, c.size, c.size, c.in});
            m.w = m.arena.make<float>({c.kernel, c.kernel, c.in, c.out});
            m.y = m.arena.make<float>(conv2d_shape(m.x.shape(), m.w.shape(), c.stride));
            for (const Tensor<float> t : {m.x, m.w, m.y}) fill_normal(t, Random(1, Purpose::test));
        }
        const double flops = 2.0 * c.kernel * c.kernel * c.in *
                             static_cast<double>(all[0].y.numel()) * machine.threads / 1e9;
        const auto rate = [&](const char* pass, auto work) {
            const double result = flops / seconds_per_call(machine.threads, [&](int thread) {
                                      Worker& m = all[static_cast<std::size_t>(thread)];
                                      m.scratch.reset();
                                      work(m, c.stride);
                                  });
            table.row({std::string(title) + " " + pass, shape_name(c), "GFLOP/s", shortest(result),
                       shortest(result / machine.flops_all)});
            return result;
        };
        const double f = rate("forward", forward), d = rate("data", data),
                     v = rate("weights", weights), most = machine.flops_all;
        std::printf("%-30s%9.0f%9.0f%9.0f   %.2f %.2f %.2f", shape_name(c).c_str(), f, d, v,
                    f / most, d / most, v / most);
        if (errors) std::printf("     %.1f", 1e7 * relative_error(c.size, c.in, c.out));
        std::printf("\n");
    }
    std::printf("\n");
}

/// Leaves with ones and zeros.
std::pair<Var<float>, Var<float>> gain_and_bias(Tape<float>& tape, int channels) {
    const Tensor<float> gain = tape.arena().make<float>({channels});
    std::fill(gain.begin(), gain.end(), 1.0f);
    return {tape.leaf(gain), tape.leaf(tape.arena().zeros<float>({channels}))};
}

struct Room {
    Arena memory, arena;
    Tape<float> tape{arena};
    Tensor<float> x, dx;
};

/// A tape operation forward and back, on all threads. Work is in bytes or operations per call,
/// `most` what the machine can do of it in 1e9 per second.
template <class Op>
void operation(const Machine& machine, Table& table, const std::string& name, const char* unit,
               double most, Shape shape, double forward_work, double backward_work, Op op) {
    std::vector<std::unique_ptr<Room>> rooms;
    for (int i = 0; i < machine.threads; ++i) {
        rooms.push_back(std::make_unique<Room>());
        rooms.back()->x = rooms.back()->memory.make<float>(shape);
        rooms.back()->dx = rooms.back()->memory.zeros<float>(shape);
        fill_normal(rooms.back()->x, Random(1, Purpose::test));
    }
    const auto time = [&](bool back) {
        return seconds_per_call(machine.threads, [&](int thread) {
            Room& room = *rooms[static_cast<std::size_t>(thread)];
            room.tape.reset();
            const Var<float> y = op(room.tape, room.tape.leaf(room.x, room.dx));
            if (back) room.tape.backward_from(y, 1.0f);
        });
    };
    const double forward = time(false), both = time(true), all = machine.threads / 1e9;
    const double f = forward_work * all / forward, b = backward_work * all / (both - forward);
    std::printf("%-34s%9.0f%9.0f %s   %.2f %.2f\n", name.c_str(), f, b, unit, f / most, b / most);
    table.row({name + " forward", "", unit, shortest(f), shortest(f / most)});
    table.row({name + " back", "", unit, shortest(b), shortest(b / most)});
}

void bench_convolutions(const Machine& machine, Table& table) {
    const auto forward = [](Worker& m, int stride) {
        conv2d<float>(m.x, m.w, stride, m.y, m.scratch);
    };
    const auto data = [](Worker& m, int stride) {
        conv2d_data_vjp<float>(m.y, m.w, stride, false, m.x, m.scratch);
    };
    const auto weights = [](Worker& m, int stride) {
        conv2d_weight_vjp<float>(m.x, m.y, stride, m.w, m.scratch);
    };
    convolutions(machine, table, "3x3, GFLOP/s",
                 {{28, 32, 32},
                  {28, 64, 32},
                  {28, 96, 32},
                  {28, 64, 64},
                  {14, 32, 64},
                  {14, 64, 64},
                  {14, 96, 64},
                  {14, 128, 64},
                  {7, 64, 64},
                  {7, 128, 64},
                  {28, 16, 16}},
                 true, forward, data, weights);
    convolutions(
        machine, table, "3x3, not Winograd", {{28, 32, 32}, {14, 64, 64}, {7, 64, 64}}, false,
        [](Worker& m, int stride) { conv2d_direct<float>(m.x, m.w, stride, m.y, m.scratch); },
        [](Worker& m, int stride) {
            conv2d_data_vjp_direct<float>(m.y, m.w, stride, false, m.x, m.scratch);
        },
        [](Worker& m, int stride) {
            conv2d_weight_vjp_direct<float>(m.x, m.y, stride, m.w, m.scratch);
        });
    convolutions(machine, table, "3x3, stride 2", {{28, 32, 32, 3, 2}, {14, 64, 64, 3, 2}}, false,
                 forward, data, weights);
    // x holds the doubled image; the small one is a quarter of its memory.
    const auto small = [](Worker& m) {
        return Tensor<float>(m.x.data(),
                             {m.x.size(0), m.x.size(1) / 2, m.x.size(2) / 2, m.x.size(3)});
    };
    convolutions(
        machine, table, "3x3, doubled", {{28, 64, 64}, {32, 64, 64}, {64, 32, 32}}, false,
        [small](Worker& m, int) { conv2d_doubled<float>(small(m), m.w, m.y, m.scratch); },
        [small](Worker& m, int) {
            conv2d_doubled_vjp<float>(small(m), m.w, m.y, {small(m), false, {}}, m.scratch);
        },
        [small](Worker& m, int) {
            conv2d_doubled_vjp<float>(small(m), m.w, m.y, {{}, false, m.w}, m.scratch);
        });
    convolutions(machine, table, "1x1",
                 {{28, 96, 32, 1},
                  {28, 64, 32, 1},
                  {14, 32, 64, 1},
                  {14, 96, 64, 1},
                  {14, 128, 64, 1},
                  {7, 128, 64, 1},
                  {7, 64, 192, 1},
                  {7, 64, 64, 1}},
                 false, forward, data, weights);
    convolutions(machine, table, "first and last layer", {{28, 1, 32}, {28, 32, 1}}, false, forward,
                 data, weights);
}

void bench_group_norm(const Machine& machine, Table& table) {
    const auto norm = [&](const char* name, int pixels, int channels, bool silu) {
        const Shape shape{kImages, pixels, pixels, channels};
        const double bytes = 4.0 * static_cast<double>(shape.numel());
        operation(machine, table, name, "GB/s", machine.copy, shape, 2 * bytes, 3 * bytes,
                  [silu, channels](Tape<float>& tape, Var<float> x) {
                      const auto [gain, bias] = gain_and_bias(tape, channels);
                      return group_norm(x, {gain, bias, 8, 1e-5, silu});
                  });
    };
    norm("group norm 28x28 32", 28, 32, false);
    norm("group norm and SiLU 28x28 32", 28, 32, true);
    norm("group norm and SiLU 28x28 96", 28, 96, true);
    norm("group norm and SiLU 14x14 64", 14, 64, true);
    norm("group norm and SiLU 14x14 128", 14, 128, true);
    norm("group norm and SiLU 7x7 64", 7, 64, true);
}

/// Operations on each number or each row.
void bench_rows(const Machine& machine, Table& table) {
    const Shape rows{kImages, 64, 256};
    const auto by_bytes = [&](const char* name, auto op) {
        const double bytes = 4.0 * static_cast<double>(rows.numel());
        operation(machine, table, name, "GB/s", machine.copy, rows, 2 * bytes, 3 * bytes, op);
    };
    by_bytes("SiLU", [](Tape<float>&, Var<float> x) { return silu(x); });
    by_bytes("GELU", [](Tape<float>&, Var<float> x) { return gelu(x); });
    by_bytes("softmax, rows of 256", [](Tape<float>&, Var<float> x) { return softmax(x); });
    by_bytes("layer norm, rows of 256", [](Tape<float>& tape, Var<float> x) {
        const auto [gain, bias] = gain_and_bias(tape, 256);
        return layer_norm(x, gain, bias);
    });
    by_bytes("RMS norm, rows of 256", [](Tape<float>& tape, Var<float> x) {
        return rms_norm(x, gain_and_bias(tape, 256).first);
    });
}

void bench_attention(const Machine& machine, Table& table) {
    for (const int tokens : {49, 256, 1024}) {
        const double product = 2.0 * tokens * tokens * 64;
        operation(machine, table, "attention " + std::to_string(tokens) + " tokens 4 x 16",
                  "GFLOP/s", machine.flops_all, {1, tokens, 64}, 2 * product, 5 * product,
                  [](Tape<float>&, Var<float> x) { return attention(x, x, x, {4}); });
    }
}

/// The update of all parameters: clipping, AdamW and average in one.
void bench_update(const Machine& machine, Table& table) {
    constexpr std::size_t kParameters = 1'539'329;
    Array<float> values(kParameters), gradient(kParameters), average(kParameters);
    std::ranges::fill(gradient, 1.0f);
    AdamW<float> adam(kParameters, {});
    const double step = seconds_per_call(1, [&](int) {
        const double length = std::sqrt(sum_of_squares<float>(gradient));
        adam.step(values, gradient, 1e-4, {std::min(1.0, 1 / length), average, 0.999});
    });
    // 5 arrays are read and 4 written, after one pass for the length.
    const double rate = 4.0 * kParameters * 10 / step / 1e9;
    std::printf("%-34s%9.0f%9s GB/s   %.2f\n\n", "AdamW, clipping and average", rate, "",
                rate / machine.copy);
    table.row(
        {"AdamW clipping and average", "", "GB/s", shortest(rate), shortest(rate / machine.copy)});
}

}  // namespace

void bench_kernels(const Machine& machine, const std::filesystem::path& folder) {
    Table table(folder / "kernels.csv", "kernel,shape,unit,rate,share");
    bench_convolutions(machine, table);
    std::printf("%-34s%9s%9s   %s\n", "other operations", "forward", "back",
                "of copying in main memory; attention: of the peak");
    bench_group_norm(machine, table);
    bench_rows(machine, table);
    bench_attention(machine, table);
    bench_update(machine, table);
}

}  // namespace diffusion
