// Chapter 4: where a batch comes from, what goes with it, and the loss for any network.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "02_gradients/gradient_check.hpp"
#include "04_unet/model.hpp"
#include "kernels/threads.hpp"
#include "support/file_checks.hpp"
#include "support/picture_loss.hpp"
#include "support/varied.hpp"
#include "tensor/random.hpp"

using namespace diffusion;
using doctest::Approx;

namespace {

/// Pictures of one pixel, each of a brightness of its own, with its number as label.
Dataset numbered(int count) {
    Dataset data{"test", "numbered pixels", count, 1, 1, 1, {}, {}};
    for (int i = 0; i < count; ++i) {
        data.pixels.push_back(static_cast<std::uint8_t>(i));
        data.labels.push_back(static_cast<std::uint8_t>(i));
    }
    return data;
}

/// A network of one number per pixel: w x_t + b t, so that the loss can be worked out by hand.
struct Affine {
    ParameterList list;
    Parameter w = list.add("w", {1, 1}, Layout::linear, Init::constant(0.5)),
              b = list.add("b", {1}, Layout::plain, Init::constant(0.25));

    NetworkOf<float> network() const {
        return [this](Var<float> xt, std::span<const float>, const Condition<float>&) {
            Tape<float>& tape = xt.tape();
            return linear(xt, tape.parameter(w), tape.parameter(b));
        };
    }
};

}  // namespace

TEST_SUITE_BEGIN("ch04 math");

TEST_CASE("a source of pictures: every pass sees each picture once, whoever asks, with its label") {
    const Dataset data = numbered(12);
    const Source source = picture_source(data, {.batch = 4, .labels = true, .seed = 3});
    Arena arena;
    std::vector<int> seen;
    for (int step = 0; step < 3; ++step) {
        const Batch whole = source(arena, step, 0, 4);
        const Batch first = source(arena, step, 0, 1), rest = source(arena, step, 1, 3);
        for (int i = 0; i < 4; ++i) {
            const int label = whole.labels(i);
            CHECK(whole.x0(i, 0, 0, 0) == from_byte(static_cast<std::uint8_t>(label)));
            CHECK(label == (i == 0 ? first.labels(0) : rest.labels(i - 1)));
            seen.push_back(label);
        }
    }
    std::ranges::sort(seen);
    for (int i = 0; i < 12; ++i) CHECK(seen[static_cast<std::size_t>(i)] == i);
    Dataset without = data;
    without.labels.clear();
    CHECK(contains(error_of([&] { picture_source(without, {.labels = true}); }), "no labels"));
    CHECK_FALSE(static_cast<bool>(picture_source(without, {})(arena, 0, 0, 1).labels));
}

TEST_CASE("condition dropout: a share of the samples loses all that goes with the picture") {
    constexpr int kSamples = 4000;
    const Source told = [](Arena& arena, std::int64_t, int first, int count) {
        Batch batch;
        batch.x0 = arena.zeros<float>({count, 1});
        batch.tokens = arena.make<float>({count, 2, 3});
        batch.keep = arena.make<unsigned char>({count, 2});
        batch.labels = arena.make<int>({count});
        for (int i = 0; i < count; ++i) {
            for (float& v : batch.tokens[i]) v = static_cast<float>(first + i);
            for (unsigned char& k : batch.keep[i]) k = 1;
            batch.labels(i) = first + i;
        }
        return batch;
    };
    Arena arena;
    Batch nothing;
    nothing.tokens = arena.zeros<float>({1, 2, 3});
    nothing.tokens(0, 1, 2) = -7;
    nothing.keep = arena.zeros<unsigned char>({1, 2});
    nothing.keep(0, 0) = 1;
    nothing.labels = arena.make<int>({1});
    nothing.labels(0) = -1;
    const double rate = varied(0.2);
    const Source source = drop_conditions(told, rate, nothing, varied_seed(5));
    const Batch batch = source(arena, 9, 0, kSamples);
    int dropped = 0;
    for (int i = 0; i < kSamples; ++i) {
        const bool gone = batch.labels(i) == -1;
        dropped += gone ? 1 : 0;
        CHECK(batch.tokens(i, 1, 2) == (gone ? -7.0f : static_cast<float>(i)));
        CHECK(batch.tokens(i, 0, 0) == (gone ? 0.0f : static_cast<float>(i)));
        CHECK(batch.keep(i, 1) == (gone ? 0 : 1));
    }
    CHECK(std::abs(dropped - rate * kSamples) < 5 * std::sqrt(kSamples * rate * (1 - rate)));
    CHECK(source(arena, 9, 17, 1).labels(0) == batch.labels(17));  // alone, too
    CHECK(drop_conditions(told, 0, nothing, 1)(arena, 0, 5, 1).labels(0) == 5);
    nothing.tokens = arena.zeros<float>({1, 2, 4});
    const Source wrong = drop_conditions(told, 1, nothing, 1);
    CHECK(contains(error_of([&] { wrong(arena, 0, 0, 1); }),
                   "drop_conditions: a sample's tokens are [2,3], but `nothing` has [1,2,4]"));
}

