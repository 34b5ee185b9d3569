// Scenes: that they show what they say, and that anybody who asks gets the same.
#include "data/scenes.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <utility>

#include "data/strokes.hpp"
#include "support/file_checks.hpp"
#include "tensor/array.hpp"

using namespace diffusion;

namespace {

const Scenes& scenes() {
    static const Scenes made(digit_sprites(stroke_digits(1000, 1)), 1);
    return made;
}

/// How much of a thing's colour each pixel of its quarter has, [32,32].
Array<float> ink_of(const Scene& scene, std::size_t i, Tensor<const float> canvas) {
    const auto place = static_cast<int>(scene.things[i].place);
    const auto &rgb = scene.details[i].rgb, &ground = scene.ground_rgb;
    Array<float> ink(Shape{kCanvas / 2, kCanvas / 2});
    for (int y = 0; y < kCanvas / 2; ++y) {
        for (int x = 0; x < kCanvas / 2; ++x) {
            float along = 0, length = 0;
            for (int c = 0; c < 3; ++c) {
                const auto k = static_cast<std::size_t>(c);
                const float way = rgb[k] - ground[k];
                along += way * (canvas(y + place / 2 * 32, x + place % 2 * 32, c) - ground[k]);
                length += way * way;
            }
            ink.tensor()(y, x) = std::clamp(along / length, 0.0f, 1.0f);
        }
    }
    return ink;
}

}  // namespace

TEST_SUITE_BEGIN("src math");

TEST_CASE("slant and thickness of bars are what they were drawn with") {
    for (const double slant : {-0.5, 0.0, 0.25}) {
        Array<float> bar(Shape{40, 60});
        for (int y = 0; y < 40; ++y) {
            for (int x = 0; x < 60; ++x) {  // 4 wide, each pixel by its part
                const double off = std::abs(x - 29.5 + slant * (y - 19.5));
                bar.tensor()(y, x) = static_cast<float>(std::clamp(2.5 - off, 0.0, 1.0));
            }
        }
        CHECK(slant_of(bar.tensor()) == doctest::Approx(slant).epsilon(1e-3));
        // Twice 160 of area by 88 of outline and 40 of height; the slanted sides are longer.
        const double outline = 8 + 80 * std::hypot(1, slant);
        CHECK(thickness_of(bar.tensor()) == doctest::Approx(320 / outline / 40).epsilon(0.06));
    }
    const Array<float> nothing(Shape{3, 3});
    CHECK(slant_of(nothing.tensor()) == 0);
    CHECK(thickness_of(nothing.tensor()) == 0);
}

TEST_CASE("a picture without ink is no sprite") {
    Dataset digits = stroke_digits(20, 1);
    std::fill_n(digits.pixels.begin(), digits.image_size(), std::uint8_t{0});
    CHECK(digit_sprites(digits).sprites.size() == 19);
}

TEST_CASE("what a scene tells can be measured on its canvas: places, colours, sizes, slants") {
    Array<float> canvas(Shape{kCanvas, kCanvas, 3});
    int leaning = 0;
    for (int i = 0; i < 200; ++i) {
        CAPTURE(i);
        const Scene scene = scenes().at(i);
        scenes().paint(scene, canvas.tensor());
        REQUIRE(!scene.things.empty());
        std::array<bool, 4> taken{};
        for (std::size_t k = 0; k < scene.things.size(); ++k) {
            const Thing& thing = scene.things[k];
            const Scene::Detail& detail = scene.details[k];
            CHECK(!std::exchange(taken[static_cast<std::size_t>(thing.place)], true));
            CHECK(differ(thing.colour, scene.ground));
            const Array<float> ink = ink_of(scene, k, canvas.tensor());
            int top = 32, bottom = 0;
            for (int y = 0; y < 32; ++y)
                for (int x = 0; x < 32; ++x)
                    if (ink.tensor()(y, x) > 0.3f) top = std::min(top, y), bottom = y;
            const int height = bottom - top + 1;
            CHECK((thing.size == Size::large ? height >= 20 : height <= 19));
            const Sprite& sprite =
                scenes().sprites().sprites[static_cast<std::size_t>(detail.sprite)];
            CHECK(sprite.thing == thing.thing);
            const Tensor<const float> cover(sprite.cover.data(), {sprite.height, sprite.width});
            const double of_figure = slant_of(cover) - sprite.slant;
            const double slant = slant_of(ink.tensor()) - of_figure;
            CHECK(std::abs(slant - detail.slant) < 0.07);
            leaning += thing.lean != Lean::none;
            CHECK((thing.lean == Lean::left    ? slant < -0.2
                   : thing.lean == Lean::right ? slant > 0.2
                                               : std::abs(slant) < 0.16));
        }
        for (int place = 0; place < 4; ++place) {  // where nothing is told there is the ground
            if (taken[static_cast<std::size_t>(place)]) continue;
            for (int y = 0; y < 32; ++y)
                for (int x = 0; x < 32; ++x)
                    for (int c = 0; c < 3; ++c)
                        REQUIRE(canvas.tensor()(y + place / 2 * 32, x + place % 2 * 32, c) ==
                                scene.ground_rgb[static_cast<std::size_t>(c)]);
        }
    }
    CHECK(leaning > 100);
}

