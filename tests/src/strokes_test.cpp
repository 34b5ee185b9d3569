// The built-in digits: repeatable, balanced, laid out like MNIST; and the pen that draws them.
#include "data/strokes.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "app/machine.hpp"
#include "data/pen.hpp"

using namespace diffusion;
using Bytes = std::vector<std::uint8_t>;

namespace {

struct Mass {
    double total = 0.0, x = 0.0, y = 0.0;  // centre in pixels, pixel i spanning i..i+1
    int width = 0, height = 0;             // of the box around what is inked
};
Mass measure(const Dataset& data, int index) {
    Mass mass;
    int x0 = 28, x1 = -1, y0 = 28, y1 = -1;
    for (int y = 0; y < 28; ++y) {
        for (int x = 0; x < 28; ++x) {
            const double ink =
                data.pixels[static_cast<std::size_t>((index * 28 + y) * 28 + x)] / 255.0;
            mass.total += ink;
            mass.x += ink * (x + 0.5);
            mass.y += ink * (y + 0.5);
            if (ink < 0.25) continue;
            x0 = std::min(x0, x), x1 = std::max(x1, x), y0 = std::min(y0, y), y1 = std::max(y1, y);
        }
    }
    mass.x /= mass.total;
    mass.y /= mass.total;
    mass.width = x1 - x0 + 1;
    mass.height = y1 - y0 + 1;
    return mass;
}

}  // namespace

TEST_SUITE_BEGIN("src");

TEST_CASE("picture i depends on (seed, i) only: not on the count, not on the threads") {
    const Dataset many = stroke_digits(200, 5), few = stroke_digits(60, 5);
    CHECK(std::equal(few.pixels.begin(), few.pixels.end(), many.pixels.begin()));
    const int threads = pick_threads(0);
    for (int n : {1, 2, 3}) {
        pick_threads(n);
        CHECK(stroke_digits(200, 5).pixels == many.pixels);
    }
    pick_threads(threads);
    const Dataset other = stroke_digits(200, 6);
    for (int i = 0; i < 200; ++i) {
        CHECK_FALSE(std::equal(many.pixels.begin() + i * 784, many.pixels.begin() + (i + 1) * 784,
                               other.pixels.begin() + i * 784));
    }
}

TEST_CASE("built-in digits are balanced, all different, and laid out like MNIST") {
    const int count = 2000;
    const Dataset data = stroke_digits(count, 1);
    CHECK(data.pixels.size() == static_cast<std::size_t>(count) * 784);
    CHECK(data.channels == 1);
    std::vector<int> per_label(10);
    std::set<Bytes> pictures;
    double ink = 0.0;
    for (int i = 0; i < count; ++i) {
        ++per_label[data.labels[static_cast<std::size_t>(i)]];
        pictures.emplace(data.pixels.begin() + i * 784, data.pixels.begin() + (i + 1) * 784);
        const Mass mass = measure(data, i);
        ink += mass.total / 784 / count;
        CHECK(std::abs(mass.x - 14.0) < 1.5);
        CHECK(std::abs(mass.y - 14.0) < 1.5);
        CHECK(std::max(mass.width, mass.height) >= 16);
        CHECK(std::max(mass.width, mass.height) <= 22);
    }
    CHECK(per_label == std::vector<int>(10, count / 10));
    CHECK(pictures.size() == static_cast<std::size_t>(count));
    CHECK(ink == doctest::Approx(0.13).epsilon(0.1));  // MNIST's mean is 0.1307
}

TEST_CASE("built-in digits are legible: the nearest of others names nine in ten") {
    const Dataset known = stroke_digits(3000, 1), asked = stroke_digits(200, 2);
    int right = 0;
    for (int i = 0; i < asked.count; ++i) {
        const std::uint8_t* a = asked.pixels.data() + i * 784;
        int best = -1;
        long best_distance = 0;
        for (int j = 0; j < known.count; ++j) {
            const std::uint8_t* b = known.pixels.data() + j * 784;
            int distance = 0;
            for (int k = 0; k < 784; ++k) distance += (a[k] - b[k]) * (a[k] - b[k]);
            if (best < 0 || distance < best_distance) best = j, best_distance = distance;
        }
        right += known.labels[static_cast<std::size_t>(best)] ==
                 asked.labels[static_cast<std::size_t>(i)];
    }
    CHECK(right >= 180);
}

