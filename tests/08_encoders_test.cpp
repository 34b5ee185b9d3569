// CLIP's and T5's encoders, and the blocks of a UNet that read a text.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <vector>

#include "02_gradients/gradient_check.hpp"
#include "08_text_conditioning/clip.hpp"
#include "08_text_conditioning/encoder_files.hpp"
#include "08_text_conditioning/t5.hpp"
#include "08_text_conditioning/text_block.hpp"
#include "08_text_conditioning/token_ops.hpp"
#include "support/file_checks.hpp"
#include "support/temporary_folder.hpp"
#include "support/varied.hpp"
#include "tensor/array.hpp"

using namespace diffusion;

namespace {

using Vars = std::vector<Var<double>>;

/// A model's parameters, none of them 0 or 1.
struct Values {
    Array<double> values, gradient;
    explicit Values(const ParameterList& list) : values(list.block()), gradient(list.block()) {
        fill_normal(values.tensor(), Random(varied_seed(81), Purpose::test));
        for (double& v : values) v *= 0.4;
    }
    /// The largest error of the gradient of loss(tape) against central differences, of every
    /// `each`-th parameter, relative to the largest one.
    template <class Loss>
    double gradient_error(Loss loss, std::size_t each = 1) {
        OwnTape<double> own;
        const auto value = [&](double* gradients) {
            own.tape.reset();
            own.tape.bind(values.data(), gradients);
            return loss(own.tape);
        };
        own.tape.backward(value(gradient.data()));
        double worst = 0, largest = 0;
        constexpr double h = 1e-5;
        for (std::size_t i = 0; i < values.size(); i += each) {
            double& v = values.data()[i];
            const double here = v;
            v = here + h;
            const double above = value(nullptr).value()(0);
            v = here - h;
            const double below = value(nullptr).value()(0);
            v = here;
            const double difference = (above - below) / (2 * h),
                         off = std::abs(difference - gradient.data()[i]);
            if (!(off <= worst)) worst = off;  // so that a NaN counts too
            largest = std::max(largest, std::abs(difference));
        }
        return worst / largest;
    }
};

Tensor<double> normals(Arena& memory, Shape shape, std::uint32_t stream) {
    const Tensor<double> x = memory.make<double>(shape);
    fill_normal(x, Random(82, Purpose::test, stream));
    return x;
}
/// The sum of y times fixed random numbers.
Var<double> contracted(Var<double> y, Arena& memory) {
    return sum(mul(y, y.tape().constant(normals(memory, y.shape(), 99))));
}

ClipTextConfig small_text() {
    ClipTextConfig config;
    config.transformer = {.width = 8, .inner = 10, .layers = 2, .heads = 2};
    config.vocabulary = 11;
    config.length = 6;
    config.end = 10;
    return config;
}
ClipVisionConfig small_vision() {
    ClipVisionConfig config;
    config.transformer = {.width = 6, .inner = 8, .layers = 2, .heads = 3};
    config.size = 4;
    config.patch = 2;
    config.channels = 2;
    return config;
}
T5Config small_t5() {
    T5Config config;
    config.vocabulary = 9;
    config.width = 6;
    config.head_width = 4;
    config.heads = 2;
    config.inner = 8;
    config.layers = 2;
    config.buckets = 8;
    config.farthest = 6;
    return config;
}
constexpr std::array<int, 12> kIds = {3, 1, 10, 4, 7, 2, 5, 0, 6, 8, 10, 9};

std::vector<double> row_of(Tensor<double> x, int n, int i) {
    return {x[n][i].begin(), x[n][i].end()};
}

}  // namespace

TEST_SUITE_BEGIN("ch08 math");

TEST_CASE("(8.3) (8.4) a token's state depends on the tokens up to it, and on their places") {
    ParameterList list;
    const ClipTextEncoder encoder(list, "", small_text());
    Values values(list);
    OwnTape<double> own;
    own.tape.bind(values.values.data());
    std::array<int, 12> ids = kIds;
    const auto states = [&] { return encoder(own.tape, {ids.data(), {2, 6}}); };
    const EncodedText<double> before = states();
    ids[3] = 5;  // of the first text, behind its end
    const EncodedText<double> after = states();
    for (int i = 0; i < 6; ++i)
        CHECK((row_of(before.tokens.value(), 0, i) == row_of(after.tokens.value(), 0, i)) ==
              (i < 3));
    CHECK(row_of(before.tokens.value(), 1, 5) == row_of(after.tokens.value(), 1, 5));
    // The end of the first text is token 2, that of the second token 4.
    for (int c = 0; c < 8; ++c) {
        CHECK(after.pooled.value()(0, c) == before.tokens.value()(0, 2, c));
        CHECK(after.pooled.value()(1, c) == before.tokens.value()(1, 4, c));
    }
    ids = kIds;
    std::swap(ids[0], ids[1]);  // the same tokens at other places
    CHECK(row_of(states().tokens.value(), 0, 2) != row_of(before.tokens.value(), 0, 2));
    ids[2] = 0;
    CHECK_THROWS_WITH_AS(states(), "clip: text 0 has no end: the id 10 is not in it", Error);
    ids[2] = 11;
    CHECK_THROWS_WITH_AS(states(), "clip: the id 11, expected 0 to 10", Error);
}

