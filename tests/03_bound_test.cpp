// Chapter 3: the bound as a number.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "01_forward_noising/chain.hpp"
#include "03_reverse_process/bound.hpp"
#include "03_reverse_process/mixture.hpp"
#include "03_reverse_process/posterior.hpp"
#include "support/varied.hpp"
#include "tensor/random.hpp"

using namespace diffusion;
using doctest::Approx;

namespace {

std::vector<Moment> whole_path(const Schedule& schedule) {
    return moments(schedule, all_times(schedule));
}

/// The k-th of the 256 values of a pixel.
double pixel(int k) {
    return k / 127.5 - 1;
}

Denoiser<double> always(double guess) {
    return [guess](Tensor<const double>, const Moment&, Tensor<double> x0) {
        std::fill(x0.begin(), x0.end(), guess);
    };
}

double snr(Level l) {
    return l.a * l.a / (l.s * l.s);
}

/// The variance of the last step of a chain.
double decoder_variance(std::span<const Moment> path) {
    return posterior(path[path.size() - 3].level, path[path.size() - 2].level).small_variance;
}

}  // namespace

TEST_SUITE_BEGIN("ch03 math");

TEST_CASE("(3.24) the divergence of two Gaussians: special cases, and by sampling") {
    const double m = varied(0.8), v = varied(0.3);
    CHECK(gaussian_kl(m, v, m, v) == 0);
    CHECK(gaussian_kl(m, 1, 0, 1) == Approx(m * m / 2).epsilon(1e-14));
    CHECK(gaussian_kl(m, v, m, 1) == Approx((v - 1 - std::log(v)) / 2).epsilon(1e-14));
    const std::vector<double> mean_q{m, -0.4}, variance_q{v, 2.0}, mean_p{0.1, 0.3},
        variance_p{0.7, 1.5};
    const double kl = gaussian_kl(mean_q, variance_q, mean_p, variance_p);
    CHECK(kl == Approx(gaussian_kl(m, v, 0.1, 0.7) + gaussian_kl(-0.4, 2.0, 0.3, 1.5)));
    // The mean of log q - log p over draws from q.
    const int n = 200'000;
    Random random(varied_seed(5), Purpose::test);
    double sum = 0, square = 0;
    for (int i = 0; i < n; ++i) {
        double log_ratio = 0;
        for (std::size_t d = 0; d < 2; ++d) {
            const double z = random.normal(), x = mean_q[d] + std::sqrt(variance_q[d]) * z;
            log_ratio += 0.5 * (std::log(variance_p[d] / variance_q[d]) - z * z +
                                (x - mean_p[d]) * (x - mean_p[d]) / variance_p[d]);
        }
        sum += log_ratio;
        square += log_ratio * log_ratio;
    }
    const double mean = sum / n, deviation = std::sqrt(square / n - mean * mean);
    CHECK(std::abs(mean - kl) < 5 * deviation / std::sqrt(n));
}

TEST_CASE("(3.25) the decoder gives all 256 values together the probability 1") {
    for (const double mean : {varied(-0.3), 0.0, 0.9961, 1.7}) {
        for (const double deviation : {1e-3, 0.007, varied(0.4), 3.0}) {
            CAPTURE(mean);
            CAPTURE(deviation);
            double sum = 0;
            for (int k = 0; k < 256; ++k)
                sum += std::exp(log_pixel_probability(pixel(k), mean, deviation * deviation));
            CHECK(sum == Approx(1).epsilon(1e-12));
        }
    }
    // One value by hand, between its edges; and as it comes from a byte in float.
    const double half = 1.0 / 255, x = pixel(150);
    const auto below = [](double z) { return 0.5 * std::erfc(-z / std::numbers::sqrt2); };
    const double by_hand = below((x + half - 0.17) / 0.02) - below((x - half - 0.17) / 0.02);
    CHECK(std::exp(log_pixel_probability(x, 0.17, 4e-4)) == Approx(by_hand).epsilon(1e-12));
    CHECK(log_pixel_probability(static_cast<double>(static_cast<float>(x)), 0.17, 4e-4) ==
          log_pixel_probability(x, 0.17, 4e-4));
}

TEST_CASE("(3.25) a pixel that was not expected has its true log probability, however small") {
    for (const double z : {5.0, 29.9, 30.1, 37.0, varied(60.0)}) {  // deviations off the open bin
        const double deviation = 0.01, mean = 1 - 1.0 / 255 - z * deviation;
        const long double tail =
            0.5L * std::erfc(static_cast<long double>(z) / std::numbers::sqrt2_v<long double>);
        CHECK(log_pixel_probability(1, mean, deviation * deviation) ==
              Approx(static_cast<double>(std::log(tail))).epsilon(1e-9));
        CHECK(log_pixel_probability(-1, -mean, deviation * deviation) ==
              Approx(static_cast<double>(std::log(tail))).epsilon(1e-9));
    }
    CHECK(std::isfinite(log_pixel_probability(-1, 1, 1e-10)));
}

