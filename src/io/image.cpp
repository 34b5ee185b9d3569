#include "io/image.hpp"

#include <stb/stb_image.h>
#include <stb/stb_image_write.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <utility>

#include "io/files.hpp"
#include "io/finite.hpp"
#include "io/picture_file.hpp"

namespace diffusion {
namespace {

namespace fs = std::filesystem;

constexpr std::uint8_t kGapGrey = 48;

std::size_t bytes_of(int height, int width, int channels) {
    return static_cast<std::size_t>(height) * static_cast<std::size_t>(width) *
           static_cast<std::size_t>(channels);
}

/// An image of one grey. Sizes come as 64 bits, so that a product that is too large is seen.
Image canvas(const char* operation, std::int64_t height, std::int64_t width, int channels) {
    constexpr std::int64_t kMost = std::numeric_limits<int>::max();
    require(channels == 1 || channels == 3, operation, ": 1 or 3 channels expected, got ",
            channels);
    require(height > 0 && width > 0, operation, ": the picture is empty: ", height, " x ", width);
    require(height <= kMost && width <= kMost / height / channels, operation,
            ": the picture is too large: ", height, " x ", width);
    Image image{static_cast<int>(height), static_cast<int>(width), channels, {}};
    image.pixels.assign(bytes_of(image.height, image.width, channels), kGapGrey);
    return image;
}

std::uint8_t* pixel(Image& image, int y, int x) {
    return image.pixels.data() + bytes_of(y, image.width, image.channels) +
           bytes_of(1, x, image.channels);
}

/// Draws x [H,W,C] with its top left corner at (top, left).
void draw(Tensor<const float> x, int zoom, int top, int left, Image& image) {
    const int channels = image.channels;
    for (int i = 0; i < x.size(0) * zoom; ++i) {
        for (int j = 0; j < x.size(1) * zoom; ++j) {
            for (int c = 0; c < channels; ++c) {
                pixel(image, top + i, left + j)[c] = to_byte(x(i / zoom, j / zoom, c));
            }
        }
    }
}

void append_bytes(void* to, void* data, int size) {
    const auto* bytes = static_cast<const std::byte*>(data);
    auto& file = *static_cast<std::vector<std::byte>*>(to);
    file.insert(file.end(), bytes, bytes + size);
}

/// A picture as its EXIF orientation wants it shown: 1 as it is stored, 2 to 4 mirrored or upside
/// down, and from 5 on its rows are columns.
Image turned(Image stored, int orientation) {
    if (orientation == 1) return stored;
    const bool rows_are_columns = orientation >= 5;
    const bool from_below =
        orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    const bool from_right =
        orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    Image shown = stored;
    if (rows_are_columns) std::swap(shown.height, shown.width);
    for (int y = 0; y < shown.height; ++y) {
        for (int x = 0; x < shown.width; ++x) {
            const int row = rows_are_columns ? x : y, column = rows_are_columns ? y : x;
            const std::uint8_t* from = pixel(stored, from_below ? stored.height - 1 - row : row,
                                             from_right ? stored.width - 1 - column : column);
            std::copy_n(from, stored.channels, pixel(shown, y, x));
        }
    }
    return shown;
}

/// A picture's file, unpacked as it is stored, or to as many channels as are asked for (0: its
/// own).
struct Decoded {
    int orientation = 0, height = 0, width = 0, channels = 0;
    std::unique_ptr<stbi_uc, void (*)(void*)> bytes{nullptr, stbi_image_free};