TEST_CASE("(8.5) only the direction of a vector counts") {
    Arena memory;
    OwnTape<double> own;
    const Var<double> x = own.tape.constant(normals(memory, {3, 5}, 1));
    const Tensor<double> unit = normalise_rows(x).value(),
                         doubled = normalise_rows(scale(x, 2.0)).value();
    for (int n = 0; n < 3; ++n) {
        double square = 0;
        for (int c = 0; c < 5; ++c) {
            square += unit(n, c) * unit(n, c);
            CHECK(doubled(n, c) == doctest::Approx(unit(n, c)).epsilon(1e-15));
        }
        CHECK(square == doctest::Approx(1).epsilon(1e-14));
    }
}

TEST_CASE("(8.6) (8.7) the contrastive loss: closed forms, and rows and columns alike") {
    Arena memory;
    OwnTape<double> own;
    const int n = varied_size(5);
    const auto loss_of = [&](Tensor<double> logits) {
        return contrastive_loss(own.tape.constant(logits)).value()(0);
    };
    // Nothing is known: every pair fits equally well.
    CHECK(loss_of(memory.zeros<double>({n, n})) == doctest::Approx(std::log(n)).epsilon(1e-14));
    // Orthonormal vectors, scaled by s: log(1 + (N - 1) e^-s).
    for (const double s : {0.5, 1 / 0.07, 100.0}) {
        const Tensor<double> logits = memory.zeros<double>({n, n});
        for (int i = 0; i < n; ++i) logits(i, i) = s;
        CHECK(loss_of(logits) ==
              doctest::Approx(std::log1p((n - 1) * std::exp(-s))).epsilon(1e-12));
    }
    const Tensor<double> logits = normals(memory, {n, n}, 2);
    CHECK(contrastive_loss(transpose(own.tape.constant(logits))).value()(0) ==
          doctest::Approx(loss_of(logits)).epsilon(1e-14));
    // One row knows its column, the other way is a guess: only half of the loss is gone.
    const Tensor<double> half = memory.zeros<double>({2, 2});
    half(0, 0) = half(0, 1) = 0;
    half(1, 0) = -700;
    half(1, 1) = -700;  // columns: row 0 wins both; rows: undecided
    CHECK(loss_of(half) == doctest::Approx(0.5 * (std::log(2) + 0.5 * 700)).epsilon(1e-12));
}

TEST_CASE("(8.8) the gradient of a logit: what both sides believe, less what is true") {
    Arena memory;
    OwnTape<double> own;
    const int n = varied_size(4);
    const Tensor<double> logits = normals(memory, {n, n}, 3),
                         gradient = memory.zeros<double>({n, n});
    own.tape.backward(contrastive_loss(own.tape.leaf(logits, gradient)));
    for (int i = 0; i < n; ++i) {
        for (int j = 0; j < n; ++j) {
            double row = 0, column = 0;
            for (int k = 0; k < n; ++k) {
                row += std::exp(logits(i, k));
                column += std::exp(logits(k, j));
            }
            const double e = std::exp(logits(i, j)), truth = i == j ? 1 : 0;
            CHECK(gradient(i, j) ==
                  doctest::Approx((e / row + e / column - 2 * truth) / (2 * n)).epsilon(1e-12));
        }
    }
}

TEST_CASE("(8.9) a patch is its pixels by row, column and channel") {
    Arena memory;
    OwnTape<double> own;
    const Tensor<double> x = memory.make<double>({2, 4, 6, 3});
    std::iota(x.begin(), x.end(), 0.0);
    const Tensor<double> patches = patches_of(own.tape.constant(x), 2).value();
    REQUIRE(patches.shape() == Shape({2, 6, 12}));
    for (int n = 0; n < 2; ++n)
        for (int row = 0; row < 4; ++row)
            for (int column = 0; column < 6; ++column)
                for (int c = 0; c < 3; ++c)
                    CHECK(patches(n, row / 2 * 3 + column / 2,
                                  (row % 2 * 2 + column % 2) * 3 + c) == x(n, row, column, c));
}

