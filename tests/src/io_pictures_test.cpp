// Pictures: bytes, grids, PNG and GIF, read back by a decoder that is not ours.
#include <doctest/doctest.h>

#define STB_IMAGE_STATIC
#define STBI_ONLY_GIF
#define STBI_NO_STDIO
#define STB_IMAGE_IMPLEMENTATION
#include <stb/stb_image.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "io/files.hpp"
#include "io/image.hpp"
#include "io/palette.hpp"
#include "support/error_of.hpp"
#include "support/temporary_folder.hpp"
#include "tensor/random.hpp"

using namespace diffusion;
namespace fs = std::filesystem;

namespace {

/// Random pixels with values below `levels`.
Image noise(int height, int width, int channels, std::uint32_t levels, std::uint32_t sample = 0) {
    Image image{height, width, channels, {}};
    Random random(5, Purpose::test, 0, sample);
    for (int i = 0; i < height * width * channels; ++i) {
        image.pixels.push_back(static_cast<std::uint8_t>(random.below(levels)));
    }
    return image;
}

struct DecodedGif {
    int width = 0, height = 0, frames = 0;
    std::vector<int> delays;            // milliseconds
    std::vector<std::uint8_t> colours;  // [frames,H,W,3]
};

DecodedGif decode(const fs::path& path) {
    const std::vector<std::byte> file = read_file(path);
    DecodedGif gif;
    int* delays = nullptr;
    int channels = 0;
    const std::unique_ptr<stbi_uc, void (*)(void*)> pixels(
        stbi_load_gif_from_memory(reinterpret_cast<const stbi_uc*>(file.data()),
                                  static_cast<int>(file.size()), &delays, &gif.width, &gif.height,
                                  &gif.frames, &channels, 4),
        stbi_image_free);
    const std::unique_ptr<int, void (*)(void*)> owner(delays, stbi_image_free);
    REQUIRE(pixels);
    gif.delays.assign(delays, delays + gif.frames);
    for (int i = 0; i < gif.frames * gif.width * gif.height; ++i) {
        gif.colours.insert(gif.colours.end(), pixels.get() + 4 * i, pixels.get() + 4 * i + 3);
    }
    return gif;
}

/// The colours that the palette makes of the frames, as [frames,H,W,3].
std::vector<std::uint8_t> palette_colours(const IndexedFrames& indexed) {
    std::vector<std::uint8_t> colours;
    for (const std::vector<std::uint8_t>& frame : indexed.frames) {
        for (std::uint8_t index : frame) {
            const auto& colour = indexed.palette.at(index);
            colours.insert(colours.end(), colour.begin(), colour.end());
        }
    }
    return colours;
}

std::vector<std::uint8_t> all_pixels(std::span<const Image> frames) {
    std::vector<std::uint8_t> colours;
    for (const Image& frame : frames) {
        for (std::uint8_t value : frame.pixels) {
            colours.insert(colours.end(), frame.channels == 1 ? 3 : 1, value);
        }
    }
    return colours;
}

double root_mean_square(const std::vector<std::uint8_t>& a, const std::vector<std::uint8_t>& b) {
    REQUIRE(a.size() == b.size());
    double sum = 0.0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += std::pow(double{1} * a[i] - b[i], 2);
    return std::sqrt(sum / static_cast<double>(a.size()));
}

}  // namespace

TEST_SUITE_BEGIN("src io");

TEST_CASE("[-1,1] becomes 0..255: rounded, clamped, and exact for every byte") {
    for (int b = 0; b < 256; ++b) CHECK(to_byte(static_cast<float>(b) / 127.5f - 1.0f) == b);
    CHECK(to_byte(-1.5f) == 0);
    CHECK(to_byte(7.0f) == 255);
    CHECK(to_byte(0.0f) == 128);
    CHECK(to_byte(std::numeric_limits<float>::infinity()) == 255);
    CHECK(to_byte(std::numeric_limits<float>::quiet_NaN()) == 0);
}

TEST_CASE("PNG: a picture reads back exactly") {
    const TemporaryFolder folder;
    for (int channels : {1, 3}) {
        for (int side : {1, 2, 33}) {
            const Image image = noise(side, 2 * side + 1, channels, 256);
            write_png(folder / "x.png", image);
            const Image back = read_image(folder / "x.png");
            CHECK(back.height == image.height);
            CHECK(back.width == image.width);
            CHECK(back.channels == channels);
            CHECK(back.pixels == image.pixels);
        }
    }
}