TEST_CASE(
    "(3.7) (3.8) (3.9) (1.16) the bound's parts are the weighted errors and the last distance") {
    const Schedule schedule = make_schedule("cosine", varied_size(30));
    std::vector<int> few = all_times(schedule);
    few.erase(few.begin() + 3, few.begin() + 9);
    for (const std::vector<int>& times : {all_times(schedule), few}) {
        const std::vector<Moment> path = moments(schedule, times);
        std::vector<double> picture{pixel(200), pixel(0), pixel(255), pixel(17)};
        const Tensor<const double> x0(picture.data(), {2, 2});
        const double guess = varied(0.1), in_bits = 1 / (4 * std::log(2.0));
        const auto noise = [](int step, Tensor<double> z) {
            for (std::ptrdiff_t k = 0; k < 4; ++k)
                z.data()[k] = std::cos(step + static_cast<double>(k));
        };
        // A denoiser that always guesses the same is off in eps by a / s times its error in x_0.
        double small = 0, large = 0;
        for (std::size_t i = 0; i + 2 < path.size(); ++i) {
            const double weight =
                elbo_weight(std::pow(path[i].level.a, 2), std::pow(path[i + 1].level.a, 2));
            const Posterior q = posterior(path[i].level, path[i + 1].level);
            const double ratio = q.small_variance / q.large_variance;
            for (double x : picture) {
                const double term = weight * snr(path[i].level) * (x - guess) * (x - guess);
                small += term;
                large += term * ratio + 0.5 * (ratio - 1 - std::log(ratio));
            }
        }
        const BitsPerDimension a =
            bits_per_dimension<double>(always(guess), path, x0, {.noise = noise});
        CHECK(a.steps == Approx(small * in_bits).epsilon(1e-9));
        CHECK(bits_per_dimension<double>(always(guess), path, x0,
                                         {.variance = Variance::large, .noise = noise})
                  .steps == Approx(large * in_bits).epsilon(1e-9));
        const std::vector<float> floats(picture.begin(), picture.end());
        CHECK(a.prior ==
              Approx(kl_from_noise(floats, schedule, times.front()) * in_bits).epsilon(1e-6));
        double decoder = 0;
        for (double x : picture) decoder -= log_pixel_probability(x, guess, decoder_variance(path));
        CHECK(a.decoder == Approx(decoder * in_bits).epsilon(1e-12));
        CHECK(a.total() == a.prior + a.steps + a.decoder);
        // Clipped, the guess is another one.
        CHECK(bits_per_dimension<double>(always(3), path, x0, {.clip = 1, .noise = noise}).steps ==
              bits_per_dimension<double>(always(1), path, x0, {.noise = noise}).steps);
    }
}

TEST_CASE(
    "(3.7) (1.4) the denoiser is asked about x_t, with noise of its own for step and picture") {
    const Schedule schedule = make_schedule("linear", 20);
    const std::vector<Moment> path = whole_path(schedule);
    std::vector<double> pictures{pixel(200), pixel(3), pixel(90)};
    const Denoiser<double> half = [](Tensor<const double> xt, const Moment&, Tensor<double> x0) {
        for (std::ptrdiff_t k = 0; k < xt.numel(); ++k) x0.data()[k] = 0.5 * xt.data()[k];
    };
    const std::uint64_t seed = varied_seed(8);
    double expected = 0, one_by_one = 0;
    for (std::uint32_t n = 0; n < 3; ++n) {
        const Tensor<const double> x0(pictures.data() + n, {1, 1});
        one_by_one +=
            bits_per_dimension<double>(half, path, x0, {.noise = fresh_noise<double>(seed, n)})
                .steps;
        for (std::size_t i = 0; i + 2 < path.size(); ++i) {
            double eps = 0;
            fresh_noise<double>(seed, n)(static_cast<int>(i), {&eps, {1, 1}});
            const double error = x0(0, 0) - 0.5 * noised(path[i].level, x0(0, 0), eps);
            expected +=
                0.5 * (snr(path[i + 1].level) - snr(path[i].level)) * error * error;  // (3.10)
        }
    }
    const double all = bits_per_dimension<double>(half, path, {pictures.data(), {3, 1}},
                                                  {.noise = fresh_noise<double>(seed)})
                           .steps;
    CHECK(all == Approx(one_by_one / 3).epsilon(1e-12));
    CHECK(all == Approx(expected / (3 * std::log(2.0))).epsilon(1e-9));
}

