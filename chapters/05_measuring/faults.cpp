#include "05_measuring/faults.hpp"

#include <algorithm>
#include <cmath>

#include "05_measuring/scores.hpp"
#include "tensor/check.hpp"
#include "tensor/random.hpp"

namespace diffusion {
namespace {

/// f(picture, row, column, channel) for every pixel of the set: its new value, 0 to 255.
template <class F>
Dataset changed(const Dataset& from, F f) {
    Dataset to = from;
    std::uint8_t* out = to.pixels.data();
    for (int n = 0; n < from.count; ++n) {
        for (int y = 0; y < from.height; ++y) {
            for (int x = 0; x < from.width; ++x) {
                for (int c = 0; c < from.channels; ++c) {
                    const double v = f(n, y, x, c);
                    *out++ = static_cast<std::uint8_t>(std::lround(std::clamp(v, 0.0, 255.0)));
                }
            }
        }
    }
    return to;
}

double pixel(const Dataset& data, int n, int y, int x, int c) {
    const auto at = static_cast<std::size_t>(n) * data.image_size() +
                    static_cast<std::size_t>((y * data.width + x) * data.channels + c);
    return data.pixels[at];
}

/// The right half of every `step`-th picture comes from the next picture of the set.
Dataset halves(const Dataset& pictures, int step) {
    return changed(pictures, [&](int n, int y, int x, int c) {
        const bool other = n % step == 0 && x >= pictures.width / 2;
        return pixel(pictures, other ? (n + 1) % pictures.count : n, y, x, c);
    });
}

/// The pictures of the set that `wanted` accepts, n of them, from the front and over again.
template <class F>
Dataset only(const Dataset& from, int n, F wanted) {
    Dataset some = from;
    some.pixels.clear();
    some.labels.clear();
    some.count = 0;
    const auto size = static_cast<std::ptrdiff_t>(from.image_size());
    for (int i = 0; some.count < n; i = (i + 1) % from.count) {
        if (!wanted(i)) continue;
        const auto at = from.pixels.begin() + i * size;
        some.pixels.insert(some.pixels.end(), at, at + size);
        some.labels.push_back(from.labels[static_cast<std::size_t>(i)]);
        ++some.count;
    }
    return some;
}

}  // namespace

Dataset noisy(const Dataset& pictures, double deviation, std::uint64_t seed) {
    Random random(seed, Purpose::noise);
    return changed(pictures, [&](int n, int y, int x, int c) {
        return pixel(pictures, n, y, x, c) + 127.5 * deviation * random.normal();
    });
}

Dataset blurred(const Dataset& pictures) {
    return changed(pictures, [&](int n, int y, int x, int c) {
        double sum = 0;
        for (int dy = -1; dy <= 1; ++dy) {
            for (int dx = -1; dx <= 1; ++dx) {
                sum += pixel(pictures, n, std::clamp(y + dy, 0, pictures.height - 1),
                             std::clamp(x + dx, 0, pictures.width - 1), c);
            }
        }
        return sum / 9;
    });
}

Dataset one_in_ten_halves(const Dataset& pictures) {
    return halves(pictures, 10);
}

std::vector<FaultySet> make_faults(const Dataset& train, const Dataset& test, int n,
                                   std::uint64_t seed) {
    const Dataset real = choose(test, n, seed), copies = choose(train, n, seed + 1);
    const int classes = 1 + *std::ranges::max_element(test.labels);
    require(std::ranges::any_of(test.labels, [&](int l) { return l != classes - 1; }), test.source,
            ": all pictures are of one class");
    const Dataset shuffled = choose(test, test.count, seed);
    const auto other = [n](int i) { return (i + 1) % n; };
    std::vector<FaultySet> sets;
    sets.push_back({"real", "none: test pictures", real});
    sets.push_back({"by heart", "training pictures, unchanged", copies});
    sets.push_back({"by heart, noisy", "training pictures and noise of deviation 0.1",
                    noisy(copies, 0.1, seed)});
    sets.push_back({"blurred", "each pixel the mean of nine", blurred(real)});
    sets.push_back({"noisy", "noise of deviation 0.3", noisy(real, 0.3, seed)});
    sets.push_back({"halves", "the left half of one, the right half of another", halves(real, 1)});
    sets.push_back({"two at once", "the brighter pixel of two pictures",
                    changed(real, [&](int i, int y, int x, int c) {
                        return std::max(pixel(real, i, y, x, c), pixel(real, other(i), y, x, c));
                    })});
    sets.push_back(
        {"a class missing", "no picture of the last class", only(shuffled, n, [&](int i) {
             return shuffled.labels[static_cast<std::size_t>(i)] != classes - 1;
         })});
    sets.push_back({"ten", "ten pictures, over and over",
                    only(choose(test, 10, seed), n, [](int) { return true; })});
    return sets;
}

}  // namespace diffusion
