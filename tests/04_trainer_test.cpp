// The trainer, with a model small enough to be solved by hand: y = w x + b.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "04_unet/model.hpp"
#include "io/files.hpp"
#include "io/safetensors.hpp"
#include "support/file_checks.hpp"
#include "support/heap_count.hpp"
#include "support/picture_loss.hpp"
#include "support/temporary_folder.hpp"
#include "support/varied.hpp"
#include "tensor/random.hpp"

using namespace diffusion;

namespace {

struct Line {
    ParameterList list;
    Parameter w = list.add("w", {1, 1}, Layout::linear, Init::uniform(0.5)),
              b = list.add("b", {1}, Layout::plain, Init::uniform(0.5));

    /// Mean squared distance from 3 x - 1 at random places.
    Trainer::Loss loss(double factor = 1.0) const {
        return [this, factor](Tape<float>& tape, std::int64_t step, int first, int count) {
            const Tensor<float> x = tape.arena().make<float>({count, 1}),
                                y = tape.arena().make<float>({count, 1});
            for (int i = 0; i < count; ++i) {
                Random random(9, Purpose::test, static_cast<std::uint32_t>(step),
                              static_cast<std::uint32_t>(first + i));
                x(i, 0) = static_cast<float>(random.normal());
                y(i, 0) = static_cast<float>(factor) * (3 * x(i, 0) - 1);
            }
            return mse(linear(tape.constant(x), tape.parameter(w), tape.parameter(b)),
                       tape.constant(y));
        };
    }
};

const TrainOptions kOptions{.batch = 10,
                            .lane = 4,
                            .steps = 400,
                            .learning_rate = 0.1,
                            .warmup = 10,
                            .max_norm = 10,
                            .ema_rate = 0.9};

}  // namespace

TEST_SUITE_BEGIN("ch04 math");

TEST_CASE("the trainer finds the line, and the average of the weights follows") {
    const Line line;
    Trainer trainer(line.list, kOptions);
    for (int i = 0; i < 400; ++i) trainer.step(line.loss());
    const auto at = [](const Array<float>& v, const Parameter& p) {
        return v[static_cast<std::size_t>(p.offset)];
    };
    CHECK(at(trainer.values(), line.w) == doctest::Approx(3).epsilon(0.01));
    CHECK(at(trainer.values(), line.b) == doctest::Approx(-1).epsilon(0.01));
    CHECK(at(trainer.average(), line.w) == doctest::Approx(3).epsilon(0.01));
}

TEST_CASE("every parameter of a model, its average and its moments start on a cache line") {
    ParameterList list;
    const UNet unet(list, "", unet_config(1, 8, {1, 2}));
    Trainer trainer(list, {.batch = 4});
    for (const auto& block : trainer.state()) {
        CAPTURE(block.first);
        for (const Parameter& p : list.matrices())
            CHECK(reinterpret_cast<std::uintptr_t>(block.second.data() + p.offset) % kAlignment ==
                  0);
    }
}

TEST_CASE("a batch cut into lanes of 4, 4 and 2 has the loss and the gradient of the whole") {
    const Line line;
    TrainOptions whole = kOptions;
    whole.lane = 10;
    Trainer a(line.list, kOptions), b(line.list, whole);
    for (int i = 0; i < 3; ++i) {
        const Trainer::Report x = a.step(line.loss()), y = b.step(line.loss());
        CHECK(x.loss == doctest::Approx(y.loss).epsilon(1e-5));
        CHECK(x.gradient_norm == doctest::Approx(y.gradient_norm).epsilon(1e-5));
    }
}

TEST_CASE("Muon gets the kernels and matrices between hidden values, none that faces pictures") {
    ParameterList list;
    const UNet unet(list, "", unet_config(1, 16, {1, 2, 2}));
    std::vector<std::string> names;
    for (const Parameter& p : list.matrices()) names.push_back(list.name_at(p.offset));
    const auto chosen = [&](const char* name) {
        return std::ranges::find(names, name) != names.end();
    };
    for (const char* name :
         {"time_embedding.linear_1.weight", "down_blocks.0.resnets.0.conv1.weight",
          "up_blocks.2.resnets.2.conv_shortcut.weight", "mid_block.attentions.0.to_q.weight",
          "down_blocks.1.downsamplers.0.conv.weight"})
        CHECK(chosen(name));
    for (const char* name :
         {"conv_in.weight", "conv_out.weight", "down_blocks.0.resnets.0.norm1.weight",
          "down_blocks.0.resnets.0.conv1.bias"})
        CHECK(!chosen(name));
}

