#include "05_measuring/panels.hpp"

#include <algorithm>
#include <numeric>

#include "04_unet/samples.hpp"
#include "io/csv.hpp"

namespace diffusion {
namespace {

/// The numbers 0 .. n - 1 sorted by key.
template <class Key>
std::vector<int> sorted_by(int n, Key key) {
    std::vector<int> order = first(n);
    std::ranges::sort(order, {}, key);
    return order;
}

}  // namespace

Image show(const Dataset& data, const std::vector<int>& which, int columns, int zoom) {
    Arena arena;
    const Tensor<float> x =
        arena.make<float>({static_cast<int>(which.size()), data.height, data.width, data.channels});
    for (std::size_t i = 0; i < which.size(); ++i)
        decode(data, which[i], false, x[static_cast<int>(i)]);
    return image_grid(x, columns, zoom);
}

std::vector<int> first(int n) {
    std::vector<int> numbers(static_cast<std::size_t>(n));
    std::iota(numbers.begin(), numbers.end(), 0);
    return numbers;
}

void show_unsure(RunFolder& folder, const std::string& prefix, const Dataset& samples,
                 const Predictions& predictions) {
    std::vector<int> unsure = sorted_by(
        samples.count, [&](int i) { return predictions.confidence[static_cast<std::size_t>(i)]; });
    unsure.resize(20);
    write_png(folder.path(prefix + "unsure.png"), show(samples, unsure, 10));
    folder.picture(prefix + "unsure.png", "The 20 of " + std::to_string(samples.count) +
                                              " samples of which the judge is least sure.");
}

void show_neighbours(RunFolder& folder, const std::string& prefix, const Reference& r,
                     const Dataset& samples, const Predictions& predictions) {
    const Neighbours nearest = nearest_in_training(r, samples);
    const std::vector<int> by_distance =
        sorted_by(samples.count, [&](int i) { return nearest.nearest(i); });
    std::vector<int> shown = first(10), training;
    for (int k = 0; k < r.classifier.classes; ++k) {
        const auto found = std::ranges::find_if(by_distance, [&](int i) {
            return predictions.label[static_cast<std::size_t>(i)] == k;
        });
        if (found != by_distance.end()) shown.push_back(*found);
    }
    for (const int i : shown) training.push_back(nearest.index[static_cast<std::size_t>(i)]);
    std::vector<Image> rows;
    for (std::size_t from = 0; from < shown.size(); from += 10) {
        const auto ten = [&](const std::vector<int>& all) {
            const auto begin = all.begin() + static_cast<std::ptrdiff_t>(from);
            return std::vector<int>(begin, begin + std::min<std::ptrdiff_t>(10, all.end() - begin));
        };
        rows.push_back(show(samples, ten(shown), 10, 3));
        rows.push_back(show(r.train, ten(training), 10, 3));
    }
    write_png(folder.path(prefix + "neighbours.png"), stack_rows(rows));
    folder.picture(prefix + "neighbours.png",
                   "Rows in pairs, samples above and their nearest training pictures below: the "
                   "first ten samples, then the one of each class that comes nearest.");
    CsvWriter distances(folder.path(prefix + "distances.csv"), {"sample", "distance"});
    for (const float d : r.test_distance) distances.row({0, static_cast<double>(d)});
    for (int i = 0; i < samples.count; ++i)
        distances.row({1, static_cast<double>(nearest.nearest(i))});
}

}  // namespace diffusion
