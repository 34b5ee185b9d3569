#include "data/strokes.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <numeric>
#include <string>
#include <vector>

#include "data/pen.hpp"
#include "tensor/random.hpp"

namespace diffusion {
namespace {

constexpr int kSize = 28;
constexpr double kBox = 20.0;

/// One way to write a digit, in a box about 100 high, and how common it is among the digit's ways.
struct Style {
    int digit;
    double weight;
    const char* figure;
};

constexpr Style kStyles[] = {
    // 0: ovals from the top, anticlockwise; wide, slim, with a closing curl, not quite closed
    {0, 3.0, "42,2 19,5 3,29 1,63 14,91 36,100 56,85 66,54 60,21 42,2"},
    {0, 2.0, "50,1 21,7 3,34 3,68 23,94 52,98 77,79 85,47 73,16 47,2"},
    {0, 2.0, "53,12 31,0 11,13 1,44 6,77 24,96 45,93 59,69 60,36 47,11 27,5 10,21"},
    {0, 1.0, "36,0 13,10 0,40 4,76 23,99 47,97 64,71 65,34 50,5"},
    // 1: a bar, straight or bent; with a flag; with flag and foot
    {1, 5.0, "3,0 1,50 0,100"},
    {1, 2.0, "20,0 12,50 0,100"},
    {1, 2.0, "0,20 14,10 24,0! 24,50 22,100"},
    {1, 1.0, "0,22 12,13 24,0! 25,50 24,98 / 2,100 26,98 50,99"},
    // 2: plain with a flat foot; with a loop; with a wave for a foot; hooked
    {2, 3.0, "2,22 14,4 38,0 58,16 54,42 30,72 2,98! 34,96 68,97"},
    {2, 3.0, "4,20 20,2 46,4 58,24 46,54 24,82 8,96 0,86 12,76 34,86 52,96 74,92"},
    {2, 2.0, "0,14 26,0 52,10 54,34 34,66 4,96! 22,86 44,90 62,98 76,90"},
    {2, 1.0, "6,28 4,12 26,0 52,8 54,30 36,54 10,82 0,100! 30,98 62,100"},
    // 3: two bows meeting in a corner; in a loop; in a soft turn; with a flat top
    {3, 3.0, "4,12 28,0 54,12 48,36 22,48! 50,54 62,76 44,97 18,100 0,88"},
    {3, 2.0, "2,14 26,0 52,14 42,40 24,48 17,44 26,43 52,58 60,82 36,100 4,94"},
    {3, 2.0, "0,10 28,0 50,16 40,38 24,47 42,53 58,74 40,97 0,98"},
    {3, 1.0, "2,3 56,0! 26,40! 52,48 62,72 44,96 18,100 0,90"},
    // 4: open, in two strokes; closed; open in one stroke; with a short stem
    {4, 3.0, "10,0 2,28 2,54! 30,56 62,51 / 58,0 54,50 49,100"},
    {4, 2.0, "46,0! 22,34 0,64! 34,63 68,62 / 47,0 46,50 46,100"},
    {4, 2.0, "8,2 0,38 12,55 38,48 58,2! 52,50 44,100"},
    {4, 1.0, "40,0 20,28 0,58! 34,58 66,54 / 44,26 42,62 40,100"},
    // 5: cap and belly in one stroke; cap drawn last; soft like an S; with a wide cap
    {5, 3.0, "58,1 36,2 15,0! 9,42! 30,38 56,52 58,78 36,100 0,93"},
    {5, 2.0, "14,3 9,44! 32,38 58,56 54,86 26,100 0,90 / 13,3 40,3 66,0"},
    {5, 1.5, "60,2 28,4 12,20 22,42 48,56 54,80 30,100 0,94"},
    {5, 1.5, "74,0 50,3 22,3! 12,44! 40,40 58,58 48,88 22,100 2,92"},
    // 6: slim; with a big belly; with a curled top; straight stem
    {6, 3.0, "46,0 18,28 2,64 12,94 38,98 54,78 42,58 18,64 5,82"},
    {6, 2.0, "54,2 22,22 2,60 14,96 46,98 62,74 44,52 16,62 4,78"},
    {6, 1.5, "58,8 44,0 18,24 2,62 14,96 44,98 58,76 42,56 20,66 9,86"},
    {6, 1.5, "22,0 8,38 0,76 16,100 44,93 50,70 30,60 6,76"},
    // 7: plain; with a bar; with a hook at the left; bent
    {7, 4.0, "0,6 30,4 58,0! 38,44 22,100"},
    {7, 1.5, "0,6 30,5 60,0! 40,46 24,100 / 14,52 36,49 58,46"},
    {7, 1.5, "2,24 4,5! 30,6 58,3! 36,46 26,100"},
    {7, 2.0, "0,10 28,3 54,3 56,18 38,52 26,100"},
    // 8: an S closed upwards; started at the waist; with an open top; two rings
    {8, 3.0, "54,16 34,0 8,12 14,36 40,54 58,78 36,100 8,88 14,64 40,44 56,24 50,8"},
    {8, 2.0, "30,48 8,30 14,6 36,0 54,14 48,36 28,50 6,68 4,90 28,100 54,90 54,66 28,47"},
    {8, 2.0, "62,8 36,0 10,16 20,40 46,58 54,84 28,100 6,86 16,60 44,36 60,10"},
    {8, 1.0, "28,0 6,14 10,38 30,46 50,34 52,12 26,0 / 30,46 6,62 2,88 28,100 56,90 54,62 28,46"},
    // 9: ring and bent stem; ring and straight stem; with a tail; started at the right
    {9, 3.0, "50,12 30,0 6,12 2,36 22,48 44,36 52,10! 51,52 44,100"},
    {9, 2.0, "46,8 22,2 2,24 12,46 36,40 50,6! 48,52 46,100"},
    {9, 2.0, "52,18 32,0 6,14 4,40 28,48 50,24 56,48 46,84 22,100 2,92"},
    {9, 1.0, "56,10 30,2 8,16 4,40 26,50 48,38 58,8 50,48 24,98"},
};

struct Way {
    double share;  // of the digit's pictures
    Figure figure;
};

const std::array<std::vector<Way>, 10>& ways() {
    static const std::array<std::vector<Way>, 10> table = [] {
        std::array<std::vector<Way>, 10> result;
        std::array<double, 10> total{};
        for (const Style& s : kStyles) total[static_cast<std::size_t>(s.digit)] += s.weight;
        for (const Style& s : kStyles) {
            const auto digit = static_cast<std::size_t>(s.digit);
            result[digit].push_back({s.weight / total[digit], parse_figure(s.figure)});
        }
        return result;
    }();
    return table;
}

Figure choose_figure(int digit, Random& random) {
    const std::vector<Way>& all = ways()[static_cast<std::size_t>(digit)];
    double u = random.uniform();
    for (const Way& way : all) {
        if (u < way.share) return way.figure;
        u -= way.share;
    }
    return all.back().figure;  // rounding of the shares
}

/// A smooth displacement of the plane: a few long waves of random direction, length and phase. Long
/// waves bend whole strokes as a hand does; short ones would make them tremble.
struct Elastic {
    static constexpr int kWaves = 4;
    struct Wave {
        double kx, ky, phase, ax, ay;
    };
    std::array<Wave, kWaves> waves;

