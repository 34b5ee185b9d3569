#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "02_gradients/ops.hpp"
#include "02_gradients/parameters.hpp"
#include "support/file_checks.hpp"
#include "support/temporary_folder.hpp"
#include "tensor/random.hpp"

using namespace diffusion;

namespace {

struct Small {
    ParameterList list;
    Parameter weight = list.add("fc.weight", {2, 3}, Layout::linear, Init::uniform(0.5));
    Parameter kernel = list.add("conv.weight", {3, 3, 2, 4}, Layout::conv, Init::uniform(0.25));
    Parameter bias = list.add("fc.bias", {3}, Layout::plain, Init::constant(1));
    Array<float> values = Array<float>(list.block());
    Small() { list.initialise<float>(values, 1); }
    std::vector<NamedArray> arrays() const { return list.to_arrays<float>(values); }
};

/// The arrays as a file in the folder, open for reading.
SafetensorsFile as_file(const TemporaryFolder& folder, std::vector<NamedArray> arrays) {
    write_safetensors(folder / "m.safetensors", {std::move(arrays), {}});
    return SafetensorsFile(folder / "m.safetensors");
}

}  // namespace

TEST_SUITE_BEGIN("ch02 math");

TEST_CASE("files hold [out,in] and [out,in,K,K]; the way there and back is exact") {
    Small model;
    const auto arrays = model.arrays();
    CHECK(arrays[0].shape == std::vector<int>{3, 2});
    CHECK(arrays[0].values[2 * 2 + 1] ==
          model.values[1 * 3 + 2]);  // row = output 2, column = input 1
    CHECK(arrays[1].shape == std::vector<int>{4, 2, 3, 3});
    const auto kernel = Tensor<float>(model.values.data() + model.kernel.offset, {3, 3, 2, 4});
    CHECK(arrays[1].values[((3 * 2 + 1) * 3 + 2) * 3 + 0] == kernel(2, 0, 1, 3));
    const TemporaryFolder folder;
    CHECK(model.list.from_file<float>(as_file(folder, arrays)) == model.values);
}

TEST_CASE("joined parameters lie side by side, and apart in files") {
    ParameterList list;
    const Parameter both =
        list.add_joined({"q.weight", "k.weight"}, {1, 1, 3, 10}, Layout::linear, Init::normal(1));
    list.add_joined({"q.bias", "k.bias"}, {10}, Layout::plain, Init::normal(1));
    Array<float> values(list.block());
    list.initialise<float>(values, 1);
    const std::vector<NamedArray> arrays = list.to_arrays<float>(values);
    REQUIRE(arrays.size() == 4);
    CHECK(arrays[1].name == "k.weight");
    CHECK(arrays[1].shape == std::vector<int>{5, 3});
    CHECK(arrays[1].values[4 * 3 + 2] ==
          values[static_cast<std::size_t>(both.offset) + 2 * 10 + 9]);
    CHECK(arrays[2].shape == std::vector<int>{5});
    CHECK(list.name_at(both.offset + 2 * 10 + 4) == "q.weight");
    CHECK(list.name_at(both.offset + 2 * 10 + 5) == "k.weight");
    const TemporaryFolder folder;
    CHECK(list.from_file<float>(as_file(folder, arrays)) == values);
    CHECK_THROWS_AS(list.add("k.bias", {1}, Layout::plain, {}), Error);
    CHECK_THROWS_AS(list.add_joined({"a", "b"}, {1, 3}, Layout::linear, {}), Error);
}

TEST_CASE("every parameter starts on a cache line") {
    Small model;
    for (const Parameter& p : {model.weight, model.kernel, model.bias})
        CHECK(reinterpret_cast<std::uintptr_t>(model.values.data() + p.offset) % kAlignment == 0);
    const TemporaryFolder folder;
    const Array<double> loaded = model.list.from_file<double>(as_file(folder, model.arrays()));
    for (const Parameter& p : {model.weight, model.kernel, model.bias})
        CHECK(reinterpret_cast<std::uintptr_t>(loaded.data() + p.offset) % kAlignment == 0);
}

TEST_CASE("initial values depend on the seed alone and stay inside their bounds") {
    const Small a, b;
    CHECK(a.values == b.values);
    float largest = 0;
    for (int i = 0; i < 6; ++i)
        largest = std::max(largest, std::abs(a.values[static_cast<std::size_t>(i)]));
    CHECK(largest <= 0.5f);
    CHECK(largest > 0.1f);
    CHECK(a.values[static_cast<std::size_t>(a.bias.offset)] == 1.0f);
    CHECK(a.list.name_at(a.kernel.offset + 71) == "conv.weight");
    CHECK(a.list.name_at(a.list.block() - 1) == "fc.bias");
}