TEST_CASE("figures are read strictly") {
    const Figure figure = parse_figure("0,62! 46.5,0 / -1,2 3,4");
    REQUIRE(figure.size() == 2);
    CHECK(figure[0][0].corner);
    CHECK_FALSE(figure[0][1].corner);
    CHECK(figure[0][1].x == 46.5);
    CHECK(figure[1][0].x == -1.0);
    for (const char* bad :
         {"", "1,2", "1,2 3", "1,2 x,y", "1;2 3,4", "1,2? 3,4", "1,2!! 3,4", "1,2 3,4 /"}) {
        CAPTURE(bad);
        CHECK_THROWS_AS(parse_figure(bad), Error);
    }
}

TEST_CASE("curves pass through their points, straight ones stay straight, corners are kept") {
    const Figure figure = parse_figure("0,0 10,20 40,20! 40,60");
    const Stroke stroke = smooth(figure, 8)[0];
    REQUIRE(stroke.size() == 25);
    for (std::size_t i = 0; i < 4; ++i) {
        CHECK(stroke[8 * i].x == doctest::Approx(figure[0][i].x).epsilon(1e-12));
        CHECK(stroke[8 * i].y == doctest::Approx(figure[0][i].y).epsilon(1e-12));
    }
    for (std::size_t i = 17; i < 25; ++i)
        CHECK(stroke[i].x == doctest::Approx(40.0).epsilon(1e-12));
    CHECK(std::abs(stroke[4].y - 2.0 * stroke[4].x) > 0.1);  // the first piece is bent
}

TEST_CASE("curves do not bend sharply where two pieces meet") {
    const Stroke s = smooth(parse_figure("0,0 10,20 40,20 90,60 60,90"), 1000)[0];
    for (std::size_t i = 1000; i < 4000; i += 1000) {
        const double before = std::atan2(s[i].y - s[i - 1].y, s[i].x - s[i - 1].x);
        const double after = std::atan2(s[i + 1].y - s[i].y, s[i + 1].x - s[i].x);
        CHECK(std::abs(before - after) < 0.01);  // radians; 0 as the pieces get finer
    }
}

TEST_CASE("a drawn line covers what lies within its radius, with a linear edge") {
    std::vector<float> ink(10 * 20);
    draw({{5.0, 4.5, 2.0}, {15.0, 4.5, 2.0}}, 1.0, {ink.data(), {10, 20}});
    const auto at = [&](int y, int x) { return ink[static_cast<std::size_t>(20 * y + x)]; };
    CHECK(at(4, 10) == 1.0f);
    CHECK(at(3, 10) == 1.0f);
    CHECK(at(2, 10) == 0.5f);  // distance 2 = radius: half inked
    CHECK(at(1, 10) == 0.0f);
    CHECK(at(4, 2) == 0.0f);                                                       // distance 2.5
    CHECK(at(4, 3) == 1.0f);                                                       // distance 1.5
    draw({{-50.0, -50.0, 3.0}, {50.0, -50.0, 3.0}}, 1.0, {ink.data(), {10, 20}});  // off the canvas
    draw({{1.0, 1.0, 1.0}, {1.0, 1.0, 1.0}}, 1.0, {ink.data(), {10, 20}});         // a dot
    CHECK(at(0, 0) == doctest::Approx(1.5 - std::sqrt(0.5)).epsilon(1e-6));
    CHECK(at(4, 10) == 1.0f);
    std::fill(ink.begin(), ink.end(), 0.0f);
    draw({{5.0, 4.5, 1.0}, {15.0, 4.5, 1.0}}, 4.0, {ink.data(), {10, 20}});  // a wide, soft edge
    CHECK(at(2, 10) == 0.25f);                                               // (1 + 4/2 - 2) / 4
    CHECK(at(6, 10) == 0.25f);
}

TEST_SUITE_END();
