#include "07_latent_vae/take_apart.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

namespace diffusion {
namespace {

constexpr float kLeastContrast = 0.5f;  // of ink against its ground, as a length in colours

float distance(const float* a, const std::array<float, 3>& b) {
    return std::hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
}

}  // namespace

void require_canvases(Tensor<const float> canvases) {
    require(canvases.rank() == 4 && canvases.size(1) == kCanvas && canvases.size(2) == kCanvas &&
                canvases.size(3) == 3,
            "judge: pictures are ", canvases.shape(), ", expected [N,", kCanvas, ",", kCanvas,
            ",3]");
}

bool is_near(const std::array<float, 3>& rgb, const std::array<float, 3>& other) {
    return distance(rgb.data(), other) <= kLeastContrast;
}

int nearest_colour(const std::array<float, 3>& rgb) {
    const auto nearest = std::ranges::min_element(
        kColours, {}, [&](const NamedColour& colour) { return distance(rgb.data(), colour.rgb); });
    return static_cast<int>(nearest - kColours.begin());
}

Inked take_apart(Tensor<const float> picture) {
    const int pixels = picture.size(0) * picture.size(1);
    Inked inked;
    inked.cover = Array<float>(Shape{picture.size(0), picture.size(1)});
    std::vector<float> values(static_cast<std::size_t>(pixels));
    for (std::size_t c = 0; c < 3; ++c) {
        for (int p = 0; p < pixels; ++p)
            values[static_cast<std::size_t>(p)] = picture.data()[3 * p + static_cast<int>(c)];
        std::nth_element(values.begin(), values.begin() + pixels / 2, values.end());
        inked.ground[c] = values[static_cast<std::size_t>(pixels / 2)];
    }
    for (int p = 0; p < pixels; ++p)
        values[static_cast<std::size_t>(p)] = distance(picture.data() + 3 * p, inked.ground);
    // Strokes are thin: of their pixels the few that differ most have the ink's own colour.
    std::vector<float> sorted = values;
    const auto most = sorted.begin() + pixels / 100;
    std::nth_element(sorted.begin(), most, sorted.end(), std::greater<>());
    if (*most < kLeastContrast) return inked;
    inked.empty = false;
    int count = 0;
    for (int p = 0; p < pixels; ++p) {
        if (values[static_cast<std::size_t>(p)] < *most) continue;
        for (std::size_t c = 0; c < 3; ++c)
            inked.rgb[c] += picture.data()[3 * p + static_cast<int>(c)];
        ++count;
    }
    float length = 0;
    for (std::size_t c = 0; c < 3; ++c) {
        inked.rgb[c] /= static_cast<float>(count);
        length += (inked.rgb[c] - inked.ground[c]) * (inked.rgb[c] - inked.ground[c]);
    }
    if (length == 0) return inked;  // as much on one side of the ground as on the other
    for (int p = 0; p < pixels; ++p) {
        float along = 0;
        for (std::size_t c = 0; c < 3; ++c)
            along += (inked.rgb[c] - inked.ground[c]) *
                     (picture.data()[3 * p + static_cast<int>(c)] - inked.ground[c]);
        inked.cover.data()[p] = std::clamp(along / length, 0.0f, 1.0f);
    }
    return inked;
}

}  // namespace diffusion
