#include "data/emoji.hpp"

#include <algorithm>
#include <cmath>

#include "data/captions.hpp"
#include "data/dataset.hpp"
#include "data/find.hpp"
#include "data/image_folder.hpp"
#include "io/image.hpp"
#include "tensor/check.hpp"

namespace diffusion {
namespace {

namespace fs = std::filesystem;

/// The part of a cut-out that is not transparent, from row `top` and column `left` on.
struct Seen {
    const Image& image;
    int top, left, height = 0, width = 0;

    explicit Seen(const Image& of) : image(of), top(of.height), left(of.width) {
        int bottom = 0, right = 0;
        for (int y = 0; y < of.height; ++y) {
            for (int x = 0; x < of.width; ++x) {
                if (at(y, x)[3] == 0) continue;
                top = std::min(top, y), bottom = std::max(bottom, y + 1);
                left = std::min(left, x), right = std::max(right, x + 1);
            }
        }
        height = std::max(0, bottom - top), width = std::max(0, right - left);
    }
    const std::uint8_t* at(int y, int x) const {
        return image.pixels.data() + 4 * (static_cast<std::ptrdiff_t>(y) * image.width + x);
    }
};

/// How much of pixel i of the source lies under pixel k of a row that is `scale` times smaller.
double shared(int i, int k, double scale) {
    return std::max(0.0, std::min(i + 1.0, (k + 1) * scale) - std::max<double>(i, k * scale));
}

/// Each pixel is the mean of the area that it covers; colours count as far as they cover.
Sprite reduced(const Seen& from, int thing) {
    const double scale = static_cast<double>(from.height) / kEmojiHeight;
    const int width = std::max(1, static_cast<int>(std::lround(from.width / scale)));
    Sprite sprite{.thing = thing, .height = kEmojiHeight, .width = width};
    const double across = static_cast<double>(from.width) / width;
    for (int y = 0; y < kEmojiHeight; ++y) {
        for (int x = 0; x < width; ++x) {
            double cover = 0, rgb[3] = {};
            const int last_row =
                          std::min(from.height, static_cast<int>(std::ceil((y + 1) * scale))),
                      last = std::min(from.width, static_cast<int>(std::ceil((x + 1) * across)));
            for (int i = static_cast<int>(y * scale); i < last_row; ++i) {
                for (int j = static_cast<int>(x * across); j < last; ++j) {
                    const std::uint8_t* pixel = from.at(from.top + i, from.left + j);
                    const double part = shared(i, y, scale) * shared(j, x, across) /
                                        (scale * across) * pixel[3] / 255;
                    cover += part;
                    for (int c = 0; c < 3; ++c)
                        rgb[c] += part * static_cast<double>(from_byte(pixel[c]));
                }
            }
            sprite.cover.push_back(static_cast<float>(cover));
            for (const double v : rgb) sprite.rgb.push_back(static_cast<float>(v));
        }
    }
    return sprite;
}

/// Of names, covers and colours.
std::string checksum_of(const SpriteSet& set) {
    Dataset all;
    for (const Sprite& sprite : set.sprites) {
        const std::string& name = set.things[static_cast<std::size_t>(sprite.thing)];
        all.pixels.insert(all.pixels.end(), name.begin(), name.end());
        for (const std::vector<float>* numbers : {&sprite.cover, &sprite.rgb})
            for (const float v : *numbers) all.pixels.push_back(to_byte(v));
    }
    all.count = all.height = all.channels = 1;
    all.width = static_cast<int>(all.pixels.size());
    return checksum(all);
}

}  // namespace

fs::path find_emoji(const std::string& data_dir) {
    std::string looked;
    for (const DataPlace& place : data_places(data_dir)) {
        for (const fs::path& folder : {place.folder, place.folder / "emoji"})
            if (fs::exists(folder / "captions.csv")) return folder;
        looked += (looked.empty() ? "" : " or ") + place.said();
    }
    fail("no emoji in ", looked, ": run data/emoji.sh, which unpacks them into data/emoji");
}

SpriteSet emoji_sprites(const fs::path& folder) {
    const std::vector<fs::path> paths = picture_files(folder);
    SpriteSet set{.name = "emoji",
                  .source = std::to_string(paths.size()) + " emoji of " + folder.string(),
                  .checksum = {},
                  .coloured = true,
                  .things = read_captions(folder, paths),
                  .sprites = {}};
    require(!set.things.empty(), folder.string(),
            ": its pictures have no captions; data/emoji.sh unpacks emoji that have");
    for (const fs::path& path : paths) {
        const Image image = read_cutout(path);
        const Seen seen(image);
        require(seen.height > 0, path.string(), ": is transparent everywhere");
        set.sprites.push_back(reduced(seen, static_cast<int>(set.sprites.size())));
    }
    set.checksum = checksum_of(set);
    return set;
}

}  // namespace diffusion
