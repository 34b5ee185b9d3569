#include "io/fit_picture.hpp"

#include <algorithm>

namespace diffusion {
namespace {

/// The mean of a channel over the rectangle [top, bottom) x [left, right), in pixels and parts of
/// pixels.
double mean_over(const Image& image, int channel, double top, double bottom, double left,
                 double right) {
    double sum = 0, area = 0;
    for (int y = static_cast<int>(top); y < std::min<double>(image.height, bottom); ++y) {
        const double high = std::min<double>(bottom, y + 1) - std::max<double>(top, y);
        for (int x = static_cast<int>(left); x < std::min<double>(image.width, right); ++x) {
            const double wide = std::min<double>(right, x + 1) - std::max<double>(left, x);
            const int at = (y * image.width + x) * image.channels + channel;
            sum += high * wide * image.pixels[static_cast<std::size_t>(at)];
            area += high * wide;
        }
    }
    return sum / area;
}

}  // namespace

void fit_picture(const Image& image, bool negative, Tensor<float> out) {
    const int height = out.size(0), width = out.size(1), channels = out.size(2);
    for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) {
            const auto channel = [&](int c) {
                const double down = static_cast<double>(image.height) / height,
                             across = static_cast<double>(image.width) / width;
                return mean_over(image, c, y * down, (y + 1) * down, x * across, (x + 1) * across);
            };
            for (int c = 0; c < channels; ++c) {
                double v = 0;
                if (channels == 1 && image.channels == 3) {  // luminance, ITU-R BT.601
                    v = 0.299 * channel(0) + 0.587 * channel(1) + 0.114 * channel(2);
                } else {
                    v = channel(image.channels == 1 ? 0 : c);
                }
                const double in_range = v / 127.5 - 1;
                out(y, x, c) = static_cast<float>(negative ? -in_range : in_range);
            }
        }
    }
}

}  // namespace diffusion