TEST_CASE("(4.15) the loss of any network for any objective, worked out by hand") {
    // A flow's path and weights of our own, with a network that is not the UNet.
    const Dataset data = numbered(8);
    const Objective objective{Prediction::eps,
                              [](double u) {
                                  return Moment{1000 * u, {1 - u, u}};
                              },
                              [](const Moment& at) { return 1 + at.level.s; }};
    const Affine net;
    constexpr int kBatch = 8;
    const std::uint64_t seed = varied_seed(7);
    SampleErrors samples(kBatch);
    const Trainer::Loss loss =
        denoising_loss(net.network(), picture_source(data, {.batch = kBatch, .seed = seed}),
                       objective, kBatch, seed, &samples);
    Array<float> values(net.list.block());
    net.list.initialise<float>(values, 1);
    Arena arena, memory;
    Tape<float> tape(arena);
    tape.bind(values.data());
    const double found = static_cast<double>(loss(tape, 3, 0, kBatch).value()(0));
    const Batch batch = picture_source(data, {.batch = kBatch, .seed = seed})(memory, 3, 0, kBatch);
    double expected = 0;
    for (int k = 0; k < kBatch; ++k) {
        const Drawn drawn = draw_moment(objective, kBatch, seed, 3, k);
        const Moment at{static_cast<double>(drawn.t), drawn.level.as<double>()};
        const auto i = static_cast<std::size_t>(k);
        CHECK(samples.t[i] == Approx(at.t).epsilon(1e-6));
        CHECK(at.t >= 1000.0 * k / kBatch);  // the k-th of equal parts
        CHECK(at.t < 1000.0 * (k + 1) / kBatch);
        const double eps = Random(seed, Purpose::noise, 3, static_cast<std::uint32_t>(k)).normal();
        const double xt = at.level.a * static_cast<double>(batch.x0(k, 0, 0, 0)) + at.level.s * eps;
        const double error = std::pow(0.5 * xt + 0.25 - eps, 2);
        CHECK(samples.error[i] == Approx(error).epsilon(1e-5));
        CHECK(static_cast<double>(drawn.weight) == Approx(1 + at.level.s).epsilon(1e-6));
        expected += (1 + at.level.s) * error / kBatch;
    }
    CHECK(found == Approx(expected).epsilon(1e-6));
}

TEST_CASE(
    "(4.15) the loss is that of the stated t and noise, worked out again for a network that "
    "predicts 0") {
    // A fresh network predicts 0, so each sample's loss is the weighted mean square of its target.
    for (const std::string prediction : {"eps", "x0", "v"}) {
        const DenoisingModel model(unet_config(1, 8, {1}), make_schedule("cosine", 1000),
                                   prediction_from_name(prediction), 4, 4);
        Dataset data{"test", "", 1, 4, 4, 1, std::vector<std::uint8_t>(16, 51),
                     {}};  // every pixel is -0.6
        SampleErrors samples(4);
        const Trainer::Loss loss = picture_loss(model, data, {4, 1.0, false, 7}, &samples);
        Array<float> values(model.parameters.block());
        model.parameters.initialise<float>(values, 1);
        Arena arena;
        Tape<float> tape(arena);
        tape.bind(values.data());
        const float value = loss(tape, 5, 0, 4).value()(0);
        double weighted = 0;
        for (std::uint32_t k = 0; k < 4; ++k) {
            const double u = (k + Random(7, Purpose::timestep, 5, k).uniform()) / 4;
            const int t = 1 + static_cast<int>(u * 1000);
            CHECK(samples.t[k] == t - 1);                 // the network counts from 0
            CHECK((t - 1) / 250 == static_cast<int>(k));  // stratified
            const double a = model.schedule.signal(t), s = model.schedule.noise(t);
            Random noise(7, Purpose::noise, 5, k);
            double expected = 0;
            for (int p = 0; p < 16; ++p) {
                const double e = noise.normal();
                const double target = prediction == "eps"  ? e
                                      : prediction == "x0" ? -0.6
                                                           : a * e + s * 0.6;
                expected += target * target / 16;
            }
            CHECK(samples.error[k] == doctest::Approx(expected).epsilon(1e-6));
            const double weight = prediction == "x0" ? std::min(1 / (s * s), 5.0) * (a + 0.1) : 1;
            weighted += weight * expected / 4;
        }
        CHECK(static_cast<double>(value) == doctest::Approx(weighted).epsilon(1e-6));
    }
}

