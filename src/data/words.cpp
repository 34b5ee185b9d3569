#include "data/words.hpp"

#include <algorithm>
#include <cmath>

namespace diffusion {

using namespace canvas;

namespace {

/// The letters' strokes, in boxes 100 high, in the order of kAlphabet. 0 has a stroke through it, I
/// and 1 have feet: no two are alike.
constexpr std::array<const char*, kAlphabet.size()> kFigures = {
    "0,100 30,0! 60,100 / 11,64 49,64",
    "2,0 2,100 / 2,0 34,2 49,14 48,35 32,47 2,47 / 32,47 53,60 55,84 36,99 2,100",
    "58,16 40,1 20,2 4,24 0,50 4,76 20,98 40,99 58,84",
    "2,0 2,100 / 2,0 30,2 52,20 58,50 52,80 30,98 2,100",
    "54,0 2,0! 2,100! 56,100 / 2,48 44,48",
    "54,0 2,0! 2,100 / 2,48 44,48",
    "58,16 40,1 20,2 4,24 0,50 4,76 20,98 42,99 58,84! 58,54! 34,54",
    "2,0 2,100 / 56,0 56,100 / 2,48 56,48",
    "30,0 30,100 / 10,0 50,0 / 10,100 50,100",
    "50,0 50,70 44,92 26,100 8,92 2,74",
    "2,0 2,100 / 54,0 2,56 / 18,40 56,100",
    "2,0 2,100! 52,100",
    "0,100 4,0! 32,64! 60,0! 64,100",
    "2,100 2,0! 56,100! 56,0",
    "30,0 10,10 0,50 10,90 30,100 50,90 60,50 50,10 30,0",
    "2,100 2,0! 34,1 54,14 54,40 34,53 2,54",
    "30,0 10,10 0,50 10,90 30,100 50,90 60,50 50,10 30,0 / 36,70 62,106",
    "2,100 2,0! 34,1 54,14 54,38 34,51 2,52 / 26,52 56,100",
    "54,14 36,0 14,2 3,22 14,42 44,56 56,76 44,98 20,100 0,86",
    "0,0 60,0 / 30,0 30,100",
    "2,0 2,66 10,92 29,100 48,92 56,66 56,0",
    "0,0 30,100! 60,0",
    "0,0 16,100! 34,36! 52,100! 68,0",
    "2,0 56,100 / 56,0 2,100",
    "0,0 30,48! 60,0 / 30,48 30,100",
    "2,0 56,0! 2,100! 58,100",
    "28,0 8,14 0,50 8,86 28,100 48,86 56,50 48,14 28,0 / 14,80 42,20",
    "8,22 30,0! 30,100 / 10,100 50,100",
    "4,22 14,4 30,0 48,6 54,26 44,48 2,100! 58,100",
    "4,12 28,0 50,10 50,34 24,47! 54,58 56,84 30,100 2,88",
    "44,100 44,0! 0,68! 60,68",
    "52,0 10,0! 6,44! 30,36 54,50 56,78 32,100 2,90",
    "50,4 22,14 4,50 6,82 28,100 50,88 54,66 38,48 16,54 4,72",
    "0,0 56,0! 22,100",
    "30,46 10,34 8,14 28,0 48,12 48,34 30,46 6,62 4,86 28,100 54,88 54,64 30,46",
    "54,30 40,46 18,48 4,32 8,10 28,0 50,12 54,36 46,74 16,98"};

struct Letter {
    std::vector<Stroke> strokes;
    double middle;  ///< of its width
};

/// The alphabet's strokes, made once.
const std::vector<Letter>& letters() {
    static const std::vector<Letter> all = [] {
        std::vector<Letter> made;
        for (const char* figure : kFigures) {
            Letter letter{smooth(parse_figure(figure), 6), 0};
            double left = 1e9, right = -1e9;
            for (const Stroke& stroke : letter.strokes) {
                for (const PenPoint& p : stroke) {
                    left = std::min(left, p.x);
                    right = std::max(right, p.x);
                }
            }
            letter.middle = (left + right) / 2;
            made.push_back(std::move(letter));
        }
        return made;
    }();
    return all;
}

std::size_t place_of(char letter) {
    const std::size_t place = kAlphabet.find(letter);
    require(place != std::string_view::npos, "words: no letter of the alphabet: '", letter, "'");
    return place;
}

std::string random_text(Spacing spacing, Random& random) {
    const int most = spacing == Spacing::grid ? kGridLetters : kMostLetters;
    std::string text(static_cast<std::size_t>(1 + below(random, static_cast<std::size_t>(most))),
                     ' ');
    for (char& letter : text)
        letter = kAlphabet[static_cast<std::size_t>(below(random, kAlphabet.size()))];
    return text;
}

/// Pen, slant and places of the letters. A letter's half width is at most 0.34 of its height.
void choose_layout(Word& word, Spacing spacing, Random& random) {
    const auto gaps = static_cast<double>(word.text.size()) - 1;
    const bool free = spacing == Spacing::free;
    const double most = std::min(26.0, (kCanvas - 4) / (0.8 * gaps + 1.2));
    word.height = free ? between(random, std::min(12.0, most), most) : 17;
    word.weight = static_cast<Weight>(below(random, 3));
    const double thick = word.weight == Weight::thin    ? between(random, 0.045, 0.055)
                         : word.weight == Weight::thick ? between(random, 0.09, 0.1)
                                                        : between(random, 0.068, 0.078);
    word.radius = thick * word.height;
    word.slanted = below(random, 2) == 1;
    if (word.slanted) word.slant = free ? between(random, 0.2, 0.3) : between(random, 0.12, 0.18);
    if (!free) word.width = 0.78;  // a column is narrower than a W
    double pitch = 16, x = 8, y = kCanvas / 2.0 + between(random, -2, 2);
    if (free) {
        const double margin = (0.34 + word.slant / 2) * word.height + word.radius + 2,
                     tall = kCanvas / 2.0 - 0.56 * word.height - word.radius - 2;
        pitch = 0.8 * word.height;
        x = between(random, margin, std::max(margin, kCanvas - margin - pitch * gaps));
        y = kCanvas / 2.0 + between(random, -tall, tall);
    }
    for (std::size_t i = 0; i < word.text.size(); ++i)
        word.middles.push_back({x + pitch * static_cast<double>(i) + between(random, -0.75, 0.75),
                                y + between(random, -1, 1)});
}

}  // namespace

bool held_out(std::string_view word) {
    if (word.size() < 2) return false;
    std::size_t sum = 0;
    for (const char letter : word) sum = 5 * sum + place_of(letter) + 1;
    return sum % 8 == 0;
}

Words::Words(Spacing spacing, std::uint64_t seed, Spelling spelling)
    : spacing_(spacing), seed_(seed), spelling_(spelling) {
    letters();  // made here, before several threads ask
}

Word Words::at(std::int64_t index) const {
    Random random = random_of(seed_, Purpose::scene, index);
    Word word;
    do {
        word.text = random_text(spacing_, random);
    } while (held_out(word.text) != (spelling_ == Spelling::held_out));
    do {
        word.colour = below(random, kColours.size());
        word.ground = below(random, kColours.size());
    } while (!differ(word.colour, word.ground));
    word.rgb = shade(word.colour, random);
    word.ground_rgb = shade(word.ground, random);
    choose_layout(word, spacing_, random);
    return word;
}

void Words::paint(const Word& word, Tensor<float> canvas) const {
    require(canvas.shape() == Shape{kCanvas, kCanvas, 3}, "words: a canvas of ", canvas.shape(),
            ", expected ", Shape{kCanvas, kCanvas, 3});
    std::array<float, std::size_t{kCanvas} * kCanvas> ink{};
    const double scale = word.height / 100;
    for (std::size_t i = 0; i < word.text.size(); ++i) {
        const Letter& letter = letters()[place_of(word.text[i])];
        for (Stroke stroke : letter.strokes) {
            for (PenPoint& p : stroke) {
                const double up = 50 - p.y;
                p = {word.middles[i].x +
                         scale * (word.width * (p.x - letter.middle) + word.slant * up),
                     word.middles[i].y - scale * up, word.radius};
            }
            draw(stroke, 1, {ink.data(), {kCanvas, kCanvas}});
        }
    }
    for (int p = 0; p < kCanvas * kCanvas; ++p) {
        float* pixel = canvas.data() + 3 * p;
        for (std::size_t c = 0; c < 3; ++c)
            pixel[c] = word.ground_rgb[c] +
                       ink[static_cast<std::size_t>(p)] * (word.rgb[c] - word.ground_rgb[c]);
    }
}

std::string Words::caption(const Word& word, std::int64_t index) const {
    Random random = random_of(seed_, Purpose::caption, index);
    std::string kind = word.weight == Weight::none   ? ""
                       : word.weight == Weight::thin ? one_of({"thin ", "light "}, random)
                                                     : one_of({"thick ", "bold "}, random);
    if (word.slanted) kind += one_of({"slanted ", "italic "}, random);
    kind += colour_name(word.colour) + (word.text.size() == 1
                                            ? one_of({" letter", " character"}, random)
                                            : one_of({" letters", " characters"}, random));
    const std::string quoted = "\"" + word.text + "\"";
    const bool one = word.text.size() == 1;
    if (one) kind = with_article(kind);
    std::string text;
    switch (below(random, 3)) {
        case 0:
            text = quoted + " in " + kind;
            break;
        case 1:
            text = kind + (one ? " that says " : " that say ") + quoted;
            break;
        default:
            text = std::string(one ? "the sign " : "the word ") + quoted + " in " + kind;
    }
    return with_ground(text, word.ground, random);
}

}  // namespace diffusion
