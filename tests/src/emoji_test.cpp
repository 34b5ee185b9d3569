// Emoji: how pictures with transparency come to lie on a canvas.
#include "data/emoji.hpp"

#include <doctest/doctest.h>
#include <stb/stb_image_write.h>

#include <cmath>
#include <set>

#include "data/scenes.hpp"
#include "io/image.hpp"
#include "support/file_checks.hpp"
#include "support/temporary_folder.hpp"
#include "tensor/array.hpp"

using namespace diffusion;
namespace fs = std::filesystem;

namespace {

struct Pixel {
    std::uint8_t r, g, b, a;
};

void write_cutout(const fs::path& path, int height, int width, const std::vector<Pixel>& pixels) {
    std::string file;
    stbi_write_png_to_func(
        [](void* to, void* data, int size) {
            static_cast<std::string*>(to)->append(static_cast<const char*>(data),
                                                  static_cast<std::size_t>(size));
        },
        &file, width, height, 4, pixels.data(), 0);
    put_text(path, file);
}

/// 32 squares of 80 x 80 pixels in pictures of 128 x 136, the upper half in colour and opaque, the
/// lower one half transparent; what is transparent all the way is white.
const TemporaryFolder& squares() {
    static const TemporaryFolder folder;
    static const bool written = [] {
        std::string table = "file,caption\n";
        for (int i = 0; i < 32; ++i) {
            std::vector<Pixel> pixels(128 * 136, {255, 255, 255, 0});
            for (int y = 20; y < 100; ++y)
                for (int x = 30; x < 110; ++x)
                    pixels[static_cast<std::size_t>(136 * y + x)] = {
                        static_cast<std::uint8_t>(8 * i), 0, 200,
                        static_cast<std::uint8_t>(y < 60 ? 255 : 102)};
            const std::string name = std::to_string(i);
            write_cutout(folder / (name + ".png"), 128, 136, pixels);
            table += name + ".png,square " + name + "\n";
        }
        put_text(folder / "captions.csv", table);
        return true;
    }();
    CHECK(written);
    return folder;
}

const SpriteSet& sprites() {
    static const SpriteSet set = emoji_sprites(squares().path());
    return set;
}

}  // namespace

TEST_SUITE_BEGIN("src math");

TEST_CASE("an emoji is cropped and reduced, and its colours count as far as they cover") {
    REQUIRE(sprites().sprites.size() == 32);
    CHECK(sprites().coloured);
    CHECK(sprites().things[1] == "square 1");
    const auto thing = std::ranges::find(sprites().things, "square 25") - sprites().things.begin();
    const Sprite& sprite = sprites().sprites[static_cast<std::size_t>(thing)];
    CHECK(sprite.height == kEmojiHeight);
    REQUIRE(sprite.width == kEmojiHeight);
    const auto at = [&](int y, int x) { return static_cast<std::size_t>(sprite.width * y + x); };
    CHECK(static_cast<double>(sprite.cover[at(3, 3)]) == doctest::Approx(1));
    CHECK(static_cast<double>(sprite.cover[at(28, 31)]) == doctest::Approx(0.4));
    for (const int y : {3, 28}) {
        const auto cover = static_cast<double>(sprite.cover[at(y, 5)]);
        const double colours[] = {200 / 127.5 - 1, -1, 200 / 127.5 - 1};
        for (std::size_t c = 0; c < 3; ++c)
            CHECK(static_cast<double>(sprite.rgb[3 * at(y, 5) + c]) ==
                  doctest::Approx(cover * colours[c]));
    }
}

TEST_CASE("where an emoji covers all the canvas has its colour, and elsewhere the ground's") {
    const Scenes scenes(sprites(), 1);
    Array<float> canvas({kCanvas, kCanvas, 3});
    for (int i = 0; i < 50; ++i) {
        const Scene scene = scenes.at(i);
        scenes.paint(scene, canvas.tensor());
        const Scene::Detail& first = scene.details.front();
        const Sprite& sprite = sprites().sprites[static_cast<std::size_t>(first.sprite)];
        const int x = static_cast<int>(first.x);
        for (const double part : {1.0, 0.4}) {
            const double y = first.y + (part == 1 ? -1 : 1) * first.height / 4;
            for (int c = 0; c < 3; ++c) {
                const auto ground =
                    static_cast<double>(scene.ground_rgb[static_cast<std::size_t>(c)]);
                const auto own = static_cast<double>(
                    sprite.rgb[static_cast<std::size_t>(3 * (8 * sprite.width + 16) + c)]);
                CHECK(static_cast<double>(canvas.tensor()(static_cast<int>(y), x, c)) ==
                      doctest::Approx(ground + part * (own - ground)).epsilon(1e-4));
            }
        }
        const int far = scene.things.front().place == Place::top_left ? 63 : 0;
        if (scene.things.size() == 1) {
            CHECK(canvas.tensor()(far, far, 0) == scene.ground_rgb[0]);
        }
        const std::string caption = scenes.caption(scene, i);
        CHECK(contains(caption,
                       sprites().things[static_cast<std::size_t>(scene.things.front().thing)]));
    }
}