TEST_CASE(
    "(4.15) with a power below 1 the times of a batch are those of u^p, later ones more often") {
    const DenoisingModel model(unet_config(1, 8, {1}), make_schedule("cosine", 1000), Prediction::v,
                               4, 4);
    Dataset data{"test", "", 1, 4, 4, 1, std::vector<std::uint8_t>(16, 51), {}};
    SampleErrors samples(64);
    const Trainer::Loss loss = picture_loss(model, data, {64, 0.5, false, 3}, &samples);
    Array<float> values(model.parameters.block());
    Arena arena;
    Tape<float> tape(arena);
    tape.bind(values.data());
    loss(tape, 0, 0, 64);
    for (std::uint32_t k = 0; k < 64; ++k) {
        const double u = (k + Random(3, Purpose::timestep, 0, k).uniform()) / 64;
        CHECK(samples.t[k] == static_cast<int>(std::sqrt(u) * 1000));
    }
    // P(t <= T / 2) = (1 / 2)^(1 / p) = 1 / 4
    CHECK(std::count_if(samples.t.begin(), samples.t.end(), [](double t) { return t <= 500; }) ==
          16);
}
TEST_CASE("(3.11) the denoiser of a network: its condition, and its guess at any level") {
    const Affine net;
    Array<float> values(net.list.block());
    net.list.initialise<float>(values, 1);
    std::vector<int> asked(20);
    NetworkOf<float> network = [&](Var<float> xt, std::span<const float> t,
                                   const Condition<float>& condition) {
        for (const float time : t) CHECK(time == 500.5f);
        REQUIRE(condition.labels.size() == t.size());
        for (const int label : condition.labels) ++asked[static_cast<std::size_t>(label)];
        return net.network()(xt, t, condition);
    };
    Arena arena;
    Batch labels;
    labels.labels = arena.make<int>({20});
    for (int i = 0; i < 20; ++i) labels.labels(i) = i;
    const Denoiser<float> denoiser = network_denoiser(network, Prediction::eps, values, labels);
    Array<float> x({20, 1}), x0({20, 1});
    fill_normal(x.tensor(), Random(2, Purpose::test));
    const Moment at{500.5, {varied(0.4), 0.7}};
    denoiser(x.tensor(), at, x0);
    for (const int count : asked) CHECK(count == 1);
    for (std::size_t i = 0; i < 20; ++i) {
        const double xt = static_cast<double>(x[i]), eps = 0.5 * xt + 0.25;
        CHECK(static_cast<double>(x0[i]) == Approx((xt - 0.7 * eps) / at.level.a).epsilon(1e-5));
    }
    // A level at which the network's guess says nothing of x_0, and more pictures than labels.
    CHECK(contains(error_of([&] { denoiser(x.tensor(), {500.5, {0, 1}}, x0); }), "a = 0"));
    Array<float> more({21, 1}), of_more({21, 1});
    CHECK(contains(error_of([&] { denoiser(more.tensor(), at, of_more); }), "of 20"));
}

TEST_CASE("a denoiser that several threads ask at once gives each the same bits as alone") {
    const DenoisingModel model(unet_config(1, 8, {1, 2}), make_schedule("cosine", 1000),
                               Prediction::x0, 12, 12);
    Array<float> values(model.parameters.block());
    model.parameters.initialise<float>(values, 1);
    Random random(8, Purpose::test);
    for (float& v : values) v += 0.05f * static_cast<float>(random.normal());
    const Denoiser<float> denoiser = model_denoiser(model, values);
    constexpr int kCallers = 8;
    std::vector<Array<float>> x(kCallers, Array<float>(model.shape(3))), alone = x, beside = x;
    for (std::uint32_t i = 0; i < kCallers; ++i)
        fill_normal(x[i].tensor(), Random(4, Purpose::test, i));
    const Moment at = model.path(std::array{400}).front();
    for (std::size_t i = 0; i < kCallers; ++i) denoiser(x[i].tensor(), at, alone[i]);
    parallel_for(kCallers, kCallers, [&](int i) {
        const auto k = static_cast<std::size_t>(i);
        for (int round = 0; round < 3; ++round) denoiser(x[k].tensor(), at, beside[k]);
    });
    CHECK(beside == alone);
}

TEST_SUITE_END();
TEST_SUITE_BEGIN("ch04 grad");

