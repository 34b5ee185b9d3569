// Chapter 2's program: checks every gradient, then lets a small network learn a picture.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>

#include "02_gradients/gradient_check.hpp"
#include "02_gradients/layers.hpp"
#include "02_gradients/optimizer.hpp"
#include "app/app.hpp"
#include "io/csv.hpp"
#include "io/image.hpp"
#include "io/run_folder.hpp"

namespace diffusion {
namespace {

using Vars = std::vector<Var<double>>;
constexpr std::array<int, 3> kLabels{2, 0, 3};  // of cross_entropy
constexpr std::array<int, 3> kIds{2, 0, 2};     // of embedding

/// A few VJPs at given numbers, x = sin(1 + k) and dy = cos(k), for whoever derives them once more.
void write_vjps(const std::filesystem::path& path) {
    Arena arena;
    Tape<double> tape(arena);
    const Shape s{3, 5};
    const Tensor<double> x = arena.make<double>(s), dy = arena.make<double>(s);
    for (int k = 0; k < x.numel(); ++k) {
        x.data()[k] = std::sin(1.0 + k);
        dy.data()[k] = std::cos(static_cast<double>(k));
    }
    const Tensor<double> one = arena.make<double>({5});
    std::fill(one.begin(), one.end(), 1.0);
    const Var<double> gain = tape.constant(one), bias = tape.constant(arena.zeros<double>({5}));
    CsvWriter table(path, {"k", "silu", "softmax", "layer_norm", "rms_norm"});
    std::vector<Tensor<double>> dx;
    const auto add = [&](auto operation) {
        const Var<double> leaf = tape.leaf(x);
        tape.backward_from(mul(operation(leaf), tape.constant(dy)), 1.0);
        dx.push_back(leaf.grad());
    };
    add([](auto v) { return silu(v); });
    add([](auto v) { return softmax(v); });
    add([&](auto v) { return layer_norm(v, gain, bias); });
    add([&](auto v) { return rms_norm(v, gain); });
    for (int k = 0; k < x.numel(); ++k) {
        table.row({static_cast<double>(k), dx[0].data()[k], dx[1].data()[k], dx[2].data()[k],
                   dx[3].data()[k]});
    }
}

/// The operations of this chapter against (2.5), as a table. Fails if a gradient is wrong.
void check_gradients(RunFolder& folder) {
    const Shape s{3, 5};
    const std::vector<std::pair<const char*, double>> errors = {
        {"add", gradient_error({s, s}, [](auto&, const Vars& v) { return add(v[0], v[1]); })},
        {"mul", gradient_error({s, s}, [](auto&, const Vars& v) { return mul(v[0], v[1]); })},
        {"add_row",
         gradient_error({s, {5}}, [](auto&, const Vars& v) { return add_row(v[0], v[1]); })},
        {"relu", gradient_error({s}, [](auto&, const Vars& v) { return relu(v[0]); })},
        {"tanh", gradient_error({s}, [](auto&, const Vars& v) { return tanh(v[0]); })},
        {"sigmoid", gradient_error({s}, [](auto&, const Vars& v) { return sigmoid(v[0]); })},
        {"silu", gradient_error({s}, [](auto&, const Vars& v) { return silu(v[0]); })},
        {"gelu", gradient_error({s}, [](auto&, const Vars& v) { return gelu(v[0]); })},
        {"linear", gradient_error({s, {5, 4}, {4}},
                                  [](auto&, const Vars& v) { return linear(v[0], v[1], v[2]); })},
        {"exp", gradient_error({s}, [](auto&, const Vars& v) { return exp(v[0]); })},
        {"log", gradient_error({s}, [](auto&, const Vars& v) { return log(exp(v[0])); })},
        {"sum", gradient_error({s}, [](auto&, const Vars& v) { return sum(v[0]); })},
        {"scale_by",
         gradient_error({s, {1}}, [](auto&, const Vars& v) { return scale_by(v[0], v[1]); })},
        {"matmul",
         gradient_error({s, {5, 4}}, [](auto&, const Vars& v) { return matmul(v[0], v[1]); })},
        {"embedding",
         gradient_error({s}, [](auto&, const Vars& v) { return embedding(v[0], kIds); })},
        {"softmax", gradient_error({s}, [](auto&, const Vars& v) { return softmax(v[0]); })},
        {"layer_norm",
         gradient_error({s, {5}, {5}},
                        [](auto&, const Vars& v) { return layer_norm(v[0], v[1], v[2]); })},
        {"rms_norm",
         gradient_error({s, {5}}, [](auto&, const Vars& v) { return rms_norm(v[0], v[1]); })},
        {"mse", gradient_error({s, s}, [](auto&, const Vars& v) { return mse(v[0], v[1]); })},
        {"cross_entropy",
         gradient_error({{3, 4}},
                        [](auto&, const Vars& v) { return cross_entropy(v[0], kLabels); })},
    };
    std::printf("\n%-16s%s\n", "operation", "largest error of its gradient, relative (2.5)");
    double worst = 0;
    for (const auto& [name, error] : errors) {
        std::printf("%-16s%.1e\n", name, error);
        if (!(error <= worst)) worst = error;
    }
    require(worst < 1e-7, "gradients: the largest error is ", worst, ", expected below 1e-7");
    folder.number("largest gradient error", worst,
                  "of " + std::to_string(errors.size()) +
                      " operations, against central differences in double");
    write_vjps(folder.path("vjps.csv"));
}

/// The function to learn, on the square [-1, 1]^2.
float target(float x, float y) {
    const float r = std::sqrt(x * x + y * y), angle = std::atan2(y, x);
    return std::sin(9.0f * r - 2.0f * angle) * std::exp(-r * r);
}

/// Two numbers to one through three hidden layers.
struct Mlp {
    static constexpr int kWidth = 64;
    ParameterList list;
    Linear in{list, "in", 2, kWidth}, middle1{list, "middle1", kWidth, kWidth},
        middle2{list, "middle2", kWidth, kWidth}, out{list, "out", kWidth, 1};