TEST_CASE("(8.11) buckets of distances, as public models have them") {
    const auto bucket = [](int distance) { return t5_bucket(distance, 32, 128); };
    for (int d = 0; d < 8; ++d) {
        CHECK(bucket(-d) == d);
        if (d > 0) CHECK(bucket(d) == 16 + d);
    }
    const std::array<std::array<int, 2>, 11> known = {{{8, 8},
                                                       {11, 8},
                                                       {12, 9},
                                                       {15, 9},
                                                       {16, 10},
                                                       {32, 12},
                                                       {64, 14},
                                                       {100, 15},
                                                       {127, 15},
                                                       {128, 15},
                                                       {129, 15}}};
    for (const auto& [distance, expected] : known) {
        CHECK(bucket(-distance) == expected);
        CHECK(bucket(distance) == 16 + expected);
    }
    const std::array<std::array<int, 2>, 7> few = {
        {{1, 1}, {2, 2}, {5, 2}, {9, 3}, {19, 3}, {20, 3}, {30, 3}}};
    for (const auto& [distance, expected] : few) CHECK(t5_bucket(-distance, 8, 20) == expected);
}

TEST_CASE("(8.10) T5 knows distances, not places; what is padding changes nothing") {
    ParameterList list;
    const T5Encoder encoder(list, "", small_t5());
    Values values(list);
    OwnTape<double> own;
    own.tape.bind(values.values.data());
    const auto states = [&](std::vector<int> ids, std::vector<unsigned char> keep) {
        const int n = static_cast<int>(ids.size());
        const Tensor<int> room = own.arena.make<int>({1, n});
        std::ranges::copy(ids, room.data());
        return encoder(own.tape, room, keep).value();
    };
    const Tensor<double> alone = states({3, 1, 4}, {}),
                         padded = states({3, 1, 4, 8, 8}, {1, 1, 1, 0, 0}),
                         later = states({8, 8, 3, 1, 4}, {0, 0, 1, 1, 1}),
                         seen = states({3, 1, 4, 8, 8}, {});
    for (int i = 0; i < 3; ++i) {
        for (int c = 0; c < 6; ++c) {
            CHECK(padded(0, i, c) == doctest::Approx(alone(0, i, c)).epsilon(1e-12));
            CHECK(later(0, i + 2, c) == doctest::Approx(alone(0, i, c)).epsilon(1e-12));
        }
        CHECK(row_of(seen, 0, i) != row_of(padded, 0, i));
    }
    CHECK_THROWS_WITH_AS(states({9}, {}), "t5: the id 9, expected 0 to 8", Error);
}

TEST_CASE("T5's table of tokens may be in a file under either of its names, or both") {
    ParameterList list;
    const T5Encoder encoder(list, "", small_t5());
    Array<float> values(list.block());
    list.initialise<float>(values, 1);
    const TemporaryFolder folder;
    for (const bool first : {true, false}) {
        for (const bool second : {true, false}) {
            std::vector<NamedArray> arrays;
            for (const NamedArray& array : list.to_arrays<float>(values)) {
                const bool table = array.name == "shared.weight";
                if (!table || first) arrays.push_back(array);
                if (table && second)
                    arrays.push_back({"encoder.embed_tokens.weight", array.shape, array.values});
            }
            write_safetensors(folder / "model.safetensors", {arrays, {}});
            Array<float> loaded;
            const std::string error = error_of([&] { loaded = load_t5(list, folder.path()); });
            if (first || second) CHECK(loaded == values);
            CHECK(contains(error, first || second ? "no error" : "shared.weight is missing"));
        }
    }
}

