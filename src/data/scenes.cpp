#include "data/scenes.hpp"

#include <algorithm>
#include <cmath>

namespace diffusion {

using namespace canvas;

namespace {

constexpr int kQuarter = kCanvas / 2;
constexpr double kThin = 0.25, kThick = 0.75;  // shares of a digit's sprites by thickness

template <class T>
const T& any_of(const std::vector<T>& list, Random& random) {
    return list[static_cast<std::size_t>(below(random, list.size()))];
}

/// `count` places of the four, in their order.
std::vector<Place> choose_places(int count, Random& random) {
    std::vector<Place> left = {Place::top_left, Place::top_right, Place::bottom_left,
                               Place::bottom_right};
    while (std::ssize(left) > count) left.erase(left.begin() + below(random, left.size()));
    return left;
}

/// How it is painted. The tangent of its slant, its height, and its middle, so that it stays in
/// its quarter.
Scene::Detail choose_detail(const Thing& thing, const Sprite& sprite, int index, Random& random) {
    const bool coloured = thing.colour == kOwnColours;
    const double slant = coloured                    ? 0
                         : thing.lean == Lean::left  ? between(random, -0.5, -0.3)
                         : thing.lean == Lean::right ? between(random, 0.3, 0.5)
                                                     : between(random, -0.08, 0.08);
    const double wanted =
        thing.size == Size::small ? between(random, 15, 17) : between(random, 25, 28);
    // What the shear adds stands out by half at the top and by half at the bottom.
    const double wide_per_high =
        static_cast<double>(sprite.width) / sprite.height + std::abs(slant - sprite.slant);
    const double height = std::min(wanted, (kQuarter - 2) / wide_per_high);
    const auto place = static_cast<int>(thing.place);
    const auto middle = [&](int quarter, double size) {
        const double room = (kQuarter - size) / 2 - 1;
        return kQuarter * (quarter + 0.5) + (room > 0 ? between(random, -room, room) : 0);
    };
    const double x = middle(place % 2, wide_per_high * height), y = middle(place / 2, height);
    return {index, height, slant,
            x,     y,      coloured ? std::array<float, 3>{} : shade(thing.colour, random)};
}

/// How much a sprite covers, and with which colours, times how much.
struct Laid {
    float cover = 0;
    std::array<float, 3> rgb{};
};

/// At a point of the sprite's picture, between its pixels' middles; nothing outside.
void add_point(const Sprite& sprite, double x, double y, float weight, Laid& sum) {
    const double fx = std::floor(x - 0.5), fy = std::floor(y - 0.5);
    const auto wx = static_cast<float>(x - 0.5 - fx), wy = static_cast<float>(y - 0.5 - fy);
    const int column = static_cast<int>(fx), row = static_cast<int>(fy);
    const auto add = [&](int r, int c, float part) {
        if (r < 0 || r >= sprite.height || c < 0 || c >= sprite.width) return;
        const auto at = static_cast<std::size_t>(r * sprite.width + c);
        sum.cover += weight * part * sprite.cover[at];
        for (std::size_t k = 0; k < 3 && !sprite.rgb.empty(); ++k)
            sum.rgb[k] += weight * part * sprite.rgb[3 * at + k];
    };
    add(row, column, (1 - wy) * (1 - wx));
    add(row, column + 1, (1 - wy) * wx);
    add(row + 1, column, wy * (1 - wx));
    add(row + 1, column + 1, wy * wx);
}

/// Lays a sprite over the canvas. Each pixel is the mean of 2 x 2 points.
void lay(const Sprite& sprite, const Scene::Detail& detail, Tensor<float> canvas) {
    const double scale = sprite.height / detail.height;  // its pixels to one of the canvas
    const double shear = detail.slant - sprite.slant;
    const double half_height = detail.height / 2 + 1,
                 half_width = sprite.width / scale / 2 + std::abs(shear) * half_height + 1;
    const auto inside = [&](double v) {
        return static_cast<int>(std::clamp<double>(std::floor(v), 0, kCanvas));
    };
    for (int y = inside(detail.y - half_height); y < inside(detail.y + half_height + 1); ++y) {
        for (int x = inside(detail.x - half_width); x < inside(detail.x + half_width + 1); ++x) {
            Laid laid;
            for (const double dy : {0.25, 0.75}) {
                for (const double dx : {0.25, 0.75}) {
                    const double down = y + dy - detail.y;
                    const double across = x + dx - detail.x + shear * down;  // upright again
                    add_point(sprite, sprite.width / 2.0 + scale * across,
                              sprite.height / 2.0 + scale * down, 0.25f, laid);
                }
            }
            if (laid.cover == 0) continue;
            float* pixel = &canvas(y, x, 0);
            for (std::size_t k = 0; k < 3; ++k) {
                const float colour = sprite.rgb.empty() ? laid.cover * detail.rgb[k] : laid.rgb[k];
                pixel[k] += colour - laid.cover * pixel[k];
            }
        }
    }
}

/// Whether a name is that of several things: "glasses" and "people hugging", but neither "cactus"
/// nor "compass", nor "nest with eggs".
bool is_plural(const std::string& name) {
    if (name.starts_with("people ")) return true;
    std::string head = name;  // what it is, without what it has or does
    for (const char* then : {" with ", " of ", " in ", " on ", " over ", " showing ", " holding ",
                             " lifting ", " and "})
        head = head.substr(0, head.find(then));
    return head.size() > 2 && head.ends_with('s') && !head.ends_with("rhinoceros") &&
           std::string("siu").find(head[head.size() - 2]) == std::string::npos;
}

/// "a large thin red seven leaning left", "a large rose", "small chopsticks"
std::string phrase(const Thing& thing, const std::string& name, Random& random) {
    std::string text = thing.size == Size::small ? one_of({"small", "little"}, random)
                                                 : one_of({"large", "big"}, random);
    if (thing.colour == kOwnColours) {
        if (name.starts_with("large ") || name.starts_with("small "))
            return "a " + name;  // "large blue diamond", of whatever size
        if (is_plural(name)) return text + " " + name;
    }
    text = "a " + text;
    if (thing.weight != Weight::none)
        text += thing.weight == Weight::thin ? " thin" : one_of({" thick", " bold"}, random);
    if (thing.colour != kOwnColours) text += " " + colour_name(thing.colour);
    text += " " + name;
    if (thing.lean != Lean::none) {
        text += one_of({" leaning ", " slanted ", " that leans "}, random);
        text += thing.lean == Lean::left ? "left" : "right";
    }
    return text;
}

bool at_top(Place place) {
    return place == Place::top_left || place == Place::top_right;
}
bool at_left(Place place) {
    return place == Place::top_left || place == Place::bottom_left;
}

/// "at the top left"
std::string place_phrase(Place place, Random& random) {
    const std::string corner = kPlaces[static_cast<std::size_t>(place)];
    return below(random, 2) == 0 ? "at the " + corner : "in the " + corner + " corner";
}

/// Two things in one row or column, the second to the right of the first or below it.
std::string related(Place place, bool one_row, const std::string& first, const std::string& second,
                    Random& random) {
    const std::string side = one_row ? (at_top(place) ? "at the top" : "at the bottom")
                                     : (at_left(place) ? "on the left" : "on the right");
    const bool turned = below(random, 2) == 0;
    const std::string word =
        one_row ? (turned ? one_of({" to the right of ", " on the right of "}, random)
                          : one_of({" to the left of ", " on the left of "}, random))
                : (turned ? one_of({" below ", " under "}, random)
                          : one_of({" above ", " over "}, random));
    const std::string pair = turned ? second + word + first : first + word + second;
    return below(random, 2) == 0 ? side + " " + pair : pair + ", both " + side;
}

}  // namespace

bool held_out(int thing, int colour) {
    return (3 * thing + colour) % static_cast<int>(kColours.size()) == 0;
}

bool is_unseen_emoji(int thing) {
    return thing % 16 == 5;
}

Scenes::Scenes(SpriteSet sprites, std::uint64_t seed, Canvases which)
    : sprites_(std::move(sprites)), by_weight_(sprites_.things.size()), seed_(seed), which_(which) {
    for (int thing = 0; thing < std::ssize(sprites_.things); ++thing)
        if (!sprites_.coloured || is_unseen_emoji(thing) == (which == Canvases::unseen))
            choice_.push_back(thing);
    require(sprites_.coloured || which != Canvases::unseen, "scenes: every digit is trained on");
    // So that any ground has some that are held out with it, and some that are not.
    constexpr std::size_t kLeast = 16;
    require(!sprites_.coloured || sprites_.things.size() >= kLeast, "scenes: ", sprites_.source,
            ", expected at least ", kLeast);
    sort_by_weight();
}

void Scenes::sort_by_weight() {
    std::vector<std::vector<int>> of(sprites_.things.size());
    for (int i = 0; i < std::ssize(sprites_.sprites); ++i)
        of[static_cast<std::size_t>(sprites_.sprites[static_cast<std::size_t>(i)].thing)].push_back(
            i);
    for (std::size_t thing = 0; thing < of.size(); ++thing) {
        std::vector<int>& list = of[thing];
        if (sprites_.coloured) {  // nothing is said of its weight
            by_weight_[thing][static_cast<std::size_t>(Weight::none)] = list;
            continue;
        }
        require(list.size() >= 4, "scenes: ", sprites_.source, ": ", list.size(), " pictures of ",
                sprites_.things[thing], ", expected at least 4");
        std::stable_sort(list.begin(), list.end(), [&](int a, int b) {
            return sprites_.sprites[static_cast<std::size_t>(a)].thickness <
                   sprites_.sprites[static_cast<std::size_t>(b)].thickness;
        });
        const auto n = static_cast<double>(list.size());
        const auto thin = list.begin() + static_cast<std::ptrdiff_t>(kThin * n),
                   thick = list.begin() + static_cast<std::ptrdiff_t>(kThick * n);
        by_weight_[thing] = {std::vector<int>(list.begin(), thin), std::vector<int>(thin, thick),
                             std::vector<int>(thick, list.end())};
    }
}

Thing Scenes::choose_thing(int ground, bool pair_held_out, Random& random) const {
    Thing thing;
    if (sprites_.coloured) {
        thing.colour = kOwnColours;
        do {
            thing.thing = any_of(choice_, random);
        } while (held_out(thing.thing, ground) != pair_held_out && which_ != Canvases::unseen);
        thing.size = static_cast<Size>(below(random, 2));
        return thing;
    }
    do {
        thing.thing = any_of(choice_, random);
        thing.colour = below(random, kColours.size());
    } while (!differ(thing.colour, ground) || held_out(thing.thing, thing.colour) != pair_held_out);
    thing.size = static_cast<Size>(below(random, 2));
    thing.lean = static_cast<Lean>(below(random, 3));
    thing.weight = static_cast<Weight>(below(random, 3));
    return thing;
}

const std::vector<int>& Scenes::sprites_of(int thing, Weight weight) const {
    return by_weight_[static_cast<std::size_t>(thing)][static_cast<std::size_t>(weight)];
}

Scene::Detail Scenes::choose_sprite(Thing& thing, Random& random) const {
    constexpr int kTries = 8;
    constexpr double kLeastLarge = 22;  // pixels; a wide one that would be lower is passed over
    for (int i = 0;; ++i) {
        if (i == kTries) thing.size = Size::small;
        const int index = any_of(sprites_of(thing.thing, thing.weight), random);
        const Sprite& sprite = sprites_.sprites[static_cast<std::size_t>(index)];
        const Scene::Detail detail = choose_detail(thing, sprite, index, random);
        if (thing.size == Size::small || detail.height >= kLeastLarge) return detail;
    }
}

Scene Scenes::at(std::int64_t index) const {
    Random random = random_of(seed_, Purpose::scene, index);
    Scene scene;
    scene.ground = below(random, kColours.size());
    scene.ground_rgb = shade(scene.ground, random);
    const int count = 1 + below(random, 3), odd = below(random, static_cast<std::size_t>(count));
    for (const Place place : choose_places(count, random)) {
        const bool pair = which_ == Canvases::held_out && std::ssize(scene.things) == odd;
        Thing thing = choose_thing(scene.ground, pair, random);
        thing.place = place;
        scene.details.push_back(choose_sprite(thing, random));
        scene.things.push_back(thing);
    }
    return scene;
}

std::string Scenes::caption(const Scene& scene, std::int64_t index) const {
    Random random = random_of(seed_, Purpose::caption, index);
    std::vector<std::string> things;
    for (const Thing& thing : scene.things)
        things.push_back(
            phrase(thing, sprites_.things[static_cast<std::size_t>(thing.thing)], random));
    std::string text;
    const Place first = scene.things.front().place, last = scene.things.back().place;
    const bool one_row = at_top(first) == at_top(last),
               one_column = at_left(first) == at_left(last);
    if (things.size() == 2 && (one_row || one_column) && below(random, 3) > 0) {
        text = related(first, one_row, things[0], things[1], random);
    } else {
        for (std::size_t i = 0; i < things.size(); ++i) {
            const char* before = i == 0 ? "" : i + 1 < things.size() ? ", " : " and ";
            text += before + things[i] + " " + place_phrase(scene.things[i].place, random);
        }
    }
    return with_ground(text, scene.ground, random);
}

void Scenes::paint(const Scene& scene, Tensor<float> canvas) const {
    require(canvas.shape() == Shape{kCanvas, kCanvas, 3}, "scenes: a canvas of ", canvas.shape(),
            ", expected ", Shape{kCanvas, kCanvas, 3});
    for (int y = 0; y < kCanvas; ++y)
        for (int x = 0; x < kCanvas; ++x)
            std::copy(scene.ground_rgb.begin(), scene.ground_rgb.end(), &canvas(y, x, 0));
    for (const Scene::Detail& detail : scene.details)
        lay(sprites_.sprites[static_cast<std::size_t>(detail.sprite)], detail, canvas);
}

}  // namespace diffusion
