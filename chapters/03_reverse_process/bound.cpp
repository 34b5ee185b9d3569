#include "03_reverse_process/bound.hpp"

#include <cmath>
#include <limits>
#include <numbers>

#include "03_reverse_process/posterior.hpp"
#include "tensor/array.hpp"
#include "tensor/check.hpp"
#include "tensor/flat.hpp"

namespace diffusion {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// log P(z > x) for z ~ N(0, 1). Far out erfc would be 0, and 1 - 1/x^2 + 3/x^4 - 15/x^6 times the
/// density over x is right to 2e-10.
double log_tail(double x) {
    if (x < 30) return std::log(0.5 * std::erfc(x / std::numbers::sqrt2));
    const double u = 1 / (x * x);
    return -0.5 * x * x - std::log(x) - 0.5 * std::log(2 * std::numbers::pi) +
           std::log1p(-u * (1 - 3 * u * (1 - 5 * u)));
}

/// log P(low < z < high), from the tails on the side where they are small.
double log_between(double low, double high) {
    if (low + high < 0) return log_between(-high, -low);
    const double near = log_tail(low), far = log_tail(high);
    return near + std::log(-std::expm1(far - near));
}

}  // namespace

double gaussian_kl(double mean_q, double variance_q, double mean_p, double variance_p) {
    require(variance_q > 0 && variance_p > 0, "gaussian_kl: the variances are ", variance_q,
            " and ", variance_p, ", expected above 0");
    const double ratio = variance_q / variance_p, distance = mean_q - mean_p;
    return 0.5 * (ratio - 1 - std::log(ratio) + distance * distance / variance_p);  // (3.24)
}

double gaussian_kl(std::span<const double> mean_q, std::span<const double> variance_q,
                   std::span<const double> mean_p, std::span<const double> variance_p) {
    const std::size_t size = mean_q.size();
    require(variance_q.size() == size && mean_p.size() == size && variance_p.size() == size,
            "gaussian_kl: ", size, ", ", variance_q.size(), ", ", mean_p.size(), " and ",
            variance_p.size(), " numbers, expected as many of each");
    double sum = 0;
    for (std::size_t i = 0; i < size; ++i) {
        require(variance_q[i] > 0 && variance_p[i] > 0, "gaussian_kl: the variances of number ", i,
                " are ", variance_q[i], " and ", variance_p[i], ", expected above 0");
        sum += gaussian_kl(mean_q[i], variance_q[i], mean_p[i], variance_p[i]);
    }
    return sum;
}

double log_pixel_probability(double x0, double mean, double variance) {
    const double place = 127.5 * (x0 + 1), value = std::round(place);  // 0..255
    require(std::abs(place - value) < 1e-3 && value >= 0 && value <= 255, "bound: the pixel ", x0,
            " is none of the 256 values from -1 to 1");
    require(variance > 0, "bound: the variance of a pixel is ", variance, ", expected above 0");
    const double deviation = std::sqrt(variance);
    const auto edge = [&](double k) { return ((k / 127.5 - 1) - mean) / deviation; };
    const double low = value == 0 ? -kInfinity : edge(value - 0.5),  // (3.25)
        high = value == 255 ? kInfinity : edge(value + 0.5);         // (3.25)
    return log_between(low, high);
}

template <class T>
BitsPerDimension bits_per_dimension(const Denoiser<T>& denoiser, std::span<const Moment> path,
                                    Tensor<const T> x0, const BoundOptions<T>& options) {
    check_path("bits_per_dimension", path);
    const Level end = path.back().level;
    require(path.size() >= 3 && end.a == 1 && end.s == 0, "bits_per_dimension: a path of ",
            path.size() - 1, " steps to a = ", end.a, ", s = ", end.s,
            ", expected two steps at least to a = 1, s = 0");
    require(x0.numel() > 0, "bits_per_dimension: no pictures, shape ", x0.shape());
    Array<T> noised(x0.shape()), noise(x0.shape()), guessed(x0.shape());
    const Tensor<T> xt = noised.tensor(), eps = noise.tensor(), guess = guessed.tensor();
    const std::size_t size = noise.size();
    const auto at = [](const auto& x, std::size_t k) { return static_cast<double>(x.data()[k]); };

    BitsPerDimension bound;
    const Level first = path.front().level;
    for (std::size_t k = 0; k < size; ++k)
        bound.prior += gaussian_kl(first.a * at(x0, k), first.s * first.s, 0, 1);  // (1.16)

    double decoder_variance = 0;
    for (std::size_t i = 0; i + 1 < path.size(); ++i) {
        const Level from = path[i].level, to = path[i + 1].level;
        const Posterior q = posterior(from, to);
        options.noise(static_cast<int>(i), eps);
        flat(xt) = static_cast<T>(from.a) * flat(x0) + static_cast<T>(from.s) * flat(eps);  // (1.4)
        guess_x0<T>(denoiser, xt, path[i], options.clip, guess);
        if (to.s > 0) {
            const double variance =
                options.variance == Variance::small ? q.small_variance : q.large_variance;
            for (std::size_t k = 0; k < size; ++k)  // L_{t-1} of (3.7), with the two means (3.4)
                bound.steps += gaussian_kl(q.x0 * at(x0, k) + q.xt * at(xt, k), q.small_variance,
                                           q.x0 * at(guess, k) + q.xt * at(xt, k), variance);
            decoder_variance = q.small_variance;
        } else {
            for (std::size_t k = 0; k < size; ++k)
                bound.decoder -= log_pixel_probability(at(x0, k), at(guess, k), decoder_variance);
        }
    }
    const double to_bits = 1 / (static_cast<double>(size) * std::numbers::ln2);
    for (double* part : {&bound.prior, &bound.steps, &bound.decoder}) *part *= to_bits;  // (3.26)
    return bound;
}

template BitsPerDimension bits_per_dimension(const Denoiser<float>&, std::span<const Moment>,
                                             Tensor<const float>, const BoundOptions<float>&);
template BitsPerDimension bits_per_dimension(const Denoiser<double>&, std::span<const Moment>,
                                             Tensor<const double>, const BoundOptions<double>&);

}  // namespace diffusion
