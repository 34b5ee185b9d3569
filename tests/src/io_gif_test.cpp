// Animated GIF, read back by a decoder that is not ours. The library leaves that decoder out; here
// it has a copy of its own.
#include <doctest/doctest.h>

#define STB_IMAGE_STATIC
#define STBI_ONLY_GIF
#define STBI_NO_STDIO
#define STB_IMAGE_IMPLEMENTATION
#include <stb/stb_image.h>

#include <cmath>
#include <memory>

#include "io/files.hpp"
#include "io/palette.hpp"
#include "support/file_checks.hpp"
#include "support/noise_image.hpp"
#include "support/temporary_folder.hpp"

using namespace diffusion;
namespace fs = std::filesystem;

namespace {

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

/// The colours [H,W,3] that are left after rounding to the palette.
std::vector<std::uint8_t> rounded(const Image& image) {
    const IndexedImage indexed = quantise(image);
    std::vector<std::uint8_t> colours;
    for (std::uint8_t index : indexed.indices) {
        const auto& colour = indexed.palette.at(index);
        colours.insert(colours.end(), colour.begin(), colour.end());
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

TEST_CASE("GIF: more colours are rounded, for each frame to the palette that median cut finds") {
    const TemporaryFolder folder;
    // Uniform noise is the hardest case: 256 equal boxes have 256 / 256^(1/3) = 40 levels to a
    // side, an error of 40 / sqrt(12) = 11.6. Halving makes boxes of 32, 32 and 64 levels:
    // sqrt((32^2 + 32^2 + 64^2) / 36) = 13.1.
    const Image hard = noise(100, 90, 3, 256);
    CHECK(quantise(hard).palette.size() == kMaxColours);
    CHECK(root_mean_square(rounded(hard), hard.pixels) < 13.1);
    Image easy{100,
               90,
               3,
               {}};  // 9000 pixels with 1024 colours on a line, which a palette of its own follows
    for (int i = 0; i < 9000; ++i) {
        for (int value : {i % 1024 / 4, 255 - i % 1024 / 4, i % 4}) {
            easy.pixels.push_back(static_cast<std::uint8_t>(value));
        }
    }
    CHECK(root_mean_square(rounded(easy), easy.pixels) < 3.0);

    const std::vector<Image> frames = {hard, easy};
    write_gif(folder / "x.gif", frames, 10);
    std::vector<std::uint8_t> expected = rounded(hard);
    const std::vector<std::uint8_t> second = rounded(easy);
    expected.insert(expected.end(), second.begin(), second.end());
    CHECK((decode(folder / "x.gif").colours == expected));
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
