#pragma once
// Which tiles cover a batch of images, and where their pixels are: for winograd.cpp.
#include <algorithm>
#include <array>
#include <cstddef>

#include "tensor/tensor.hpp"

namespace diffusion {

/// A tile has 4 x 4 outputs and reads 6 x 6 inputs; there are 36 products.
inline constexpr int kTile = 4, kPatch = 6, kPoints = kPatch * kPatch;

/// How tiles cover `size` pixels: as few as possible, and as many of them as possible shorter by
/// one pixel. The product at infinity, the last of the six points, only enters the fourth output
/// (look at from_points), so short tiles do without it: 14 pixels are 4 + 4 + 3 + 3, and 22
/// products.
struct Cover {
    int tiles, full;  ///< the full ones come first

    explicit Cover(int size)
        : tiles((size + kTile - 1) / kTile), full(tiles - std::min(tiles, kTile * tiles - size)) {}
    int first_pixel(int tile) const { return kTile * tile - std::max(0, tile - full); }
    int pixels(int tile) const { return tile < full ? kTile : kTile - 1; }
};

/// A range begin .. end - 1.
struct Range {
    int begin, end;
    int count() const { return end - begin; }
    Range within(Range other) const {
        const int from = std::clamp(other.begin, begin, end);
        return {from, std::clamp(other.end, from, end)};
    }
};

/// The tiles of a batch of images [N,H,W], numbered through, in four groups: those that are short
/// down, those that are not short, those that are short across, those that are both. In this order,
/// the tiles that take part in the product at any point are a range.
struct Tiles {
    int height, width;
    Cover down, across;
    std::array<int, 5> begin{};  ///< of the four groups, and the end

    explicit Tiles(const Shape& image)
        : height(image[1]), width(image[2]), down(image[1]), across(image[2]) {
        for (int group = 0; group < 4; ++group) {
            const int size = image[0] * rows(group).count() * columns(group).count();
            begin.at(group + 1) = begin.at(group) + size;
        }
    }
    Range rows(int group) const {
        return group == 0 || group == 3 ? Range{down.full, down.tiles} : Range{0, down.full};
    }
    Range columns(int group) const {
        return group < 2 ? Range{0, across.full} : Range{across.full, across.tiles};
    }
    int count() const { return begin.back(); }
    /// Those that the product at this point needs.
    Range at_point(int point) const {
        const bool down_full = point / kPatch == kPatch - 1;
        const bool across_full = point % kPatch == kPatch - 1;
        return {begin.at(down_full ? 1 : 0), begin.at(across_full ? 2 : down_full ? 3 : 4)};
    }

    struct Place {
        int image, top, left, height, width;
    };
    Place place(int index) const {
        int group = 0;
        while (index >= begin.at(group + 1)) ++group;
        const Range r = rows(group), c = columns(group);
        const int k = index - begin.at(group);
        const int row = r.begin + k / c.count() % r.count(), column = c.begin + k % c.count();
        return {k / (r.count() * c.count()), down.first_pixel(row), across.first_pixel(column),
                down.pixels(row), across.pixels(column)};
    }

    /// Calls f(pixels, image) for the size x size pixels whose first one lies `margin` above and
    /// left of tile `index`. pixels(x, outside)(k) is the address of pixel k, in reading order, of
    /// images x with this many channels; or it is `outside`, if the pixel is not in the picture or,
    /// without a margin, not in the tile. A tile that lies inside knows its addresses without
    /// looking.
    template <int size, class F>
    void with_pixels(int channels, int index, int margin, F f) const {
        const Place tile = place(index);
        const int top = tile.top - margin, left = tile.left - margin;
        const int bottom = margin > 0 ? height : std::min(height, top + tile.height),
                  right = margin > 0 ? width : std::min(width, left + tile.width);
        const std::ptrdiff_t step = channels, line = width * step,
                             first =
                                 (static_cast<std::ptrdiff_t>(tile.image) * height + top) * line +
                                 left * step;
        if (top >= 0 && left >= 0 && top + size <= bottom && left + size <= right) {
            f(
                [=](auto* x, auto*) {
                    return [=](int k) { return x + first + k / size * line + k % size * step; };
                },
                tile.image);
            return;
        }
        f(
            [=](auto* x, decltype(x) outside) {
                std::array<decltype(x), size * size> at;
                for (int i = 0; i < size; ++i) {
                    const bool row_inside = (top + i >= 0) & (top + i < bottom);
                    for (int j = 0; j < size; ++j) {
                        const bool inside = row_inside & (left + j >= 0) & (left + j < right);
                        at.data()[i * size + j] =
                            inside ? x + first + i * line + j * step : outside;
                    }
                }
                return [at](int k) { return at.data()[k]; };
            },
            tile.image);
    }
};

}  // namespace diffusion