TEST_CASE("PNG: transparent pixels are laid on white") {
    const TemporaryFolder folder;
    const unsigned char file[] = {// opaque red, nothing, (10, 20, 30) half transparent
                                  0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00,
                                  0x0d, 0x49, 0x48, 0x44, 0x52, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00,
                                  0x00, 0x01, 0x08, 0x06, 0x00, 0x00, 0x00, 0x1b, 0xe0, 0x14, 0xb4,
                                  0x00, 0x00, 0x00, 0x13, 0x49, 0x44, 0x41, 0x54, 0x78, 0xda, 0x63,
                                  0xf8, 0xcf, 0xc0, 0x00, 0x44, 0x0c, 0x0c, 0x5c, 0x22, 0x72, 0x0d,
                                  0x00, 0x16, 0x18, 0x02, 0xbb, 0xd3, 0x1c, 0x2d, 0xbf, 0x00, 0x00,
                                  0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82};
    put_text(folder / "a.png", {reinterpret_cast<const char*>(file), sizeof file});
    CHECK(read_image(folder / "a.png").pixels ==
          std::vector<std::uint8_t>{255, 0, 0, 255, 255, 255, 132, 137, 142});
}

TEST_CASE("a file that is no picture, or half of one, is an error") {
    const TemporaryFolder folder;
    write_png(folder / "x.png", noise(20, 20, 3, 256));
    const std::string whole = get_text(folder / "x.png");
    const auto message = [&](std::string_view text) {
        put_text(folder / "bad.png", text);
        return error_of([&] { read_image(folder / "bad.png"); });
    };
    for (std::size_t size : {std::size_t{0}, std::size_t{7}, std::size_t{30}, whole.size() / 2}) {
        CHECK(contains(message(std::string_view(whole).substr(0, size)), "bad.png: not a picture"));
    }
    CHECK(contains(message(std::string(5000, 'x')), "bad.png: not a picture"));
    CHECK(contains(message("GIF89a"), "not a picture"));  // animations are written only
    CHECK(contains(message("P5 20000 20000 255\n"), "not a picture"));
    CHECK(contains(error_of([&] { read_image(folder / "no.png"); }), "no.png: cannot read"));
    CHECK(contains(error_of([&] { write_png(folder / "y.png", {}); }), "y.png: not a picture"));
    CHECK(contains(error_of([&] { write_png(folder / "y.png", {2, 2, 3, {1, 2}}); }), "2 bytes"));
    CHECK(contains(error_of([&] { write_png(folder / "x.png/y.png", noise(2, 2, 1, 9)); }),
                   "Not a directory"));
}

TEST_CASE("a grid has the images in reading order, enlarged, with grey between them") {
    const std::vector<float> values = {-1, 1, 0, -1, 1, 0};  // three images of 1 x 2
    const Tensor<const float> images(values.data(), {3, 1, 2, 1});
    const std::uint8_t g = 48;
    const Image grid = image_grid(images, 2, 2, 1);
    CHECK(grid.height == 5);
    CHECK(grid.width == 9);
    CHECK(grid.pixels == std::vector<std::uint8_t>{0,   0,   255, 255, g, 128, 128, 0, 0,  //
                                                   0,   0,   255, 255, g, 128, 128, 0, 0,  //
                                                   g,   g,   g,   g,   g, g,   g,   g, g,  //
                                                   255, 255, 128, 128, g, g,   g,   g, g,  //
                                                   255, 255, 128, 128, g, g,   g,   g, g});
    CHECK(to_image(images[1]).pixels == std::vector<std::uint8_t>{128, 0});

    const std::vector<float> colour = {-1, 0, 1, 1, 0, -1};
    const Image rgb = to_image({colour.data(), {1, 2, 3}}, 2);
    CHECK(rgb.pixels == std::vector<std::uint8_t>{0,   128, 255, 0,   128, 255, 255, 128,
                                                  0,   255, 128, 0,   0,   128, 255, 0,
                                                  128, 255, 255, 128, 0,   255, 128, 0});

    const std::vector<Image> rows = {{1, 2, 1, {1, 2}}, {2, 2, 1, {3, 4, 5, 6}}};
    const Image stack = stack_rows(rows, 1);
    CHECK(stack.height == 4);
    CHECK(stack.pixels == std::vector<std::uint8_t>{1, 2, g, g, 3, 4, 5, 6});
}