    Var<float> operator()(Var<float> x) const {
        return out(silu(middle2(silu(middle1(silu(in(x)))))));
    }
};

/// What the network with these weights draws: `size` x `size` pixels.
Image draw(const Mlp& mlp, Array<float>& values, int size) {
    Arena arena;
    Tape<float> tape(arena);
    tape.bind(values.data());
    const Tensor<float> points = arena.make<float>({size * size, 2});
    for (int i = 0; i < size * size; ++i) {
        const int column = i % size, row = i / size;
        points(i, 0) = (static_cast<float>(column) + 0.5f) / static_cast<float>(size) * 2 - 1;
        points(i, 1) = (static_cast<float>(row) + 0.5f) / static_cast<float>(size) * 2 - 1;
    }
    return to_image(mlp(tape.constant(points)).value().reshape({size, size, 1}), 2);
}

enum class Method { descent, adam };

struct Learned {
    Array<float> values, average;
};
/// Trains from the same start on the same points; writes the loss of each step into `losses`,
/// smoothed, and returns the weights and their average.
Learned learn(const Mlp& mlp, Method method, int steps, std::uint64_t seed,
              std::vector<double>& losses, std::vector<Image>* film) {
    constexpr int kBatch = 256;
    Learned model{Array<float>(mlp.list.block()), {}};
    mlp.list.initialise<float>(model.values, seed);
    model.average = model.values;
    Array<float> gradient(mlp.list.block());
    AdamW<float> adam(gradient.size(), {.learning_rate = 3e-3});
    Arena arena;
    Tape<float> tape(arena);
    double smooth = 0;
    for (int step = 0; step < steps && !interrupted(); ++step) {
        tape.reset();
        std::fill(gradient.begin(), gradient.end(), 0.0f);
        tape.bind(model.values.data(), gradient.data());
        const Tensor<float> x = arena.make<float>({kBatch, 2}), y = arena.make<float>({kBatch, 1});
        Random random(seed, Purpose::data, static_cast<std::uint32_t>(step));
        for (int i = 0; i < kBatch; ++i) {
            for (int k = 0; k < 2; ++k) x(i, k) = static_cast<float>(2 * random.uniform() - 1);
            y(i, 0) = target(x(i, 0), x(i, 1));
        }
        const Var<float> loss = mse(mlp(tape.constant(x)), tape.constant(y));
        tape.backward(loss);
        const float rate =
            0.5f *
            (1 + std::cos(3.14159265f * static_cast<float>(step) / static_cast<float>(steps)));
        if (method == Method::adam) {
            clip_gradient<float>(gradient, 1.0);
            adam.step(model.values, gradient, static_cast<double>(3e-3f * rate));
        } else {
            for (std::size_t i = 0; i < gradient.size(); ++i)
                model.values[i] -= 0.3f * rate * gradient[i];  // (2.15)
        }
        ema_update<float>(model.average, model.values, ema_rate(step + 1, 0.99));
        const double now = static_cast<double>(loss.value()(0));
        smooth = step == 0 ? now : 0.98 * smooth + 0.02 * now;
        losses.push_back(smooth);
        const int part = std::max(1, steps / 20);
        if (film != nullptr && step % part == 0) film->push_back(draw(mlp, model.average, 96));
    }
    return model;
}

/// fit.png: the function, and what both ways of training made of it.
void write_fit(RunFolder& folder, const Mlp& mlp, Learned& by_descent, Learned& by_adam) {
    Image wanted{96, 96, 1, {}};
    for (int i = 0; i < 96 * 96; ++i) {
        const auto place = [](int k) { return (static_cast<float>(k) + 0.5f) / 48 - 1; };
        wanted.pixels.push_back(to_byte(target(place(i % 96), place(i / 96))));
    }
    Arena arena;
    const Tensor<float> panels = arena.make<float>({3, 192, 192, 1});
    const std::array<Image, 2> drawn = {draw(mlp, by_descent.values, 96),
                                        draw(mlp, by_adam.average, 96)};
    for (int i = 0; i < 192 * 192; ++i) {
        const int x = i % 192, y = i / 192;
        panels[0].data()[i] =
            static_cast<float>(wanted.pixels.data()[y / 2 * 96 + x / 2]) / 127.5f - 1;
        for (int k = 0; k < 2; ++k) {
            panels[k + 1].data()[i] =
                static_cast<float>(
                    drawn[static_cast<std::size_t>(k)].pixels[static_cast<std::size_t>(i)]) /
                    127.5f -
                1;
        }
    }
    write_png(folder.path("fit.png"), image_grid(panels, 3));
    folder.picture("fit.png",
                   "Left the function, in the middle what gradient descent (2.15) learned, right "
                   "what Adam (2.16) to (2.18) learned.");
}

void experiment(const CommonOptions& options) {
    const std::map<std::string, int> kSteps = {
        {"smoke", 40}, {"quick", 4'000}, {"standard", 30'000}, {"long", 200'000}};
    const auto start = Clock::now();
    pick_threads(options.threads);
    catch_interrupt();
    RunFolder folder(options.out, "02_gradients", "A network learns from hand-derived gradients");
    const int steps = kSteps.at(options.preset);
    const Mlp mlp;
    no_state_to_resume(options);
    banner("Chapter 2: gradients", {{"parameters", std::to_string(mlp.list.count())},
                                    {"steps", std::to_string(steps) + " of 256 points"},
                                    {"seed", std::to_string(options.seed)},
                                    {"expected time", about(9e-4 * steps)}});
    folder.setting("preset", options.preset);
    folder.setting("seed", options.seed);
    folder.begin();
    check_gradients(folder);

    std::vector<double> descent, adam;
    std::vector<Image> film;
    Learned by_descent = learn(mlp, Method::descent, steps, options.seed, descent, nullptr);
    Learned by_adam = learn(mlp, Method::adam, steps, options.seed, adam, &film);
    if (interrupted()) return;
    write_fit(folder, mlp, by_descent, by_adam);
    write_gif(folder.path("learning.gif"), film, 20);
    CsvWriter table(folder.path("loss.csv"), {"step", "descent", "adam"});
    for (int i = 0; i < steps; i += std::max(1, steps / 500)) {
        table.row({static_cast<double>(i + 1), descent[static_cast<std::size_t>(i)],
                   adam[static_cast<std::size_t>(i)]});
    }
    folder.picture("learning.gif", "The averaged weights (2.20) while Adam trains.");
    folder.number("mean squared error, descent", descent.back());
    folder.number("mean squared error, Adam", adam.back());
    const double seconds = seconds_since(start);
    folder.finish(seconds);
    std::printf(
        "\nmean squared error after %d steps: descent %.5f, Adam %.5f\nPictures and tables are in "
        "%s (%.1f s)\n",
        steps, descent.back(), adam.back(), options.out.string().c_str(), seconds);
}

}  // namespace
}  // namespace diffusion

int main(int argc, char** argv) {
    using namespace diffusion;
    CLI::App app(
        "Checks every hand-derived gradient, then lets a small network learn a picture with them.",
        "02_gradients");
    CommonOptions options;
    add_common_options(app, options, "02_gradients");
    return run_app(app, argc, argv, [&] { experiment(options); });
}