TEST_CASE("some emoji, and some pairs of emoji and ground, are never trained on") {
    const Scenes trained(sprites(), 1), tests(sprites(), 1, Canvases::held_out),
        unseen(sprites(), 1, Canvases::unseen);
    std::set<int> met;
    for (int i = 0; i < 2000; ++i) {
        const Scene scene = trained.at(i), test = tests.at(i);
        for (const Thing& thing : scene.things) {
            CHECK(!is_unseen_emoji(thing.thing));
            CHECK(!held_out(thing.thing, scene.ground));
            met.insert(thing.thing);
        }
        CHECK(std::ranges::any_of(
            test.things, [&](const Thing& thing) { return held_out(thing.thing, test.ground); }));
        for (const Thing& thing : unseen.at(i).things) CHECK(is_unseen_emoji(thing.thing));
    }
    CHECK(met.size() == 30);
}

TEST_CASE("names of several things have no article, and names with a size no second one") {
    SpriteSet set = sprites();
    set.things.assign(set.things.size(), "glasses");
    set.things[0] = "large blue diamond";
    set.things[1] = "nest with eggs";
    set.things[2] = "people hugging";
    const Scenes scenes(set, 1);
    for (int i = 0; i < 200; ++i) {
        const Scene scene = scenes.at(i);
        const std::string caption = scenes.caption(scene, i);
        CAPTURE(caption);
        for (const char* wrong : {"a small glasses", "a little glasses", "a large glasses",
                                  "a big glasses", "large large", "big large", "small large",
                                  "little large", "a small people", "a large people"})
            CHECK(!contains(caption, wrong));
        if (scene.things.size() == 1 && scene.things[0].thing == 0)
            CHECK(contains(caption, "a large blue diamond"));
        if (scene.things.size() == 1 && scene.things[0].thing == 1) {
            const bool has_article =
                contains(caption, "a small nest") || contains(caption, "a little nest") ||
                contains(caption, "a large nest") || contains(caption, "a big nest");
            CHECK(has_article);
        }
    }
}

TEST_CASE("folders that hold no emoji are refused, and what was looked for is said") {
    const TemporaryFolder folder;
    CHECK(find_emoji(squares().path().string()) == squares().path());
    CHECK(error_of([&] { find_emoji(folder.path().string()); }) ==
          "no emoji in " + folder.path().string() +
              ": run data/emoji.sh, which unpacks them into data/emoji");
    write_cutout(folder / "a.png", 1, 1, {{1, 2, 3, 0}});
    CHECK(contains(error_of([&] { emoji_sprites(folder.path()); }), "have no captions"));
    put_text(folder / "a.txt", "nothing");
    CHECK(error_of([&] { emoji_sprites(folder.path()); }) ==
          (folder / "a.png").string() + ": is transparent everywhere");
    write_cutout(folder / "a.png", 1, 1, {{1, 2, 3, 9}});
    CHECK(contains(error_of([&] { Scenes(emoji_sprites(folder.path()), 1); }),
                   "1 emoji of " + folder.path().string() + ", expected at least 16"));
}

TEST_CASE("a cut-out keeps its transparency, and a picture without has none") {
    const TemporaryFolder folder;
    write_cutout(folder / "a.png", 1, 2, {{1, 2, 3, 4}, {5, 6, 7, 255}});
    const Image image = read_cutout(folder / "a.png");
    CHECK(image.channels == 4);
    CHECK(image.pixels == std::vector<std::uint8_t>{1, 2, 3, 4, 5, 6, 7, 255});
    write_png(folder / "grey.png", {1, 1, 1, {9}});
    CHECK(read_cutout(folder / "grey.png").pixels == std::vector<std::uint8_t>{9, 9, 9, 255});
}