TEST_CASE("initial values: uniform and normal ones have the moments that they should") {
    constexpr int n = 200'000;
    ParameterList list;
    const Parameter uniform = list.add("a", {n}, Layout::plain, Init::uniform(0.5)),
                    normal = list.add("b", {n}, Layout::plain, Init::normal(0.02)),
                    constant = list.add("c", {3}, Layout::plain, Init::constant(-2));
    Array<double> values(list.block());
    list.initialise<double>(values, 7);
    const auto check = [&](const Parameter& p, double variance, double fourth) {
        double m1 = 0, m2 = 0, m4 = 0;
        for (int i = 0; i < n; ++i) {
            const double x = values[static_cast<std::size_t>(p.offset + i)];
            m1 += x / n;
            m2 += x * x / n;
            m4 += x * x * x * x / n;
        }
        CHECK(std::abs(m1) < 4 * std::sqrt(variance / n));
        CHECK(m2 == doctest::Approx(variance).epsilon(0.02));
        CHECK(m4 == doctest::Approx(fourth).epsilon(0.04));
    };
    check(uniform, 0.25 / 3, 0.0625 / 5);
    check(normal, 4e-4, 3 * 16e-8);
    CHECK(values[static_cast<std::size_t>(constant.offset) + 2] == -2);
}

TEST_CASE("modules that share a list are read and written one by one, and strictly or not") {
    ParameterList list;
    const Parameter first = list.add("vae.w", {2}, Layout::plain, Init::constant(1)),
                    second = list.add("unet.w", {2}, Layout::plain, Init::constant(2));
    Array<float> values(list.block());
    list.initialise<float>(values, 1);
    const auto now = [&] {
        return std::array{values[static_cast<std::size_t>(first.offset)],
                          values[static_cast<std::size_t>(second.offset)]};
    };
    const TemporaryFolder folder;
    const auto load = [&](std::vector<NamedArray> arrays, const Loading& how) {
        return error_of([&] { list.load<float>(values, as_file(folder, std::move(arrays)), how); });
    };
    const std::vector<NamedArray> vae{{"w", {2}, {5, 5}}},
        more{{"w", {2}, {6, 6}}, {"step", {1}, {9}}},
        both{{"vae.w", {2}, {7, 7}}, {"step", {1}, {9}}};
    CHECK(contains(load(vae, {}), "m.safetensors: the parameter vae.w is missing"));
    CHECK(now() == std::array{1.0f, 2.0f});
    CHECK(load(vae, {.prefix = "vae."}) == "no error");
    CHECK(now() == std::array{5.0f, 2.0f});
    CHECK(contains(load(more, {.prefix = "vae."}),
                   "m.safetensors: this model has no parameter step"));
    CHECK(now() == std::array{5.0f, 2.0f});
    CHECK(load(more, {.prefix = "vae.", .only = false}) == "no error");
    CHECK(now() == std::array{6.0f, 2.0f});
    CHECK(load(both, {.all = false, .only = false}) == "no error");
    CHECK(now() == std::array{7.0f, 2.0f});
    const std::vector<NamedArray> own = list.to_arrays<float>(values, "unet.");
    REQUIRE(own.size() == 1);
    CHECK(own[0].name == "w");
    CHECK(own[0].values == std::vector<float>{2, 2});
    CHECK(list.to_arrays<float>(values).size() == 2);
}

TEST_CASE("a missing, an unknown and a misshapen parameter are named") {
    const Small model;
    const TemporaryFolder folder;
    const auto load = [&](std::vector<NamedArray> arrays) {
        return error_of([&] { model.list.from_file<float>(as_file(folder, std::move(arrays))); });
    };
    const std::string path = (folder / "m.safetensors").string();
    auto arrays = model.arrays();
    arrays.pop_back();
    CHECK(load(arrays) == path + ": the parameter fc.bias is missing");
    arrays = model.arrays();
    arrays.push_back({"extra", {1}, {0.0f}});
    CHECK(load(arrays) == path + ": this model has no parameter extra");
    arrays = model.arrays();
    arrays[0].shape = {2, 3};
    CHECK(load(arrays) == path + ": the parameter fc.weight has shape [2,3], expected [3,2]");
}

TEST_CASE("buffers that peers save beside the weights are passed over by name") {
    const Small model;
    const TemporaryFolder folder;
    for (const auto& [name, passed] :
         {std::pair("embeddings.position_ids", true), std::pair("position_ids", true),
          std::pair("my_position_ids", false), std::pair("position_ids.weight", false)}) {
        auto arrays = model.arrays();
        arrays.push_back({name, {1, 3}, {0, 1, 2}});
        const SafetensorsFile file = as_file(folder, arrays);
        Array<float> values;
        const std::string error = error_of([&] { values = model.list.from_file<float>(file); });
        CHECK((values == model.values) == passed);
        CHECK(contains(error, passed ? "no error" : "no parameter " + std::string(name)));
    }
}