    Decoded(const fs::path& path, int wanted) {
        const std::vector<std::byte> file = read_file(path);
        require(file.size() <= std::numeric_limits<int>::max(), path.string(),
                ": too large for a picture: ", file.size(), " bytes");
        orientation = look_at_picture(file, path.string());
        bytes.reset(stbi_load_from_memory(reinterpret_cast<const stbi_uc*>(file.data()),
                                          static_cast<int>(file.size()), &width, &height, &channels,
                                          wanted));
        if (!bytes)
            fail(path.string(), ": not a picture that can be read: ", stbi_failure_reason());
    }
};

}  // namespace

void check_image(const Image& image, const std::string& where) {
    require(image.height > 0 && image.width > 0 && (image.channels == 1 || image.channels == 3),
            where, ": not a picture: height ", image.height, ", width ", image.width, ", channels ",
            image.channels);
    require(image.pixels.size() == bytes_of(image.height, image.width, image.channels), where, ": ",
            image.pixels.size(), " bytes do not fit ", image.height, " x ", image.width, " x ",
            image.channels);
}

Image read_image(const fs::path& path) {
    const Decoded file(path, 0);
    const int found = file.channels, channels = found <= 2 ? 1 : 3;
    const bool has_alpha = found == 2 || found == 4;
    Image image = canvas(path.string().c_str(), file.height, file.width, channels);
    const std::size_t pixels = image.pixels.size() / static_cast<std::size_t>(channels);
    for (std::size_t i = 0; i < pixels; ++i) {
        const stbi_uc* in = file.bytes.get() + i * static_cast<std::size_t>(found);
        std::uint8_t* out = image.pixels.data() + i * static_cast<std::size_t>(channels);
        const int alpha = has_alpha ? in[channels] : 255;
        for (int k = 0; k < channels; ++k) {
            out[k] = static_cast<std::uint8_t>((in[k] * alpha + 255 * (255 - alpha) + 127) / 255);
        }
    }
    return turned(std::move(image), file.orientation);
}

Image read_cutout(const fs::path& path) {
    constexpr int kColourAndCover = 4;
    const Decoded file(path, kColourAndCover);
    Image image{file.height, file.width, kColourAndCover, {}};
    const std::size_t bytes = bytes_of(file.height, file.width, kColourAndCover);
    image.pixels.assign(file.bytes.get(), file.bytes.get() + bytes);
    return turned(std::move(image), file.orientation);
}

void write_png(const fs::path& path, const Image& image) {
    check_image(image, path.string());
    std::vector<std::byte> file;
    const int ok = stbi_write_png_to_func(append_bytes, &file, image.width, image.height,
                                          image.channels, image.pixels.data(), 0);
    require(ok != 0, path.string(), ": the picture could not be encoded as PNG");
    write_file_atomically(path, file);
}

std::uint8_t to_byte(float x) {
    const float scaled = (x + 1.0f) * 127.5f;
    if (!(scaled > 0.0f)) return 0;  // NaN as well
    return scaled < 255.0f ? static_cast<std::uint8_t>(scaled + 0.5f) : 255;
}

void require_finite(Tensor<const float> pictures, const std::string& what) {
    for (int n = 0; n < pictures.size(0); ++n) {
        const auto odd = std::find_if(pictures[n].begin(), pictures[n].end(),
                                      [](float v) { return !std::isfinite(v); });
        require(odd == pictures[n].end(), what, ": picture ", n + 1, " of ", pictures.size(0),
                " would have ", odd == pictures[n].end() ? 0 : *odd, " as number ",
                odd - pictures[n].begin(), kNotWritten);
    }
}

Image to_image(Tensor<const float> x, int zoom) {
    require(x.rank() == 3, "to_image: expected [H,W,C], got ", x.shape());
    return image_grid(x.reshape({1, x.size(0), x.size(1), x.size(2)}), 1, zoom);
}

Image image_grid(Tensor<const float> images, int columns, int zoom, int gap) {
    require(images.rank() == 4, "image_grid: expected [N,H,W,C], got ", images.shape());
    require(columns >= 1 && zoom >= 1 && gap >= 0, "image_grid: columns ", columns, ", zoom ", zoom,
            ", gap ", gap, " are out of range");
    require_finite(images, "drawing");
    const std::int64_t rows = (std::int64_t{images.size(0)} + columns - 1) / columns;
    const std::int64_t down = std::int64_t{images.size(1)} * zoom + gap;
    const std::int64_t across = std::int64_t{images.size(2)} * zoom + gap;
    Image grid = canvas("image_grid", rows * down - gap, columns * across - gap, images.size(3));
    for (int n = 0; n < images.size(0); ++n) {
        const int top = n / columns * static_cast<int>(down);
        const int left = n % columns * static_cast<int>(across);
        draw(images[n], zoom, top, left, grid);
    }
    return grid;
}

Image stack_rows(std::span<const Image> rows, int gap) {
    require(!rows.empty() && gap >= 0, "stack_rows: ", rows.size(), " rows, gap ", gap);
    std::int64_t height = -gap;
    for (const Image& row : rows) {
        check_image(row, "stack_rows");
        require(row.width == rows[0].width && row.channels == rows[0].channels,
                "stack_rows: a row of width ", row.width, ", channels ", row.channels,
                " under one of width ", rows[0].width, ", channels ", rows[0].channels);
        height += row.height + gap;
    }
    Image stack = canvas("stack_rows", height, rows[0].width, rows[0].channels);
    int top = 0;
    for (const Image& row : rows) {
        std::copy(row.pixels.begin(), row.pixels.end(), pixel(stack, top, 0));
        top += row.height + gap;
    }
    return stack;
}

}  // namespace diffusion
