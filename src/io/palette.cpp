#include "io/palette.hpp"

#include <algorithm>
#include <map>

namespace diffusion {
namespace {

using Colour = std::array<std::uint8_t, 3>;

constexpr std::size_t kCells = 32 * 32 * 32;  // colours with five bits per channel

Colour colour_at(const Image& image, std::size_t i) {
    if (image.channels == 1) return {image.pixels[i], image.pixels[i], image.pixels[i]};
    return {image.pixels[3 * i], image.pixels[3 * i + 1], image.pixels[3 * i + 2]};
}

std::size_t pixels_of(const Image& image) {
    return image.pixels.size() / static_cast<std::size_t>(image.channels);
}

std::size_t cell_of(const Colour& colour) {
    return (colour[0] >> 3u) * std::size_t{1024} + (colour[1] >> 3u) * std::size_t{32} +
           (colour[2] >> 3u);
}

int cell_coordinate(std::size_t cell, int axis) {
    return static_cast<int>(cell >> (10 - 5 * axis)) % 32;
}

/// A colour as one number.
unsigned key_of(const Colour& colour) {
    return static_cast<unsigned>(colour[0]) << 16u | static_cast<unsigned>(colour[1]) << 8u |
           colour[2];
}
Colour colour_of(unsigned key) {
    return {static_cast<std::uint8_t>(key >> 16u), static_cast<std::uint8_t>(key >> 8u),
            static_cast<std::uint8_t>(key)};
}

/// The colours in use with their indices, or more than 256 of them, whereupon counting has stopped.
std::map<unsigned, std::uint8_t> count_colours(const Image& image) {
    std::map<unsigned, std::uint8_t> colours;
    for (std::size_t i = 0; i < pixels_of(image); ++i) {
        colours.try_emplace(key_of(colour_at(image, i)), 0);
        if (colours.size() > kMaxColours) return colours;
    }
    std::uint8_t index = 0;
    for (auto& entry : colours) entry.second = index++;
    return colours;
}

struct Cell {
    std::int64_t count = 0;
    std::array<std::int64_t, 3> sum{};  // of the colours of its pixels
};

/// A set of cells that will share one colour.
struct Box {
    std::vector<std::size_t> cells;
    int longest_axis = 0;
    std::int64_t weight =
        0;  // pixels x longest side: how much a cut would gain; 0 for a single cell
};

Box make_box(std::vector<std::size_t> members, const std::vector<Cell>& cells) {
    Box box{std::move(members), 0, 0};
    std::int64_t pixels = 0;
    for (std::size_t cell : box.cells) pixels += cells[cell].count;
    int longest = 0;
    for (int axis = 0; axis < 3; ++axis) {
        int low = 31, high = 0;
        for (std::size_t cell : box.cells) {
            low = std::min(low, cell_coordinate(cell, axis));
            high = std::max(high, cell_coordinate(cell, axis));
        }
        if (high - low > longest) {
            longest = high - low;
            box.longest_axis = axis;
        }
    }
    box.weight = pixels * longest;
    return box;
}

/// Cuts a box of at least two cells across its longest axis, so that both parts have about as many
/// pixels.
Box cut(Box& box, const std::vector<Cell>& cells) {
    const int axis = box.longest_axis;
    std::stable_sort(box.cells.begin(), box.cells.end(), [axis](std::size_t a, std::size_t b) {
        return cell_coordinate(a, axis) < cell_coordinate(b, axis);
    });
    std::int64_t pixels = 0, before = 0;
    for (std::size_t cell : box.cells) pixels += cells[cell].count;
    std::size_t middle = 0;
    while (middle + 2 < box.cells.size() &&
           2 * (before + cells[box.cells[middle]].count) < pixels) {
        before += cells[box.cells[middle++]].count;
    }
    const auto border = box.cells.begin() + static_cast<std::ptrdiff_t>(middle) + 1;
    Box upper = make_box({border, box.cells.end()}, cells);
    box = make_box({box.cells.begin(), border}, cells);
    return upper;
}

std::vector<Box> median_cut(const std::vector<Cell>& cells) {
    std::vector<std::size_t> used;
    for (std::size_t cell = 0; cell < kCells; ++cell) {
        if (cells[cell].count > 0) used.push_back(cell);
    }
    std::vector<Box> boxes = {make_box(std::move(used), cells)};
    while (boxes.size() < kMaxColours) {
        const auto best =
            std::max_element(boxes.begin(), boxes.end(),
                             [](const Box& a, const Box& b) { return a.weight < b.weight; });
        if (best->weight == 0) break;
        Box upper = cut(*best, cells);
        boxes.push_back(std::move(upper));
    }
    return boxes;
}

std::vector<Cell> fill_cells(const Image& image) {
    std::vector<Cell> cells(kCells);
    for (std::size_t i = 0; i < pixels_of(image); ++i) {
        const Colour colour = colour_at(image, i);
        Cell& cell = cells[cell_of(colour)];
        ++cell.count;
        for (std::size_t c = 0; c < 3; ++c) cell.sum[c] += colour[c];
    }
    return cells;
}

/// The mean colour of the pixels in a box.
Colour mean_of(const Box& box, const std::vector<Cell>& cells) {
    Cell all;
    for (std::size_t cell : box.cells) {
        all.count += cells[cell].count;
        for (std::size_t c = 0; c < 3; ++c) all.sum[c] += cells[cell].sum[c];
    }
    Colour mean;
    for (std::size_t c = 0; c < 3; ++c) {
        mean[c] = static_cast<std::uint8_t>((all.sum[c] + all.count / 2) / all.count);
    }
    return mean;
}

}  // namespace

IndexedImage quantise(const Image& image) {
    check_image(image, "quantise");
    IndexedImage result;
    result.indices.resize(pixels_of(image));
    const std::map<unsigned, std::uint8_t> colours = count_colours(image);
    if (colours.size() <= kMaxColours) {
        for (const auto& entry : colours) result.palette.push_back(colour_of(entry.first));
        for (std::size_t i = 0; i < result.indices.size(); ++i) {
            result.indices[i] = colours.find(key_of(colour_at(image, i)))->second;
        }
        return result;
    }
    const std::vector<Cell> cells = fill_cells(image);
    std::vector<std::uint8_t> index_of_cell(kCells);
    for (const Box& box : median_cut(cells)) {
        for (std::size_t cell : box.cells) {
            index_of_cell[cell] = static_cast<std::uint8_t>(result.palette.size());
        }
        result.palette.push_back(mean_of(box, cells));
    }
    for (std::size_t i = 0; i < result.indices.size(); ++i) {
        result.indices[i] = index_of_cell[cell_of(colour_at(image, i))];
    }
    return result;
}

}  // namespace diffusion