TEST_CASE("weights of any size, odd ones and ones read in many pieces, come back exactly") {
    ParameterList list;
    list.add("odd", {37, 129}, Layout::linear, Init::normal(1));
    list.add("column", {70, 1}, Layout::linear, Init::normal(1));
    list.add("row", {1, 70}, Layout::linear, Init::normal(1));
    list.add("none", {0, 4}, Layout::plain, Init::normal(1));
    list.add("large", {600, 1000}, Layout::linear, Init::normal(1));  // more numbers than a piece
    list.add("long", {20'000, 33}, Layout::linear, Init::normal(1));  // a line of rows is more
    list.add("kernel", {3, 3, 65, 70}, Layout::conv, Init::normal(1));
    list.add("kernels", {3, 3, 300, 150}, Layout::conv, Init::normal(1));
    list.add("point", {1, 1, 33, 17}, Layout::conv, Init::normal(1));
    list.add("table", {1000, 333}, Layout::plain, Init::normal(1));
    list.add("number", {}, Layout::plain, Init::normal(1));
    Array<float> values(list.block());
    list.initialise<float>(values, 1);
    const TemporaryFolder folder;
    const SafetensorsFile file = as_file(folder, list.to_arrays<float>(values));
    CHECK(list.from_file<float>(file) == values);
    const Array<double> wide = list.from_file<double>(file);
    CHECK(std::equal(wide.begin(), wide.end(), values.begin(), values.end()));
    Array<float> again(list.block());
    list.load<float>(again, file);
    CHECK(again == values);
}

TEST_CASE("weights in half precision are rounded once, and run as the rounded floats do") {
    ParameterList list;
    const Parameter w = list.add("w", {70, 33}, Layout::linear, Init::normal(1)),
                    b = list.add("b", {33}, Layout::plain, Init::normal(1));
    list.add("kernel", {3, 3, 20, 70}, Layout::conv, Init::normal(1e-3));
    Array<float> values(list.block());
    list.initialise<float>(values, 1);
    const TemporaryFolder folder;
    std::vector<NamedArray> arrays = list.to_arrays<float>(values);
    Array<Half> halves = list.from_file<Half>(as_file(folder, arrays));
    Array<float> rounded(list.block());
    for (std::size_t i = 0; i < values.size(); ++i) {
        rounded[i] = static_cast<float>(halves[i]);
        CHECK(std::abs(rounded[i] - values[i]) <= std::abs(values[i]) / 2048 + 3e-8f);
    }
    CHECK(list.to_arrays<Half>(halves)[2].values == list.to_arrays<float>(rounded)[2].values);

    Arena memory, arena;
    Tape<float> tape(arena);
    const Tensor<float> x = memory.make<float>({5, 70});
    fill_normal(x, Random(1, Purpose::test));
    const auto run = [&](auto& weights) {
        tape.reset();
        tape.bind(weights.data());
        const Var<float> y = linear(tape.constant(x), tape.parameter(w), tape.parameter(b));
        return std::vector<float>(y.value().begin(), y.value().end());
    };
    CHECK(run(halves) == run(rounded));
    CHECK(run(rounded) != run(values));

    arrays[0].values[7] = 65'520;  // the next half is infinite
    CHECK_THROWS_WITH_AS(
        list.from_file<Half>(as_file(folder, arrays)),
        ((folder / "m.safetensors").string() +
         ": tensor \"w\": holds a number that is not finite in half precision; this model is of no "
         "use")
            .c_str(),
        Error);
}

TEST_CASE("(2.4) gradients of bound parameters land in the model's gradient block") {
    ParameterList list;
    const Parameter w = list.add("w", {2, 1}, Layout::linear, Init::uniform(0.5)),
                    b = list.add("b", {1}, Layout::plain, Init::uniform(0.5));
    Array<double> values(list.block()), gradient(list.block());
    list.initialise<double>(values, 3);
    Arena arena;
    Tape<double> tape(arena);
    CHECK_THROWS_WITH_AS(tape.parameter(w), "tape: bind() the parameters first", Error);
    tape.bind(values.data(), gradient.data());
    double x[2] = {2, 5}, y[1] = {0};
    const auto loss = mse(linear(tape.constant({x, {1, 2}}), tape.parameter(w), tape.parameter(b)),
                          tape.constant({y, {1, 1}}));
    tape.backward(loss);
    const double out = 2 * values[0] + 5 * values[1] + values[static_cast<std::size_t>(b.offset)];
    CHECK(gradient[0] == doctest::Approx(2 * out * 2).epsilon(1e-14));
    CHECK(gradient[1] == doctest::Approx(2 * out * 5).epsilon(1e-14));
    CHECK(gradient[static_cast<std::size_t>(b.offset)] == doctest::Approx(2 * out).epsilon(1e-14));
    tape.reset();
    tape.bind(values.data());
    CHECK_FALSE(tape.parameter(w).needs_grad());
}

TEST_SUITE_END();
