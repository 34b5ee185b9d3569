#pragma once
// Which tiles cover a batch of images, where their pixels are, and how they are transformed: for
// winograd.cpp and winograd_doubled.cpp.
#include <algorithm>
#include <array>
#include <cstddef>

#include "kernels/simd.hpp"
#include "tensor/arena.hpp"

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

/// Some pixels of image `image` of a batch, from `top` and `left` on; those above or left of the
/// image, from `bottom` or from `right` on are outside.
struct Window {
    int image, top, left, bottom, right;
};
struct ImageSize {
    int height, width, channels;
};

/// Calls f(pixels) for size x size pixels of such images: pixels(x, outside)(k) is the address of
/// pixel k, in reading order, of images x, or `outside`. A window that lies inside knows its
/// addresses without looking.
template <int size, class F>
void with_window(const Window& at, const ImageSize& images, F f) {
    const std::ptrdiff_t step = images.channels, line = images.width * step,
                         first = (static_cast<std::ptrdiff_t>(at.image) * images.height + at.top) *
                                     line +
                                 at.left * step;
    if (at.top >= 0 && at.left >= 0 && at.top + size <= at.bottom && at.left + size <= at.right) {
        f([=](auto* x, auto*) {
            return [=](int k) { return x + first + k / size * line + k % size * step; };
        });
        return;
    }
    f([=](auto* x, decltype(x) outside) {
        std::array<decltype(x), size * size> to;
        for (int i = 0; i < size; ++i) {
            const bool row_inside = (at.top + i >= 0) & (at.top + i < at.bottom);
            for (int j = 0; j < size; ++j) {
                const bool inside = row_inside & (at.left + j >= 0) & (at.left + j < at.right);
                to.data()[i * size + j] = inside ? x + first + i * line + j * step : outside;
            }
        }
        return [to](int k) { return to.data()[k]; };
    });
}

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

    /// The end of the group that tile `index` is in.
    int end_of_group(int index) const {
        return *std::upper_bound(begin.begin(), begin.end(), index);
    }
    /// Which rows of a single image some tiles of one group read.
    Range rows_read(Range some) const {
        const Place first = place(some.begin), last = place(some.end - 1);
        return {std::max(0, first.top - 1), std::min(height, last.top + last.height + 1)};
    }

    /// Calls f(pixels, image) for the size x size pixels whose first one lies `margin` above and
    /// left of tile `index`, as with_window does. Without a margin a pixel that is not in the tile
    /// is outside, too. The memory begins with row `row` of the first image.
    template <int size, class F>
    void with_pixels(int channels, int index, int margin, F f, int row = 0) const {
        const Place tile = place(index);
        const int top = tile.top - margin, left = tile.left - margin;
        const int bottom = margin > 0 ? height : std::min(height, top + tile.height),
                  right = margin > 0 ? width : std::min(width, left + tile.width);
        with_window<size>({tile.image, top - row, left, bottom - row, right},
                          {height, width, channels}, [&](auto pixels) { f(pixels, tile.image); });
    }
};

/// Applies a one-dimensional map along the columns and then along the rows: a From x From tile of
/// registers, read by get(k), becomes To x To, written by put(k, v).
template <int From, int To, class V, class Map, class Get, class Put>
[[gnu::always_inline]] inline void both_ways(Map map, Get get, Put put) {
    V half[To * From];
#pragma GCC unroll 6
    for (int j = 0; j < From; ++j) {
        V column[From], mapped[To];
#pragma GCC unroll 6
        for (int i = 0; i < From; ++i) column[i] = get(i * From + j);
        map(column, mapped);
#pragma GCC unroll 6
        for (int i = 0; i < To; ++i) half[i * From + j] = mapped[i];
    }
#pragma GCC unroll 6
    for (int i = 0; i < To; ++i) {
        V mapped[To];
        map(half + i * From, mapped);
#pragma GCC unroll 6
        for (int j = 0; j < To; ++j) put(i * To + j, mapped[j]);
    }
}

/// `count` matrices of rows x columns, one for each point. An odd number of cache lines lies
/// between their beginnings: a power of two would put element 0 of all of them into the same few
/// places of the first-level cache, where they would push each other out.
template <class T>
struct Planes {
    T* data;
    std::ptrdiff_t stride;

    Planes(int count, int rows, int columns, Arena& memory) {
        constexpr std::ptrdiff_t line = kAlignment / sizeof(T);
        const std::ptrdiff_t lines =
            (static_cast<std::ptrdiff_t>(rows) * columns + line - 1) / line | 1;
        stride = lines * line;
        data = memory.make<T>({count, static_cast<int>(stride)}).data();
    }
    T* operator[](int k) const { return data + k * stride; }
};

/// Parts of `count`, about equal and at most `most` large.
inline int equal_parts(int count, int most) {
    const int times = std::max(1, (count + most - 1) / most);
    return (count + times - 1) / times;
}

/// As many of `count` tiles at a time as keep both sides of the products in the second-level cache,
/// and about the same number each time; `numbers`: that a tile has there.
template <class T>
int tiles_at_a_time(int count, int numbers) {
    const std::size_t bytes = sizeof(T) * static_cast<std::size_t>(numbers);
    const int tiles = static_cast<int>((std::size_t{768} << 10) / bytes);
    return equal_parts(count, std::clamp(tiles / kTileRows * kTileRows, kTileRows, 4 * kTileRows));
}

/// How much of a convolution is done at a time: so many tiles, and of them so many input channels.
///
/// Transformed weights that fit in the second-level cache stay there, and the tiles come in small
/// groups, as above. Larger ones are read from farther away for each group. So then the groups are
/// large, and if the weights are larger still, a few input channels of them at a time are
/// transformed, used for all tiles of the group, and forgotten.
struct Portion {
    int tiles, channels;

    template <class T>
    static Portion of(int tiles, int inputs, int outputs, int tile_numbers, int products) {
        const std::ptrdiff_t weights = std::ptrdiff_t{products} * inputs * outputs;
        if (weights <= kWeightsInCache) return {tiles_at_a_time<T>(tiles, tile_numbers), inputs};
        const auto most = static_cast<int>(
            std::clamp<std::ptrdiff_t>(kNumbersOfGroup / tile_numbers, 4 * kTileRows, 1 << 20));
        const auto deep = static_cast<int>(std::clamp<std::ptrdiff_t>(
            kWeightsAtATime / products / outputs, Simd<T>::width, 1 << 20));
        return {equal_parts(tiles, most), equal_parts(inputs, deep)};
    }
    static constexpr std::ptrdiff_t kWeightsInCache = 1 << 18, kNumbersOfGroup = 1 << 21,
                                    kWeightsAtATime = 1 << 21;
};

}  // namespace diffusion
