// Words: that they show what they say, and that anybody who asks gets the same.
#include "data/words.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <set>

#include "support/file_checks.hpp"
#include "tensor/array.hpp"

using namespace diffusion;

namespace {

/// How much ink each pixel of a canvas has, [64,64].
Array<float> ink_of(const Word& word, Tensor<const float> canvas) {
    Array<float> ink(Shape{kCanvas, kCanvas});
    for (int p = 0; p < kCanvas * kCanvas; ++p) {
        float along = 0, length = 0;
        for (std::size_t c = 0; c < 3; ++c) {
            const float way = word.rgb[c] - word.ground_rgb[c];
            along += way * (canvas.data()[3 * p + static_cast<int>(c)] - word.ground_rgb[c]);
            length += way * way;
        }
        ink.data()[p] = along / length;
    }
    return ink;
}

Array<float> painted(const Words& words, const Word& word) {
    Array<float> canvas(Shape{kCanvas, kCanvas, 3});
    words.paint(word, canvas.tensor());
    return canvas;
}

}  // namespace

TEST_SUITE_BEGIN("src math");

TEST_CASE("a word's letters stand where they should, in its colours, and all of them inside") {
    for (const Spacing spacing : {Spacing::grid, Spacing::free}) {
        const Words words(spacing, 1);
        std::size_t longest = 0;
        for (int i = 0; i < 300; ++i) {
            const Word word = words.at(i);
            longest = std::max(longest, word.text.size());
            CAPTURE(word.text);
            CHECK(differ(word.colour, word.ground));
            const Array<float> ink = ink_of(word, painted(words, word).tensor());
            double inside = 0, all = 0;
            for (int y = 0; y < kCanvas; ++y) {
                for (int x = 0; x < kCanvas; ++x) {
                    const double v = static_cast<double>(ink.tensor()(y, x));
                    CHECK((v > -1e-4 && v < 1.0001));
                    all += v;
                    const bool of_a_letter = std::ranges::any_of(word.middles, [&](auto& middle) {
                        return std::abs(x + 0.5 - middle.x) < 0.66 * word.height &&
                               std::abs(y + 0.5 - middle.y) < 0.75 * word.height;
                    });
                    inside += of_a_letter ? v : 0;
                }
            }
            CHECK(all > 8);
            CHECK(inside == doctest::Approx(all).epsilon(1e-4));
            for (std::size_t k = 0; k < word.text.size(); ++k) {  // nothing of it is cut off
                Word here = word, centred = word;
                here.text = centred.text = word.text[k];
                here.middles = {word.middles[k]};
                centred.middles = {{32, 32}};
                const auto total = [&](const Word& letter) {
                    const Array<float> one = ink_of(letter, painted(words, letter).tensor());
                    return std::accumulate(one.begin(), one.end(), 0.0);
                };
                CHECK(total(here) > 0.93 * total(centred));  // pixels make a few percent
            }
            if (spacing == Spacing::grid) {
                for (std::size_t k = 0; k < word.middles.size(); ++k)
                    CHECK(std::abs(word.middles[k].x - (8 + 16 * static_cast<double>(k))) <= 1);
            }
        }
        CHECK(longest ==
              static_cast<std::size_t>(spacing == Spacing::grid ? kGridLetters : kMostLetters));
    }
}

TEST_CASE("no two letters look alike") {
    const Words words(Spacing::grid, 1);
    std::vector<Array<float>> all;
    Word word = words.at(0);
    word.middles = {{32, 32}};
    word.height = 40;
    word.radius = 2;
    word.slant = 0;
    for (const char letter : kAlphabet) {
        word.text = letter;
        all.push_back(ink_of(word, painted(words, word).tensor()));
    }
    for (std::size_t a = 0; a < all.size(); ++a) {
        for (std::size_t b = 0; b < a; ++b) {
            double apart = 0, ink = 0;
            for (std::size_t p = 0; p < all[a].size(); ++p) {
                apart += std::abs(static_cast<double>(all[a].data()[p] - all[b].data()[p]));
                ink += static_cast<double>(all[a].data()[p] + all[b].data()[p]);
            }
            CAPTURE(kAlphabet[a]);
            CAPTURE(kAlphabet[b]);
            CHECK(apart > 0.12 * ink);
        }
    }
    word.text = "a";
    CHECK_THROWS_WITH_AS(painted(words, word), "words: no letter of the alphabet: 'a'", Error);
}

TEST_CASE("one word in eight is held out, and no letter at any place is missing from the others") {
    const Words words(Spacing::grid, 3), others(Spacing::grid, 3, Spelling::held_out);
    std::set<std::pair<std::size_t, char>> met;
    for (int i = 0; i < 6000; ++i) {
        const std::string text = words.at(i).text;
        CHECK(!held_out(text));
        for (std::size_t k = 0; k < text.size(); ++k) met.insert({k, text[k]});
        if (i < 500) CHECK(held_out(others.at(i).text));
    }
    CHECK(met.size() == kGridLetters * kAlphabet.size());
    int held = 0;
    for (const char a : kAlphabet)
        for (const char b : kAlphabet) held += held_out(std::string{a, b});
    CHECK(std::abs(held - 36 * 36 / 8) < 20);
}

TEST_CASE("a canvas depends on its number and the seed alone; its caption spells the word") {
    const Words words(Spacing::free, 5), again(Spacing::free, 5), other(Spacing::free, 6);
    int same = 0;
    std::set<std::string> forms;
    for (int i = 0; i < 200; ++i) {
        const Word word = words.at(i);
        CHECK((painted(words, word) == painted(again, again.at(i))));
        same += word.text == other.at(i).text;
        const std::string caption = words.caption(word, i);
        CHECK(caption == again.caption(word, i));
        CHECK(contains(caption, "\"" + word.text + "\""));
        CHECK(contains(caption, kColours[static_cast<std::size_t>(word.colour)].name));
        CHECK(contains(caption, kColours[static_cast<std::size_t>(word.ground)].name));
        CHECK((contains(caption, "slanted") || contains(caption, "italic")) == word.slanted);
        forms.insert(caption.substr(0, caption.find(' ')));
    }
    CHECK(same < 40);  // one-letter words among them
    CHECK(forms.size() > 5);
}

TEST_SUITE_END();