TEST_CASE("(8.12) a masked token changes nothing, and the order of tokens does not count") {
    UNetConfig config;
    config.groups = 2;
    config.cross_width = 5;
    config.depth = 2;
    ParameterList list;
    const TextBlock block(list, "", 4, 2, config);
    Values values(list);
    Arena memory;
    OwnTape<double> own;
    own.tape.bind(values.values.data());
    const Tensor<double> x = normals(memory, {1, 2, 3, 4}, 4), text = normals(memory, {1, 3, 5}, 5);
    const auto run = [&](Tensor<double> tokens, std::vector<unsigned char> keep) {
        Condition<double> condition;
        condition.tokens = own.tape.constant(tokens);
        condition.keep = keep;
        const Tensor<double> y = block(own.tape.constant(x), condition).value();
        return std::vector<double>(y.begin(), y.end());
    };
    const auto same = [](const std::vector<double>& a, const std::vector<double>& b) {
        double off = 0;
        for (std::size_t i = 0; i < a.size(); ++i) off = std::max(off, std::abs(a[i] - b[i]));
        return off < 1e-12;
    };
    const auto whole = run(text, {});
    const Tensor<double> longer = memory.make<double>({1, 5, 5}),
                         turned = memory.make<double>({1, 3, 5});
    fill_normal(longer, Random(9, Purpose::test));
    std::ranges::copy(text, longer.data());
    for (int i = 0; i < 3; ++i) std::ranges::copy(text[0][i], turned[0][2 - i].data());
    CHECK(same(run(longer, {1, 1, 1, 0, 0}), whole));
    CHECK_FALSE(same(run(longer, {}), whole));
    CHECK(same(run(turned, {}), whole));
    CHECK_THROWS_WITH_AS(block(own.tape.constant(x), {}), "unet: the text that it reads is missing",
                         Error);
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("ch08 grad");

TEST_CASE("rows of tokens that are put together: VJPs equal central differences") {
    CHECK(gradient_error({{2, 3}, {4, 3}},
                         [](auto&, const Vars& v) { return concat_rows(v[0], v[1]); }) < 1e-8);
    CHECK(gradient_error({{2, 3, 4}, {3, 4}},
                         [](auto&, const Vars& v) { return add_to_each(v[0], v[1]); }) < 1e-8);
    CHECK(gradient_error({{3, 4}}, [](auto&, const Vars& v) { return normalise_rows(v[0]); }) <
          1e-8);
}

TEST_CASE("CLIP's gradients equal central differences, from the loss to both encoders") {
    Arena memory;
    const Tensor<double> pictures = normals(memory, {2, 4, 4, 2}, 6);
    for (const Gelu kind : {Gelu::quick, Gelu::erf}) {
        ClipTextConfig text = small_text();
        ClipVisionConfig vision = small_vision();
        text.transformer.gelu = vision.transformer.gelu = kind;
        ParameterList list;
        const Clip clip(list, "", text, vision, 5);
        Values values(list);
        CHECK(values.gradient_error(
                  [&](Tape<double>& tape) {
                      return contrastive_loss(
                          clip.similarity(clip.embed_texts(tape, {kIds.data(), {2, 6}}),
                                          clip.embed_pictures(tape.constant(pictures))));
                  },
                  3) < 1e-7);
    }
}

TEST_CASE("T5's gradients equal central differences, gated and not") {
    Arena memory;
    for (const bool gated : {true, false}) {
        T5Config config = small_t5();
        config.gated = gated;
        ParameterList list;
        const T5Encoder encoder(list, "", config);
        Values values(list);
        constexpr std::array<int, 8> ids = {3, 1, 4, 8, 7, 2, 5, 0};
        const std::vector<unsigned char> keep = {1, 1, 1, 0, 1, 1, 1, 1};
        CHECK(values.gradient_error([&](Tape<double>& tape) {
            return contracted(encoder(tape, {ids.data(), {2, 4}}, keep), memory);
        }) < 1e-7);
    }
}

TEST_CASE("(8.12) (8.13) gradients of a block that reads a text, its text's included") {
    UNetConfig config;
    config.groups = 2;
    config.cross_width = 5;
    for (const bool linear : {false, true}) {
        config.linear_projection = linear;
        ParameterList list;
        const TextBlock block(list, "", 4, 2, config);
        Values values(list);
        const std::vector<unsigned char> keep = {1, 1, 1, 1, 1, 0};
        Arena memory;
        const Tensor<double> x = normals(memory, {2, 2, 3, 4}, 7),
                             text = normals(memory, {2, 3, 5}, 8);
        CHECK(values.gradient_error([&](Tape<double>& tape) {
            Condition<double> condition;
            condition.tokens = tape.constant(text);
            condition.keep = keep;
            return contracted(block(tape.constant(x), condition), memory);
        }) < 1e-7);
        CHECK(gradient_error({{2, 2, 3, 4}, {2, 3, 5}}, [&](Tape<double>& tape, const Vars& v) {
                  tape.bind(values.values.data());
                  Condition<double> condition;
                  condition.tokens = v[1];
                  condition.keep = keep;
                  return block(v[0], condition);
              }) < 1e-7);
    }
}

TEST_SUITE_END();