TEST_CASE("(3.7) (3.26) one picture, known: the bound goes to 0 bits as the steps become many") {
    // The steps cost nothing; left are (1.16) and the width of the last step beside the pixel's
    // bin.
    std::vector<double> picture{pixel(varied_size(180))};
    const Tensor<const double> x0(picture.data(), {1, 1});
    double before = 10;
    for (const int T : {100, 1000, 10'000}) {
        const std::vector<Moment> path = whole_path(make_schedule("cosine", T));
        const BitsPerDimension bound = bits_per_dimension<double>(always(picture[0]), path, x0);
        const double last = path.front().level.a * path.front().level.a,
                     width = std::sqrt(2 * decoder_variance(path));
        const double prior = 0.5 * (last * picture[0] * picture[0] - last - std::log1p(-last)),
                     decoder = -std::log(std::erf(1 / (255 * width)));
        CHECK(bound.steps == 0);
        CHECK(std::abs(bound.prior - prior / std::log(2.0)) < 1e-15);
        CHECK(bound.decoder == Approx(decoder / std::log(2.0)).epsilon(1e-9));
        CHECK(bound.total() < before);
        before = bound.total();
    }
    CHECK(before < 0.01);
}

TEST_CASE("(3.7) (3.10) two pictures and the exact denoiser: the bound goes to 1 bit") {
    // -log p is log 2. The steps add up, in the mean, to half the sum of (SNR_s - SNR_t) mmse(t),
    // where mmse is the error of the best guess, d tanh(a d x_t / s^2). It falls with the SNR, so
    // the sum is above half the integral of mmse over the SNR, by less than the second sum below;
    // and the integral is log 2, less what of it lies beyond the ends: d^2 / 2 for each unit of SNR
    // at most below the first, nothing to speak of above the last.
    const int lower = 64, upper = 191;
    const double d = pixel(upper);
    REQUIRE(pixel(lower) == Approx(-d).epsilon(1e-14));
    const auto mmse = [d](double ratio) {
        double sum = 0;
        for (int i = -400; i <= 400; ++i) {
            const double z = i * 0.02;
            sum += 0.02 * std::exp(-z * z / 2) / std::sqrt(2 * std::numbers::pi) *
                   (1 - std::tanh(ratio * d * d + std::sqrt(ratio) * d * z));
        }
        return d * d * sum;
    };
    const Denoiser<double> exact = exact_denoiser<double>(make_mixture(1, {1, 1}, {-d, d}, {0, 0}));
    double excess_before = 1;
    for (const int T : {50, 200}) {
        const std::vector<Moment> path = whole_path(make_schedule("linear", T));
        double expected = 0, most = 0;
        for (std::size_t i = 0; i + 2 < path.size(); ++i) {
            const double t = snr(path[i].level), s = snr(path[i + 1].level);
            expected += 0.5 * (s - t) * mmse(t);
            most += 0.5 * (s - t) * (mmse(t) - mmse(s));
        }
        CHECK(expected > std::log(2.0) - 0.5 * d * d * snr(path.front().level) - 1e-6);
        CHECK(expected < std::log(2.0) + most);
        CHECK(most < 0.35 * excess_before);  // four times the steps, a quarter of the error
        excess_before = most;
        // By sampling, in 20 lots that say how sure the mean is.
        double mean = 0, square = 0;
        for (std::uint32_t lot = 0; lot < 20; ++lot) {
            std::vector<double> pictures(200);
            for (std::size_t n = 0; n < 200; ++n) pictures[n] = n % 2 == 0 ? d : -d;
            const double nats =
                std::log(2.0) * bits_per_dimension<double>(
                                    exact, path, {pictures.data(), {200, 1}},
                                    {.noise = fresh_noise<double>(varied_seed(2), 200 * lot)})
                                    .steps;
            mean += nats / 20;
            square += nats * nats / 20;
        }
        CHECK(std::abs(mean - expected) < 5 * std::sqrt((square - mean * mean) / 19));
    }
}

TEST_CASE("the bound refuses what it cannot measure") {
    const Schedule schedule = make_schedule("linear", 50);
    std::vector<double> picture{pixel(20)}, between{0.3}, beyond{pixel(256)};
    const auto bound = [&](const std::vector<int>& times, std::vector<double>& x0) {
        return bits_per_dimension<double>(always(0), moments(schedule, times), {x0.data(), {1, 1}});
    };
    CHECK_NOTHROW(bound({50, 20, 0}, picture));
    CHECK_THROWS_WITH_AS(bound({50, 0}, picture),
                         "bits_per_dimension: a path of 1 steps to a = 1, s = 0, expected two "
                         "steps at least to a = 1, s = 0",
                         Error);
    CHECK_THROWS_AS(bound({50, 20, 1}, picture), Error);
    CHECK_THROWS_AS(bound({20, 50, 0}, picture), Error);
    CHECK_THROWS_WITH_AS(bound({50, 20, 0}, between),
                         "bound: the pixel 0.3 is none of the 256 values from -1 to 1", Error);
    CHECK_THROWS_AS(bound({50, 20, 0}, beyond), Error);
    const std::vector<double> one{1}, two{1, 1}, zero{0};
    CHECK_THROWS_AS(gaussian_kl(one, one, one, two), Error);
    CHECK_THROWS_WITH_AS(gaussian_kl(one, zero, one, one),
                         "gaussian_kl: the variances of number 0 are 0 and 1, expected above 0",
                         Error);
}

TEST_SUITE_END();
