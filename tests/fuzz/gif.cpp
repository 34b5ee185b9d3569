// The writer of animations: what another decoder reads is what was written.
#define STB_IMAGE_STATIC
#define STBI_ONLY_GIF
#define STBI_NO_STDIO
#define STB_IMAGE_IMPLEMENTATION
#include <stb/stb_image.h>

#include <algorithm>
#include <memory>

#include "fuzz/fuzz.hpp"
#include "io/image.hpp"
#include "io/palette.hpp"

namespace diffusion::fuzz {
namespace {

/// The colours of a picture after its rounding to a palette.
std::vector<std::uint8_t> rounded(const Image& image) {
    const IndexedImage indexed = quantise(image);
    std::vector<std::uint8_t> colours;
    for (const std::uint8_t index : indexed.indices) {
        must(index < indexed.palette.size(), "an index into the palette");
        const auto& colour = indexed.palette[index];
        colours.insert(colours.end(), colour.begin(), colour.end());
    }
    return colours;
}

/// Frames from bytes: width, channels, how often each byte stands, and pixels: enough for more than
/// 256 colours, but too few to fill the writer's dictionary, which takes 100 times as long
/// (tests/src/io_gif_test.cpp fills it).
std::vector<Image> frames_of(const std::string& input) {
    Image image;
    if (input.size() < 4) return {};
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(input[i]); };
    image.width = 1 + byte(0) % 64;
    image.channels = byte(1) % 2 == 0 ? 1 : 3;
    const std::size_t most = byte(2) < 252 ? 320 : 1'200;
    for (std::size_t i = 3; i < input.size() && image.pixels.size() < most; ++i)
        image.pixels.insert(image.pixels.end(), 1 + byte(2) % 32, byte(i));
    const std::size_t row = static_cast<std::size_t>(image.width * image.channels);
    image.height = static_cast<int>(image.pixels.size() / row);
    image.pixels.resize(static_cast<std::size_t>(image.height) * row);
    std::vector<Image> frames{image, image};
    std::ranges::reverse(frames[1].pixels);
    return frames;
}

}  // namespace

std::vector<std::string> seeds() {
    std::string all;
    for (int i = 0; i < 256; ++i) all += static_cast<char>(i * 7);
    return {std::string("\x0f\x02\x00", 3) + all, std::string("\x0f\x01\x00", 3) + all + all,
            std::string("\x07\x01\x1f", 3) + all, "\x01\x02\x03" + std::string(60, 'a')};
}

void check(const std::string& input) {
    const auto path = folder() / "x.gif";
    const std::vector<Image> frames = frames_of(input);
    if (!accepted(path.string(), [&] { write_gif(path, frames, 3); })) {
        must(frames.empty() || frames[0].height == 0, "any picture can be written");
        return;
    }
    const std::string file = get_text(path);
    int *delays = nullptr, width = 0, height = 0, count = 0, channels = 0;
    const std::unique_ptr<stbi_uc, void (*)(void*)> pixels(
        stbi_load_gif_from_memory(reinterpret_cast<const stbi_uc*>(file.data()),
                                  static_cast<int>(file.size()), &delays, &width, &height, &count,
                                  &channels, 3),
        stbi_image_free);
    const std::unique_ptr<int, void (*)(void*)> owner(delays, stbi_image_free);
    must(pixels && width == frames[0].width && height == frames[0].height && count == 2,
         "it can be read");
    const stbi_uc* at = pixels.get();
    for (const Image& frame : frames) {
        const std::vector<std::uint8_t> expected = rounded(frame);
        must(std::equal(expected.begin(), expected.end(), at), "read as it was written");
        at += expected.size();
    }
}

}  // namespace diffusion::fuzz