TEST_CASE("grids of nothing, of latents or of absurd size are errors") {
    const std::vector<float> x(64, 0.0f);
    const auto message = [&](Shape shape, int columns, int zoom, int gap) {
        return error_of([&] { image_grid({x.data(), shape}, columns, zoom, gap); });
    };
    CHECK(message({1, 4, 4, 1}, 1, 1, 0) == "no error");
    CHECK(contains(message({1, 4, 4, 4}, 1, 1, 0), "1 or 3 channels expected, got 4"));
    CHECK(contains(message({4, 4, 1}, 1, 1, 0), "expected [N,H,W,C], got [4,4,1]"));
    CHECK(contains(message({0, 4, 4, 1}, 1, 1, 0), "empty"));
    CHECK(contains(message({1, 4, 4, 1}, 0, 1, 0), "columns 0"));
    CHECK(contains(message({1, 4, 4, 1}, 1, 0, 0), "zoom 0"));
    CHECK(contains(message({1, 4, 4, 1}, 1, 1, -1), "gap -1"));
    CHECK(contains(message({1, 4, 4, 1}, 1 << 30, 1 << 20, 0), "too large"));
    CHECK(contains(error_of([&] { to_image({x.data(), {8, 8}}); }), "expected [H,W,C]"));
    CHECK(contains(error_of([] { stack_rows({}); }), "0 rows"));
    const std::vector<Image> uneven = {noise(1, 2, 1, 9), noise(1, 3, 1, 9)};
    CHECK(contains(error_of([&] { stack_rows(uneven); }), "width 3"));
}

TEST_CASE("GIF: grey frames and frames of at most 256 colours decode to exactly what was written") {
    const TemporaryFolder folder;
    // 1 level: long strings; 256 levels on 100 x 100: the table of codes overflows several times.
    for (std::uint32_t levels : {1u, 2u, 6u, 256u}) {
        for (int channels : {1, 3}) {
            for (int side : {1, 3, 100}) {
                if (channels == 3 && levels == 256) continue;
                std::vector<Image> frames;
                for (std::uint32_t i = 0; i < 3; ++i) {
                    frames.push_back(noise(side, side + 1, channels, levels, i));
                }
                write_gif(folder / "x.gif", frames, 7);
                const DecodedGif gif = decode(folder / "x.gif");
                CAPTURE(levels);
                CAPTURE(side);
                CHECK(gif.height == side);
                CHECK(gif.width == side + 1);
                CHECK(gif.delays == std::vector<int>{70, 70, 70});
                CHECK((gif.colours == all_pixels(frames)));
            }
        }
    }
}

TEST_CASE("GIF: more colours are rounded to a palette by median cut") {
    const TemporaryFolder folder;
    // Uniform noise is the hardest case. 256 equal boxes have 256^(1/3) = 6.35 to a side, so the
    // error is 256 / 6.35 / sqrt(12) = 11.6; cuts into halves make uneven boxes, 4 or 8 to a side,
    // at worst sqrt((64^2 + 2 * 32^2) / 36) = 13.1.
    const std::vector<Image> frames = {noise(100, 90, 3, 256, 0), noise(100, 90, 3, 256, 1)};
    const IndexedFrames indexed = quantise(frames);
    CHECK(indexed.palette.size() == kMaxColours);
    CHECK(root_mean_square(palette_colours(indexed), all_pixels(frames)) < 13.1);
    write_gif(folder / "x.gif", frames, 10);
    CHECK((decode(folder / "x.gif").colours == palette_colours(indexed)));

    Image ramp{16, 64, 3, {}};  // 1024 colours on a line: a palette of its own leaves little error
    for (int i = 0; i < 1024; ++i) {
        for (int value : {i / 4, 255 - i / 4, i % 4}) {
            ramp.pixels.push_back(static_cast<std::uint8_t>(value));
        }
    }
    const std::vector<Image> one = {ramp};
    CHECK(root_mean_square(palette_colours(quantise(one)), ramp.pixels) < 3.0);
}

TEST_CASE("GIF: what cannot be an animation is an error") {
    const TemporaryFolder folder;
    const auto message = [&](const std::vector<Image>& frames, int delay) {
        return error_of([&] { write_gif(folder / "x.gif", frames, delay); });
    };
    CHECK(contains(message({}, 5), "x.gif: an animation needs at least one frame"));
    CHECK(contains(message({noise(2, 2, 1, 9)}, 0), "delay must be from 1 to 65535"));
    CHECK(contains(message({noise(2, 2, 1, 9), noise(2, 3, 1, 9)}, 5), "one size"));
    CHECK(contains(message({noise(2, 2, 1, 9), noise(2, 2, 3, 9)}, 5), "one size"));
    CHECK(contains(message({noise(1, 65536, 1, 9)}, 5), "65535 pixels"));
    CHECK(contains(message({Image{}}, 5), "not a picture"));
    CHECK(!fs::exists(folder / "x.gif"));
}