TEST_CASE("flips: half of the pictures, left to right, and everything else as without") {
    // One picture that is not its own mirror image; the noise and the times are the same.
    const DenoisingModel model(unet_config(1, 8, {1}), make_schedule("cosine", 1000),
                               Prediction::x0, 4, 4);
    Dataset data{"test", "", 1, 4, 4, 1, std::vector<std::uint8_t>(16, 0), {}};
    for (std::size_t i = 0; i < 16; ++i) data.pixels[i] = static_cast<std::uint8_t>(i % 4 * 80);
    Dataset mirrored = data;
    for (std::size_t i = 0; i < 16; ++i) mirrored.pixels[i] = data.pixels[i / 4 * 4 + 3 - i % 4];
    Array<float> values(model.parameters.block());
    model.parameters.initialise<float>(values, 1);
    Random random(8, Purpose::test);
    for (float& v : values) v += 0.1f * static_cast<float>(random.normal());
    constexpr int kBatch = 64;
    const auto errors = [&](const Dataset& pictures, bool flip) {
        SampleErrors samples(kBatch);
        const Trainer::Loss loss = picture_loss(model, pictures, {kBatch, 1.0, flip, 5}, &samples);
        Arena arena;
        Tape<float> tape(arena);
        tape.bind(values.data());
        loss(tape, 0, 0, kBatch);
        return samples.error;
    };
    const std::vector<double> plain = errors(data, false), turned = errors(mirrored, false),
                              flipped = errors(data, true);
    int turns = 0;
    for (std::size_t k = 0; k < kBatch; ++k) {
        CHECK(plain[k] != turned[k]);
        CHECK((flipped[k] == plain[k] || flipped[k] == turned[k]));
        turns += flipped[k] == turned[k] ? 1 : 0;
    }
    CHECK(turns > 16);
    CHECK(turns < 48);
}

TEST_CASE("(3.11) (3.13) a fresh network's guess of x_0: it answers 0, whatever it is asked for") {
    for (const std::string prediction : {"eps", "x0", "v"}) {
        const DenoisingModel model(unet_config(1, 8, {1, 2}), make_schedule("cosine", 1000),
                                   prediction_from_name(prediction), 8, 8);
        Array<float> values(model.parameters.block());
        model.parameters.initialise<float>(values, 1);
        Arena arena;
        const Tensor<float> x = arena.make<float>({5, 8, 8, 1}), x0 = arena.make<float>(x.shape());
        fill_normal(x, Random(6, Purpose::test));
        model_denoiser(model, values)(x, model.path(std::array{300}).front(), x0);
        const double a = model.schedule.signal(300);
        for (std::ptrdiff_t i = 0; i < x.numel(); ++i) {
            const double xt = static_cast<double>(x.data()[i]);
            const double expected = prediction == "eps" ? xt / a : prediction == "v" ? a * xt : 0;
            CHECK(static_cast<double>(x0.data()[i]) == doctest::Approx(expected).epsilon(1e-6));
        }
    }
}

TEST_CASE("(4.16) the rate rises to its highest at the end of the warm-up and falls to 1 % of it") {
    TrainOptions options = kOptions;
    options.learning_rate = varied(0.1);
    const auto parts = [&](std::int64_t step) {
        return learning_rate_at(step, options) / options.learning_rate;
    };
    options.steps = options.warmup + 4 * varied_size(97);  // a quarter of the way is a whole step
    const std::int64_t half = (options.warmup + options.steps) / 2,
                       quarter = (options.warmup + half) / 2;
    CHECK(parts(0) == doctest::Approx(0.1).epsilon(1e-12));
    CHECK(parts(options.warmup - 1) == doctest::Approx(1).epsilon(1e-12));
    CHECK(parts(options.warmup) == doctest::Approx(1).epsilon(1e-12));
    const double cosine = std::cos(std::numbers::pi / 4);
    CHECK(parts(quarter) == doctest::Approx(0.01 + 0.495 * (1 + cosine)).epsilon(1e-12));
    CHECK(parts(half) == doctest::Approx(0.505).epsilon(1e-12));
    CHECK(parts(options.steps) == doctest::Approx(0.01).epsilon(1e-12));
}