TEST_CASE("(4.15) the VJP of the weighted loss equals central differences") {
    CHECK(gradient_error({{3, 4, 2}}, [](Tape<double>& tape, const std::vector<Var<double>>& in) {
              const Tensor<double> target = tape.arena().make<double>({3, 4, 2}),
                                   weight = tape.arena().make<double>({3});
              fill_normal(target, Random(5, Purpose::test));
              for (int n = 0; n < 3; ++n) weight(n) = 0.5 + n;
              return weighted_mse(in[0], target, weight).loss;
          }) < 1e-7);
}

TEST_CASE("the UNet in other settings: its VJP along a random direction, every setting at once") {
    UNetConfig config;
    config.in_channels = 2;
    config.out_channels = 3;
    config.channels = {4, 8};
    config.blocks = 1;
    config.groups = 2;
    config.eps = 1e-3;
    config.heads = {1, 2};
    config.attention = {true, true};
    config.padding = Padding::after;
    config.time = {.cosine_first = false, .shift = 1, .period = 300};
    config.classes = 5;
    config.pooled_width = 3;
    ParameterList list;
    const UNet unet(list, "net.", config);
    CHECK(list.name_at(0) == "net.time_embedding.linear_1.weight");
    Array<double> values(list.block()), direction(values.shape()), gradient(values.shape());
    list.initialise<double>(values, 1);
    Random random(2, Purpose::test);
    for (double& v : values) v += 0.1 * random.normal();
    for (double& d : direction) d = random.normal();
    Arena memory, arena;
    const Tensor<double> x = memory.make<double>({2, 6, 8, 2}),
                         w = memory.make<double>({2, 6, 8, 3}),
                         pooled = memory.make<double>({2, 3});
    fill_normal(x, Random(3, Purpose::test));
    fill_normal(w, Random(4, Purpose::test));
    fill_normal(pooled, Random(5, Purpose::test));
    const std::vector<float> t{12.5f, 700};
    const std::vector<int> labels{4, 1};
    Tape<double> tape(arena);
    const auto output = [&](const Array<double>& at, double* gradients) {
        tape.reset();
        tape.bind(const_cast<double*>(at.data()), gradients);
        return unet(tape.constant(x), t, {.pooled = tape.constant(pooled), .labels = labels});
    };
    const auto loss = [&](double step) {
        Array<double> moved = values;
        for (std::size_t i = 0; i < moved.size(); ++i) moved[i] += step * direction[i];
        const Tensor<double> y = output(moved, nullptr).value();
        double sum = 0;
        for (std::ptrdiff_t i = 0; i < y.numel(); ++i) sum += y.data()[i] * w.data()[i];
        return sum;
    };
    tape.backward(output(values, gradient.data()), w);
    double along = 0;
    for (std::size_t i = 0; i < values.size(); ++i) along += gradient[i] * direction[i];
    constexpr double h = 1e-5;
    CHECK(along == Approx((loss(h) - loss(-h)) / (2 * h)).epsilon(1e-6));
    // Every parameter has a part in it: nothing was left out of the network.
    std::map<std::string, double> squares;
    for (std::ptrdiff_t i = 0; i < list.block(); ++i)
        squares[list.name_at(i)] += std::pow(gradient[static_cast<std::size_t>(i)], 2);
    for (const auto& each : squares) {
        CAPTURE(each.first);
        // A bias of the keys adds the same to all scores of a query, which softmax does not see.
        CHECK((each.first.ends_with("to_k.bias") ? each.second < 1e-20 : each.second > 0));
    }
    CHECK(contains(error_of([&] { unet(tape.constant(x), t); }), "0 labels for 2 images"));
    config.cross_width = 8;
    CHECK(contains(error_of([&] { UNet(list, "other.", config); }), "reads no text"));
    config.heads = {3};
    CHECK(contains(error_of([&] { config.check(); }), "do not fall into 3 heads"));
}

TEST_CASE("(4.7) sines first, another divisor and another period") {
    Arena arena;
    const std::vector<float> t{static_cast<float>(varied(2.5))};
    const Tensor<double> e = timestep_embedding<double>(
        t, 8, {.cosine_first = false, .shift = 1, .period = 1000}, arena);
    for (int i = 0; i < 4; ++i) {
        const double angle = static_cast<double>(t[0]) * std::pow(1000, -i / 3.0);
        CHECK(e(0, i) == Approx(std::sin(angle)).epsilon(1e-14));
        CHECK(e(0, 4 + i) == Approx(std::cos(angle)).epsilon(1e-14));
    }
}

TEST_SUITE_END();
