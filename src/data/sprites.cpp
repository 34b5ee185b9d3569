#include "data/sprites.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace diffusion {
namespace {

constexpr std::array kDigits = {"zero", "one", "two",   "three", "four",
                                "five", "six", "seven", "eight", "nine"};

/// The sum of the ink, and its moments about its middle.
struct Moments {
    double mass = 0, x = 0, y = 0;  ///< sum and mean
    double xy = 0, yy = 0;          ///< sums of (x - mean) (y - mean) and (y - mean)^2
};

Moments moments_of(Tensor<const float> ink) {
    Moments m;
    for (int y = 0; y < ink.size(0); ++y) {
        for (int x = 0; x < ink.size(1); ++x) {
            const auto w = static_cast<double>(ink(y, x));
            m.mass += w;
            m.x += w * x;
            m.y += w * y;
        }
    }
    if (m.mass == 0) return m;
    m.x /= m.mass;
    m.y /= m.mass;
    for (int y = 0; y < ink.size(0); ++y) {
        for (int x = 0; x < ink.size(1); ++x) {
            const auto w = static_cast<double>(ink(y, x));
            m.xy += w * (x - m.x) * (y - m.y);
            m.yy += w * (y - m.y) * (y - m.y);
        }
    }
    return m;
}

/// Rows and columns from the first to the last that have more ink than a trace.
struct Box {
    int top, bottom, left, right;  ///< the ends are not in it
};
Box box_of(Tensor<const float> ink) {
    constexpr float kTrace = 0.1f;
    Box box{ink.size(0), 0, ink.size(1), 0};
    for (int y = 0; y < ink.size(0); ++y) {
        for (int x = 0; x < ink.size(1); ++x) {
            if (ink(y, x) <= kTrace) continue;
            box = {std::min(box.top, y), std::max(box.bottom, y + 1), std::min(box.left, x),
                   std::max(box.right, x + 1)};
        }
    }
    return box;
}

Sprite cropped(Tensor<const float> ink, int thing) {
    const Box box = box_of(ink);
    if (box.bottom <= box.top) return {.thing = thing};  // no ink
    Sprite sprite{.thing = thing, .height = box.bottom - box.top, .width = box.right - box.left};
    for (int y = box.top; y < box.bottom; ++y)
        for (int x = box.left; x < box.right; ++x) sprite.cover.push_back(ink(y, x));
    const Tensor<const float> cover(sprite.cover.data(), {sprite.height, sprite.width});
    sprite.slant = slant_of(cover);
    sprite.thickness = thickness_of(cover);
    return sprite;
}

/// Subtracts what belongs to each figure: its mean slant less that of the 1s.
void take_off_figures(std::vector<Sprite>& sprites) {
    std::array<double, kDigits.size()> sum{}, count{};
    for (const Sprite& sprite : sprites) {
        sum[static_cast<std::size_t>(sprite.thing)] += sprite.slant;
        count[static_cast<std::size_t>(sprite.thing)] += 1;
    }
    if (count[1] == 0) return;  // without a 1 nothing is known of the writing
    for (Sprite& sprite : sprites) {
        const auto i = static_cast<std::size_t>(sprite.thing);
        sprite.slant -= sum[i] / count[i] - sum[1] / count[1];
    }
}

}  // namespace

SpriteSet digit_sprites(const Dataset& digits) {
    require(digits.channels == 1 && std::ssize(digits.labels) == digits.count,
            "digits: ", digits.source, " are not grey pictures with labels");
    SpriteSet set{.name = "digits",
                  .source = digits.source,
                  .checksum = checksum(digits),
                  .things = {kDigits.begin(), kDigits.end()},
                  .sprites = {}};
    const std::size_t size = digits.image_size();
    std::vector<float> ink(size);
    for (int i = 0; i < digits.count; ++i) {
        const auto n = static_cast<std::size_t>(i);
        require(digits.labels[n] < kDigits.size(), "digits: ", digits.source, ": picture ", i,
                " has the label ", int{digits.labels[n]}, ", expected 0 to 9");
        for (std::size_t k = 0; k < size; ++k)
            ink[k] = static_cast<float>(digits.pixels[n * size + k]) / 255.0f;
        const Tensor<const float> picture(ink.data(), {digits.height, digits.width});
        if (Sprite sprite = cropped(picture, digits.labels[n]); sprite.thickness > 0)
            set.sprites.push_back(std::move(sprite));
    }
    take_off_figures(set.sprites);
    return set;
}

double slant_of(Tensor<const float> ink) {
    const Moments m = moments_of(ink);
    return m.yy > 0 ? -m.xy / m.yy : 0;
}

double thickness_of(Tensor<const float> ink) {
    const auto at = [&](int y, int x) {
        const bool inside = y >= 0 && y < ink.size(0) && x >= 0 && x < ink.size(1);
        return inside ? static_cast<double>(ink(y, x)) : 0.0;
    };
    // Roberts's cross: the slope of the brightness in the middle of four pixels.
    double area = 0, outline = 0;
    for (int y = 0; y <= ink.size(0); ++y) {
        for (int x = 0; x <= ink.size(1); ++x) {
            area += at(y, x);
            const double a = at(y, x) - at(y - 1, x - 1), b = at(y, x - 1) - at(y - 1, x);
            outline += std::sqrt((a * a + b * b) / 2);
        }
    }
    return outline > 0 ? 2 * area / outline / ink.size(0) : 0;
}

}  // namespace diffusion
