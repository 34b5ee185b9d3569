#include "03_reverse_process/shapes.hpp"

#include <cmath>
#include <numbers>

#include "tensor/random.hpp"

namespace diffusion {
namespace {

constexpr double kPi = std::numbers::pi;

struct Curve {
    std::vector<double> points;  // x, y, x, y, ..
    void add(double x, double y) { points.insert(points.end(), {x, y}); }
};

Curve curve(const std::string& name) {
    Curve c;
    if (name == "moons") {  // two half circles that reach into each other
        for (int i = 0; i < 50; ++i) {
            const double angle = kPi * i / 49;
            c.add(std::cos(angle) - 0.5, std::sin(angle) - 0.25);
            c.add(0.5 - std::cos(angle), 0.25 - std::sin(angle));
        }
    } else if (name == "swiss_roll") {  // a spiral, its points evenly spaced along it
        for (int i = 0; i < 100; ++i) {
            const double angle = kPi * std::sqrt(2.25 + (20.25 - 2.25) * i / 99.0);
            c.add(angle * std::cos(angle), angle * std::sin(angle));
        }
    } else if (name == "gaussians") {
        for (int i = 0; i < 8; ++i) c.add(std::cos(kPi * i / 4), std::sin(kPi * i / 4));
    } else if (name == "rings") {  // radii 1 and 2, with points in the same ratio
        for (int i = 0; i < 40; ++i) c.add(std::cos(kPi * i / 20), std::sin(kPi * i / 20));
        for (int i = 0; i < 80; ++i) c.add(2 * std::cos(kPi * i / 40), 2 * std::sin(kPi * i / 40));
    } else {
        fail("shape: there is no ", name, "; there are moons, swiss_roll, gaussians and rings");
    }
    return c;
}

}  // namespace

GaussianMixture make_shape(const std::string& name) {
    std::vector<double> points = curve(name).points;
    const std::size_t count = points.size() / 2;
    // Centre, and scale both axes alike, so that circles stay circles.
    double mean[2] = {0, 0}, square = 0;
    for (std::size_t i = 0; i < points.size(); ++i)
        mean[i % 2] += points[i] / static_cast<double>(count);
    for (std::size_t i = 0; i < points.size(); ++i)
        square += (points[i] - mean[i % 2]) * (points[i] - mean[i % 2]);
    const double scale = 1 / std::sqrt(square / static_cast<double>(points.size()));
    for (std::size_t i = 0; i < points.size(); ++i) points[i] = scale * (points[i] - mean[i % 2]);
    const double width = name == "gaussians" ? 0.12 : 0.06;
    return make_mixture(2, std::vector<double>(count, 1.0), std::move(points),
                        std::vector<double>(count, width * width));
}

void draw(const GaussianMixture& mixture, std::uint64_t seed, std::uint32_t step,
          Tensor<float> points) {
    require(points.rank() == 2 && points.size(1) == mixture.dimensions, "draw: points is ",
            points.shape(), ", expected [N,", mixture.dimensions, "]");
    for (int n = 0; n < points.size(0); ++n) {
        Random random(seed, Purpose::data, step, static_cast<std::uint32_t>(n));
        double u = random.uniform();
        int k = 0;
        while (k + 1 < mixture.components() && u >= mixture.weights[static_cast<std::size_t>(k)]) {
            u -= mixture.weights[static_cast<std::size_t>(k++)];
        }
        const double deviation = std::sqrt(mixture.variances[static_cast<std::size_t>(k)]);
        for (int d = 0; d < mixture.dimensions; ++d) {
            const double mean = mixture.means.data()[k * mixture.dimensions + d];
            points(n, d) = static_cast<float>(mean + deviation * random.normal());
        }
    }
}

}  // namespace diffusion
