// Chapter 7: the judges of canvases, taught for a short time.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "07_latent_vae/coding.hpp"
#include "07_latent_vae/pictures.hpp"
#include "07_latent_vae/scene_judge.hpp"
#include "07_latent_vae/take_apart.hpp"
#include "07_latent_vae/word_reader.hpp"
#include "data/emoji.hpp"
#include "data/painted.hpp"
#include "data/strokes.hpp"
#include "support/file_checks.hpp"
#include "support/temporary_folder.hpp"

using namespace diffusion;

TEST_SUITE_BEGIN("ch07 math");

TEST_CASE("a canvas is taken apart into its ground, its ink and how much each pixel has") {
    Array<float> picture(Shape{20, 10, 3});
    const std::array<float, 3> ground{0.8f, -0.4f, 0.0f}, ink{-0.6f, 0.2f, 0.9f};
    for (int y = 0; y < 20; ++y)
        for (int x = 0; x < 10; ++x)
            for (std::size_t c = 0; c < 3; ++c) {
                const float cover = x == 4 ? 1.0f : x == 5 ? 0.25f : 0.0f;
                picture.tensor()(y, x, static_cast<int>(c)) =
                    ground[c] + cover * (ink[c] - ground[c]);
            }
    const Inked inked = take_apart(picture.tensor());
    CHECK(!inked.empty);
    for (std::size_t c = 0; c < 3; ++c) {
        CHECK(inked.ground[c] == doctest::Approx(static_cast<double>(ground[c])));
        CHECK(inked.rgb[c] == doctest::Approx(static_cast<double>(ink[c])));
    }
    CHECK(inked.cover.tensor()(7, 4) == doctest::Approx(1));
    CHECK(inked.cover.tensor()(7, 5) == doctest::Approx(0.25));
    CHECK(inked.cover.tensor()(7, 6) == doctest::Approx(0));
    Array<float> flat(Shape{20, 10, 3});
    std::ranges::fill(flat, 0.3f);
    CHECK(take_apart(flat.tensor()).empty);
    for (int i = 0; i < 8; ++i)
        CHECK(nearest_colour(kColours[static_cast<std::size_t>(i)].rgb) == i);
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("ch07 judge");

TEST_CASE("the judge of scenes reads what was painted, by other hands than it learned from") {
    const Scenes scenes(digit_sprites(stroke_digits(3000, 1)), 1),
        others(digit_sprites(stroke_digits(1000, 2)), 2);
    SceneJudge judge = SceneJudge::train(scenes, 24'000, 1);
    auto [painted, canvases] = paint_canvases(others, 0, 400);
    const SceneAgreement right = agreement(painted, judge.read(canvases.tensor()));
    CHECK(right.place > 0.99);
    CHECK(right.thing > 0.97);
    CHECK(right.colour > 0.97);
    CHECK(right.size > 0.97);
    CHECK(right.lean > 0.97);
    CHECK(right.weight > 0.97);
    CHECK(right.ground > 0.99);

    const TemporaryFolder folder;
    judge.save(folder / "judge.safetensors");
    SceneJudge again = SceneJudge::load(folder / "judge.safetensors");
    const SceneAgreement same = agreement(painted, again.read(canvases.tensor()));
    CHECK(same.all == right.all);
    CHECK((again.features(canvases.tensor()) == judge.features(canvases.tensor())));

    // What a distance looks at has colours: with red and blue exchanged they are exchanged there.
    Array<float> exchanged = canvases;
    for (std::size_t i = 0; i < exchanged.size(); i += 3)
        std::swap(exchanged.data()[i], exchanged.data()[i + 2]);
    const Array<float> seen = judge.features(canvases.tensor()),
                       other = judge.features(exchanged.tensor());
    constexpr int kOfQuarter = Classifier::kFeatures + 3, kGround = SceneJudge::kFeatures - 3;
    for (int n = 0; n < 400; ++n)
        for (const int first : {kGround, kOfQuarter - 3, 4 * kOfQuarter - 3})
            for (int c = 0; c < 3; ++c)
                CHECK(std::abs(seen.tensor()(n, first + c) - other.tensor()(n, first + 2 - c)) <
                      1e-5f);

    std::rotate(painted.begin(), painted.begin() + 1, painted.end());  // another canvas's truth
    const SceneAgreement wrong = agreement(painted, again.read(canvases.tensor()));
    CHECK(wrong.thing < 0.3);
    CHECK(wrong.ground < 0.4);
    CHECK(wrong.all < 0.05);
}

TEST_CASE("the reader of words spells what was painted, also words that it never met") {
    const Words words(Spacing::grid, 1), others(Spacing::grid, 2, Spelling::held_out);
    WordReader reader = WordReader::train(words, 24'000, 1);
    auto [painted, canvases] = paint_canvases(others, 0, 400);
    const WordAgreement right = agreement(painted, reader.read(canvases.tensor()));
    CHECK(right.letters > 0.99);
    CHECK(right.words > 0.97);
    CHECK(right.colour > 0.97);
    CHECK(right.ground > 0.97);
    const TemporaryFolder folder;
    reader.save(folder / "reader.safetensors");
    WordReader again = WordReader::load(folder / "reader.safetensors");
    CHECK(agreement(painted, again.read(canvases.tensor())).words == right.words);
}

TEST_CASE("(7.17) the autoencoders that come with the project give pictures back") {
    const std::filesystem::path models =
        std::filesystem::path(DIFFUSION_SOURCE_DIR) / "data" / "models";
    const Array<float> words = find_pictures("words", "", 16, 1).held_out(0, 100);
    const Coder of_words = load_coder(models / "vae_words"),
                of_emoji = load_coder(models / "vae_emoji"),
                of_scenes = load_coder(models / "vae_scenes");
    const auto psnr = [](const Coder& coder, Tensor<const float> x) {
        return mean_psnr(x, coder.decode(coder.encode(x).tensor()).tensor());
    };
    CHECK(of_words.data == "words");
    CHECK(of_words.latent_channels == 16);
    CHECK(psnr(of_words, words.tensor()) > 34.5);
    CHECK(of_emoji.data == "emoji");
    CHECK(of_emoji.latent_channels == 16);
    CHECK(psnr(of_emoji, words.tensor()) > 20);  // has never seen a letter
    const bool has_emoji = [] {
        try {
            return !find_emoji("").empty();
        } catch (const Error&) {
            return false;
        }
    }();
    if (has_emoji) {
        const Array<float> emoji = find_pictures("emoji", "", 16, 1).held_out(0, 100);
        CHECK(psnr(of_emoji, emoji.tensor()) > 31);
    }
    // Of the digits that it learned, or of built-in ones, which it has never seen.
    CHECK(of_scenes.data == "scenes");
    CHECK(of_scenes.latent_channels == 4);
    const Array<float> scenes = find_pictures("scenes", "", 16, 1).held_out(0, 100);
    CHECK(psnr(of_scenes, scenes.tensor()) > 30);
}

TEST_SUITE_END();