    Elastic(double amplitude, Random& random) {
        for (Wave& w : waves) {
            const double angle = 2.0 * std::numbers::pi * random.uniform();
            const double k = 2.0 * std::numbers::pi / (90.0 + 130.0 * random.uniform());
            w = {k * std::cos(angle), k * std::sin(angle),
                 2.0 * std::numbers::pi * random.uniform(), amplitude * random.normal(),
                 amplitude * random.normal()};
        }
    }
    void move(PenPoint& p) const {
        double dx = 0.0, dy = 0.0;
        for (const Wave& w : waves) {
            const double s = std::sin(w.kx * p.x + w.ky * p.y + w.phase);
            dx += w.ax * s;
            dy += w.ay * s;
        }
        p.x += dx;
        p.y += dy;
    }
};

/// Shear, stretch and turn: what differs between two hands that write the same figure.
void apply_affine(std::vector<Stroke>& strokes, int digit, Random& random) {
    const double slant = 0.12 + 0.22 * random.normal();  // most people lean to the right
    const double angle = 0.09 * random.normal();
    const double wide = std::exp(0.20 * random.normal()) * (digit == 1 ? 0.8 : 1.0);
    const double c = std::cos(angle), s = std::sin(angle);
    for (Stroke& stroke : strokes) {
        for (PenPoint& p : stroke) {
            const double x = wide * p.x - slant * p.y;
            p = {c * x - s * p.y, s * x + c * p.y, p.radius};
        }
    }
}

/// Pressure changes slowly along a stroke and fades a little towards its ends.
void set_radii(std::vector<Stroke>& strokes, double radius, Random& random) {
    for (Stroke& stroke : strokes) {
        const double waves = 0.5 + 1.5 * random.uniform();
        const double phase = 2.0 * std::numbers::pi * random.uniform();
        const double depth = 0.16 * random.uniform();
        const double last = static_cast<double>(stroke.size() - 1);
        for (std::size_t i = 0; i < stroke.size(); ++i) {
            const double u = static_cast<double>(i) / last;
            const double end = std::min(1.0, 0.82 + 2.5 * std::min(u, 1.0 - u));
            stroke[i].radius =
                radius * end * (1.0 + depth * std::sin(2.0 * std::numbers::pi * waves * u + phase));
        }
    }
}

/// Scales the digit, ink included, into the box, and moves its centre of mass to the middle.
void fit(std::vector<Stroke>& strokes, double radius, Random& random) {
    double x0 = 1e9, x1 = -1e9, y0 = 1e9, y1 = -1e9;
    for (const Stroke& stroke : strokes) {
        for (const PenPoint& p : stroke) {
            x0 = std::min(x0, p.x), x1 = std::max(x1, p.x);
            y0 = std::min(y0, p.y), y1 = std::max(y1, p.y);
        }
    }
    const double size = (kBox - 2.0 * radius) * (1.0 - 0.06 * random.uniform());
    const double scale = size / std::max(x1 - x0, y1 - y0);
    double mass = 0.0, mx = 0.0, my = 0.0;
    for (const Stroke& stroke : strokes) {
        for (std::size_t i = 0; i + 1 < stroke.size(); ++i) {
            const PenPoint &a = stroke[i], &b = stroke[i + 1];
            const double m = std::hypot(b.x - a.x, b.y - a.y) * (a.radius + b.radius);
            mass += m;
            mx += m * 0.5 * (a.x + b.x);
            my += m * 0.5 * (a.y + b.y);
        }
    }
    const double shift_x = kSize / 2.0 - scale * mx / mass + 0.4 * (2.0 * random.uniform() - 1.0);
    const double shift_y = kSize / 2.0 - scale * my / mass + 0.4 * (2.0 * random.uniform() - 1.0);
    for (Stroke& stroke : strokes) {
        for (PenPoint& p : stroke) p = {scale * p.x + shift_x, scale * p.y + shift_y, p.radius};
    }
}

void draw_digit(int digit, Random random, std::uint8_t* pixels) {
    Figure figure = choose_figure(digit, random);
    const double middle = 5.5 * random.normal();  // how far down the waist of a 3, an 8 or a 9 sits
    for (auto& stroke : figure) {
        for (ControlPoint& p : stroke) {
            p.y += middle * 0.04 * p.y * (1.0 - 0.01 * p.y);  // ends stay, the middle moves
            p.x += 1.4 * random.normal();  // the hand does not hit the same points twice
            p.y += 1.4 * random.normal();
        }
    }
    std::vector<Stroke> strokes = smooth(figure);
    const Elastic elastic(3.3, random);
    for (Stroke& stroke : strokes) {
        for (PenPoint& p : stroke) elastic.move(p);
    }
    apply_affine(strokes, digit, random);
    const double radius = std::clamp(1.27 * std::exp(0.24 * random.normal()), 0.7, 1.9);
    set_radii(strokes, radius, random);
    fit(strokes, radius, random);

    std::array<float, kSize * kSize> ink{};
    for (const Stroke& stroke : strokes) draw(stroke, 1.3, {ink.data(), {kSize, kSize}});
    for (std::size_t i = 0; i < ink.size(); ++i) {
        pixels[i] = static_cast<std::uint8_t>(std::lround(255.0f * ink[i]));
    }
}

}  // namespace

Dataset stroke_digits(int count, std::uint64_t seed) {
    require(count > 0, "stroke digits: ", count, " pictures asked for, at least 1");
    Dataset data;
    data.name = "builtin";
    data.source = std::to_string(count) + " built-in stroke digits, drawn by the program";
    data.count = count;
    data.height = data.width = kSize;
    data.channels = 1;
    data.pixels.resize(static_cast<std::size_t>(count) * data.image_size());
    data.labels.resize(static_cast<std::size_t>(count));
    ways();  // parsed once, before the threads start
#pragma omp parallel for schedule(static)
    for (int i = 0; i < count; ++i) {
        const auto n = static_cast<std::size_t>(i);
        data.labels[n] = static_cast<std::uint8_t>(i % 10);
        draw_digit(i % 10, Random(seed, Purpose::data, 0, static_cast<std::uint32_t>(i)),
                   data.pixels.data() + n * data.image_size());
    }
    return data;
}

}  // namespace diffusion