TEST_CASE("a saved and loaded trainer goes on with the same bits") {
    const TemporaryFolder folder;
    const Line line;
    Trainer a(line.list, kOptions), b(line.list, kOptions);
    for (int i = 0; i < 20; ++i) a.step(line.loss());
    a.save(folder / "state");
    b.load(folder / "state");
    CHECK(b.steps() == 20);
    for (int i = 0; i < 20; ++i) CHECK(a.step(line.loss()).loss == b.step(line.loss()).loss);
    CHECK(a.values() == b.values());
    CHECK(a.average() == b.average());
    TrainOptions other = kOptions;
    other.seed = 2;
    Trainer c(line.list, other);
    CHECK_THROWS_WITH_AS(c.load(folder / "state"),
                         doctest::Contains("this run has seed \"2\", the saved one \"1\""), Error);
}

TEST_CASE("a loss that is not finite stops the training, names the step, and changes nothing") {
    const Line line;
    Trainer trainer(line.list, kOptions);
    trainer.step(line.loss());
    const Array<float> before = trainer.values();
    CHECK_THROWS_WITH_AS(trainer.step(line.loss(std::numeric_limits<double>::infinity())),
                         doctest::Contains("at step 2; the first layer that is not finite is"),
                         Error);
    CHECK(trainer.values() == before);
    CHECK(trainer.steps() == 1);
}

TEST_CASE("the layer where numbers stop being finite is named, not the first of the network") {
    const DenoisingModel model(unet_config(1, 8, {1, 2}), make_schedule("cosine", 1000),
                               Prediction::v, 8, 8);
    Dataset data{"test", "", 4, 8, 8, 1, std::vector<std::uint8_t>(256, 100), {}};
    TrainOptions options = kOptions;
    options.batch = 8;
    Trainer trainer(model.parameters, options);
    const Trainer::Loss loss = picture_loss(model, data, {8, 1.0, false, 1});
    trainer.step(loss);
    const std::ptrdiff_t block = model.parameters.block();
    std::ptrdiff_t at = 0;
    while (at < block && model.parameters.name_at(at) != "up_blocks.0.resnets.0.conv1.weight") ++at;
    REQUIRE(at < block);
    trainer.values()[static_cast<std::size_t>(at)] = std::numeric_limits<float>::infinity();
    CHECK_THROWS_WITH_AS(
        trainer.step(loss),
        doctest::Contains("the first layer that is not finite is up_blocks.0.resnets.0.conv1"),
        Error);
}

TEST_CASE("a gradient that is not finite under a finite loss is traced to its layer as well") {
    struct Net {
        ParameterList list;
        Parameter bias = list.add("bias", {1}, Layout::plain, Init::constant(0)),
                  first = list.add("first.weight", {1, 1}, Layout::linear, Init::constant(1)),
                  second = list.add("second.weight", {1, 1}, Layout::linear, Init::constant(1));
    } net;
    TrainOptions options = kOptions;
    options.muon = false;
    Trainer trainer(net.list, options);
    const Trainer::Loss loss = [&](Tape<float>& tape, std::int64_t, int, int count) {
        const Tensor<float> x = tape.arena().zeros<float>({count, 1}),
                            target = tape.arena().make<float>({count, 1});
        for (float& v : target) v = 1e9f;
        const Var<float> b = tape.parameter(net.bias);
        const Var<float> h = scale(linear(tape.constant(x), tape.parameter(net.first), b), 1e35f);
        return mse(linear(h, tape.parameter(net.second), b), tape.constant(target));
    };
    // Forward all is 0, and the loss 1e18. Back, -2e8 times 1e35 overflows on the way to `first`.
    CHECK_THROWS_WITH_AS(
        trainer.step(loss),
        doctest::Contains("the loss is 1e+18 at step 1; the first layer that is not finite is "
                          "first (on the way back)"),
        Error);
    CHECK(trainer.steps() == 0);
}