TEST_CASE("thin digits are thinner than thick ones of their kind") {
    std::array<double, 10> thickest_thin{}, thinnest_thick{};
    thinnest_thick.fill(1);
    for (int i = 0; i < 1000; ++i) {
        const Scene scene = scenes().at(i);
        for (std::size_t k = 0; k < scene.things.size(); ++k) {
            const auto kind = static_cast<std::size_t>(scene.things[k].thing);
            const double thickness = scenes()
                                         .sprites()
                                         .sprites[static_cast<std::size_t>(scene.details[k].sprite)]
                                         .thickness;
            if (scene.things[k].weight == Weight::thin)
                thickest_thin[kind] = std::max(thickest_thin[kind], thickness);
            if (scene.things[k].weight == Weight::thick)
                thinnest_thick[kind] = std::min(thinnest_thick[kind], thickness);
        }
    }
    for (std::size_t kind = 0; kind < 10; ++kind) CHECK(thickest_thin[kind] < thinnest_thick[kind]);
}

TEST_CASE(
    "pairs that are held out are never trained on, all others are, and tests have only them") {
    const Scenes other(digit_sprites(stroke_digits(1000, 1)), 1, Canvases::held_out);
    std::set<std::pair<int, int>> met;
    for (int i = 0; i < 4000; ++i) {
        for (const Thing& thing : scenes().at(i).things) {
            CHECK(!held_out(thing.thing, thing.colour));
            met.insert({thing.thing, thing.colour});
        }
        if (i % 20 != 0) continue;
        const Scene test = other.at(i);
        CHECK(std::ranges::any_of(test.things,
                                  [](const Thing& t) { return held_out(t.thing, t.colour); }));
    }
    int trained = 0;
    for (int thing = 0; thing < 10; ++thing)
        for (int colour = 0; colour < 8; ++colour) trained += !held_out(thing, colour);
    CHECK(trained == 70);
    CHECK(std::ssize(met) == trained);
}

TEST_CASE("a caption says every attribute, and the same canvas always has the same one") {
    const auto says = [](const std::string& text, std::initializer_list<const char*> words) {
        return std::ranges::any_of(words, [&](const char* word) { return contains(text, word); });
    };
    std::set<std::string> all;
    Array<float> canvas(Shape{kCanvas, kCanvas, 3}), again(canvas.shape());
    for (int i = 0; i < 300; ++i) {
        const Scene scene = scenes().at(i);
        const std::string text = scenes().caption(scene, i);
        CAPTURE(text);
        all.insert(text);
        CHECK(contains(text, kColours[static_cast<std::size_t>(scene.ground)].name));
        for (const Thing& thing : scene.things) {
            CHECK(contains(
                text, std::string(kColours[static_cast<std::size_t>(thing.colour)].name) + " " +
                          scenes().sprites().things[static_cast<std::size_t>(thing.thing)]));
            const auto place = static_cast<int>(thing.place);
            // Of two, one may be told by the other: "to the right of".
            const bool alone = scene.things.size() != 2;
            CHECK((contains(text, place / 2 == 0 ? "top" : "bottom") ||
                   (!alone && says(text, {"above", "over", "below", "under"}))));
            CHECK((contains(text, place % 2 == 0 ? "left" : "right") ||
                   (!alone && says(text, {"left of", "right of"}))));
            if (thing.size == Size::large) CHECK(says(text, {"large", "big"}));
            if (thing.size == Size::small) CHECK(says(text, {"small", "little"}));
            if (thing.weight == Weight::thin) CHECK(says(text, {"thin"}));
            if (thing.weight == Weight::thick) CHECK(says(text, {"thick", "bold"}));
            if (thing.lean != Lean::none) CHECK(says(text, {"leaning", "slanted", "leans"}));
        }
        CHECK(scenes().caption(scenes().at(i), i) == text);
        scenes().paint(scene, canvas.tensor());
        scenes().paint(scenes().at(i), again.tensor());
        CHECK(std::equal(canvas.begin(), canvas.end(), again.begin()));
    }
    CHECK(all.size() > 290);
    CHECK(scenes().caption(scenes().at(std::int64_t{1} << 40), std::int64_t{1} << 40) !=
          scenes().caption(scenes().at(0), 0));
}

TEST_CASE("sprites that cannot be used are refused") {
    Dataset data = stroke_digits(20, 1);
    CHECK(contains(error_of([&] { Scenes(digit_sprites(data), 1); }),
                   "2 pictures of zero, expected at least 4"));
    data.labels[3] = 10;
    CHECK(contains(error_of([&] { digit_sprites(data); }), "picture 3 has the label 10"));
    data.labels.clear();
    CHECK(contains(error_of([&] { digit_sprites(data); }), "not grey pictures with labels"));
}

TEST_SUITE_END();