TEST_CASE("a damaged state is refused with the file's name, and the trainer stays as it is") {
    const TemporaryFolder folder;
    const Line line;
    Trainer trainer(line.list, kOptions);
    trainer.step(line.loss());
    trainer.save(folder / "good");
    const Safetensors good = read_safetensors(folder / "good");
    const Array<float> before = trainer.values();
    const auto refused = [&](auto change, const std::string& message) {
        Safetensors file = good;
        change(file);
        write_safetensors(folder / "bad", file);
        const std::string error = error_of([&] { trainer.load(folder / "bad"); });
        CAPTURE(error);
        CHECK(contains(error, (folder / "bad").string() + ": " + message));
        CHECK(trainer.values() == before);
        CHECK(trainer.steps() == 1);
    };
    refused([](Safetensors& f) { f.arrays.pop_back(); }, "the array second_moment is missing");
    refused(
        [](Safetensors& f) {
            f.arrays.push_back({"odd", {1}, {0}});
        },
        "holds 6 arrays, expected 5");
    refused(
        [](Safetensors& f) {
            f.arrays[0].shape = {1};
            f.arrays[0].values = {1};
        },
        "values has 1 numbers, expected 32");
    refused([](Safetensors& f) { f.metadata["step"] = "-1"; }, "no number 'step'");
    refused([](Safetensors& f) { f.metadata.erase("step"); }, "no number 'step'");
    refused([](Safetensors& f) { f.metadata.erase("seed"); },
            "this run has seed \"1\", the saved one");
    const char* not_finite = "tensor \"momentum\": holds a number that is not finite";
    refused([](Safetensors& f) { f.arrays[2].values[0] = std::nanf(""); }, not_finite);
    const auto bytes = read_file(folder / "good");
    put_text(folder / "cut", as_text(bytes).substr(0, bytes.size() / 2));
    CHECK(contains(error_of([&] { trainer.load(folder / "cut"); }), (folder / "cut").string()));
    CHECK(trainer.values() == before);
}

TEST_CASE("weights that are not finite do not replace a saved state") {
    const TemporaryFolder folder;
    const Line line;
    Trainer trainer(line.list, kOptions);
    trainer.save(folder / "state");
    const auto before = read_file(folder / "state");
    trainer.values()[static_cast<std::size_t>(line.b.offset)] =
        std::numeric_limits<float>::infinity();
    CHECK(contains(error_of([&] { trainer.save(folder / "state"); }),
                   "after step 0 the parameter b is not finite"));
    CHECK(read_file(folder / "state") == before);
    trainer.load(folder / "state");
    trainer.state().at("second_moment")[0] = std::nanf("");  // it can overflow on its own
    CHECK(contains(error_of([&] { trainer.save(folder / "state"); }),
                   "after step 0 the optimizer's second_moment is not finite"));
    CHECK(read_file(folder / "state") == before);
}

TEST_CASE("training steps after the first take no memory from the heap") {
    const DenoisingModel model(unet_config(1, 8, {1, 2}), make_schedule("cosine", 1000),
                               Prediction::x0, 12, 12);
    Dataset data{"test", "", 4, 12, 12, 1, std::vector<std::uint8_t>(4 * 144, 100), {}};
    TrainOptions options = kOptions;
    options.batch = 12;
    Trainer trainer(model.parameters, options);
    const Trainer::Loss loss = picture_loss(model, data, {12, 0.5, false, 1});
    [[maybe_unused]] const std::int64_t none = heap_allocations();
    trainer.step(loss);
    const std::int64_t first = heap_allocations();
#ifndef DIFFUSION_SANITIZED
    CHECK(first > none);
#endif
    for (int i = 0; i < 5; ++i) trainer.step(loss);
    CHECK(heap_allocations() == first);
}

TEST_CASE("calls of a denoiser after the first ones take no memory from the heap") {
    DenoisingModel model(unet_config(1, 8, {1, 2}), make_schedule("cosine", 1000), Prediction::x0,
                         12, 12);
    Array<float> values(model.parameters.block());
    model.parameters.initialise<float>(values, 1);
    for (int images : {1, 20}) {
        CAPTURE(images);
        Arena memory;
        const Tensor<float> x = memory.zeros<float>({images, 12, 12, 1}),
                            x0 = memory.make<float>(x.shape());
        const Denoiser<float> denoiser = model_denoiser(model, values);
        const Moment at = model.path(std::array{500}).front();
        for (int i = 0; i < 2; ++i) denoiser(x, at, x0);
        const std::int64_t before = heap_allocations();
        for (int i = 0; i < 5; ++i) denoiser(x, at, x0);
        CHECK(heap_allocations() == before);
    }
}

TEST_SUITE_END();
