// Chapter 7: latents, their bound and their scale.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <vector>

#include "03_reverse_process/bound.hpp"
#include "04_unet/trainer.hpp"
#include "07_latent_vae/autoencoder.hpp"
#include "07_latent_vae/latent_scale.hpp"
#include "07_latent_vae/latents.hpp"
#include "07_latent_vae/linear_latent.hpp"
#include "07_latent_vae/preview.hpp"
#include "07_latent_vae/vae_loss.hpp"
#include "support/varied.hpp"

using namespace diffusion;

namespace {

template <class T>
Tensor<T> normal(Arena& memory, Shape shape, std::uint32_t stream) {
    const Tensor<T> x = memory.make<T>(shape);
    fill_normal(x, Random(varied_seed(71), Purpose::test, stream));
    return x;
}

/// The sum of f over a fine grid from -12 to 12, times its step: an integral of what is nearly 0
/// further out.
template <class F>
double integral(F f) {
    constexpr double kStep = 1e-3;
    double sum = 0;
    for (double z = -12; z <= 12; z += kStep) sum += f(z);
    return sum * kStep;
}

double log_gaussian(double x, double mean, double variance) {
    return -0.5 * (std::log(2 * std::numbers::pi * variance) + (x - mean) * (x - mean) / variance);
}

/// A model with one number of each: z ~ N(0, 1), x = a z + noise of variance v. Its marginal and
/// its true posterior are known.
struct Toy {
    double a = 1.3, v = 0.4;
    double log_joint(double x, double z) const {
        return log_gaussian(x, a * z, v) + log_gaussian(z, 0, 1);
    }
    double log_marginal(double x) const { return log_gaussian(x, 0, a * a + v); }
    double posterior_mean(double x) const { return a * x / (a * a + v); }
    double posterior_variance() const { return v / (a * a + v); }
};

}  // namespace

TEST_SUITE_BEGIN("ch07 math");

TEST_CASE("(7.1) the integral over latents is the marginal density") {
    const Toy toy;
    for (const double x : {-1.5, 0.2, 3.0})
        CHECK(std::log(integral([&](double z) { return std::exp(toy.log_joint(x, z)); })) ==
              doctest::Approx(toy.log_marginal(x)).epsilon(1e-9));
}

TEST_CASE("(7.2) (7.3) the bound lies below log p(x) by the divergence from the true posterior") {
    const Toy toy;
    const double x = 0.9;
    for (const double mean : {toy.posterior_mean(x), 0.0, 1.1}) {
        for (const double variance : {toy.posterior_variance(), 1.0, 0.05}) {
            const double bound = integral([&](double z) {
                                     return std::exp(log_gaussian(z, mean, variance)) *
                                            log_gaussian(x, toy.a * z, toy.v);
                                 }) -
                                 gaussian_kl(mean, variance, 0, 1);  // (7.2)
            const double gap =
                gaussian_kl(mean, variance, toy.posterior_mean(x), toy.posterior_variance());
            CHECK(toy.log_marginal(x) - bound == doctest::Approx(gap).epsilon(1e-8));  // (7.3)
        }
    }
}

TEST_CASE(
    "(7.4) (7.10) the loss of a picture is the bound of a Gaussian decoder, in units of 2 v") {
    OwnTape<double> own;
    const double sigma2 = varied(0.3), D = 2 * 3 * 3;
    const Shape picture{1, 2, 3, 3}, latent{1, 1, 2, 2};
    const Tensor<double> x = normal<double>(own.arena, picture, 0),
                         decoded = normal<double>(own.arena, picture, 1);
    const Var<double> mean = own.tape.constant(normal<double>(own.arena, latent, 2)),
                      log_variance = own.tape.constant(normal<double>(own.arena, latent, 3));
    double log_likelihood = 0, kl = 0;
    for (std::ptrdiff_t i = 0; i < x.numel(); ++i)
        log_likelihood += log_gaussian(x.data()[i], decoded.data()[i], sigma2);  // (7.4)
    for (std::ptrdiff_t i = 0; i < mean.value().numel(); ++i)
        kl += gaussian_kl(mean.value().data()[i], std::exp(log_variance.value().data()[i]), 0, 1);
    const double loss = autoencoder_loss(own.tape.constant(decoded), x,
                                         latent_kl<double>({mean, log_variance}), 2 * sigma2)
                            .value()(0);
    const double constant = 0.5 * D * std::log(2 * std::numbers::pi * sigma2);
    CHECK(D * loss / (2 * sigma2) + constant ==
          doctest::Approx(-(log_likelihood - kl)).epsilon(1e-12));  // (7.10)
}

TEST_CASE("(7.5) means come first, and the log-variance is clamped to -30 .. 20") {
    OwnTape<double> own;
    const Tensor<double> moments = own.arena.make<double>({1, 1, 1, 4});
    moments(0, 0, 0, 0) = 100;
    moments(0, 0, 0, 1) = -7;
    moments(0, 0, 0, 2) = -31;
    moments(0, 0, 0, 3) = 21;
    const Posterior<double> posterior = posterior_of(own.tape.constant(moments));
    CHECK(posterior.mean.value()(0, 0, 0, 0) == 100);
    CHECK(posterior.mean.value()(0, 0, 0, 1) == -7);
    CHECK(posterior.log_variance.value()(0, 0, 0, 0) == -30);
    CHECK(posterior.log_variance.value()(0, 0, 0, 1) == 20);
    CHECK_THROWS_WITH_AS(posterior_of(own.tape.constant(own.arena.make<double>({1, 1, 1, 3}))),
                         "posterior: the moments are [1,1,1,3], expected [N,h,w,2C]", Error);
}

TEST_CASE("(7.6) a drawn latent has the posterior's mean and deviation") {
    OwnTape<double> own;
    constexpr int kDraws = 100'000;
    const double mean = 2, variance = 9;
    const Tensor<double> m = own.arena.make<double>({kDraws, 1, 1, 1}),
                         l = own.arena.make<double>(m.shape());
    fill(m, mean);
    fill(l, std::log(variance));
    const Tensor<double> z = draw_latent<double>({own.tape.constant(m), own.tape.constant(l)},
                                                 normal<double>(own.arena, m.shape(), 5))
                                 .value();
    double sum = 0, square = 0;
    for (const double v : z) {
        sum += v;
        square += (v - mean) * (v - mean);
    }
    CHECK(std::abs(sum / kDraws - mean) < 4 * std::sqrt(variance / kDraws));
    CHECK(std::abs(square / kDraws / variance - 1) < 4 * std::sqrt(2.0 / kDraws));
}

TEST_CASE("(7.8) the KL is that of each number, summed for each picture, and a mean of draws") {
    OwnTape<double> own;
    const Shape shape{3, 2, 2, 4};
    const Tensor<double> m = normal<double>(own.arena, shape, 6),
                         l = normal<double>(own.arena, shape, 7);
    const Posterior<double> posterior{own.tape.constant(m), own.tape.constant(l)};
    const Tensor<double> kl = latent_kl(posterior).value();
    REQUIRE(kl.shape() == Shape{3});
    constexpr int kDraws = 20'000;
    for (int n = 0; n < 3; ++n) {
        double expected = 0;
        for (int i = 0; i < 16; ++i)
            expected += gaussian_kl(m[n].data()[i], std::exp(l[n].data()[i]), 0, 1);
        CHECK(kl(n) == doctest::Approx(expected).epsilon(1e-12));
        // log q(z) - log p(z), drawn
        double sum = 0, square = 0;
        for (int k = 0; k < kDraws; ++k) {
            Random random(varied_seed(72), Purpose::test, static_cast<std::uint32_t>(n),
                          static_cast<std::uint32_t>(k));
            double log_ratio = 0;
            for (int i = 0; i < 16; ++i) {
                const double variance = std::exp(l[n].data()[i]);
                const double z = m[n].data()[i] + std::sqrt(variance) * random.normal();
                log_ratio += log_gaussian(z, m[n].data()[i], variance) - log_gaussian(z, 0, 1);
            }
            sum += log_ratio;
            square += log_ratio * log_ratio;
        }
        const double mean = sum / kDraws, deviation = std::sqrt(square / kDraws - mean * mean);
        CHECK(std::abs(mean - kl(n)) < 4 * deviation / std::sqrt(kDraws));
    }
    const Tensor<double> nothing = own.arena.zeros<double>(shape);
    CHECK(latent_kl<double>({own.tape.constant(nothing), own.tape.constant(nothing)}).value()(0) ==
          0);
}

TEST_CASE("(7.11) (7.12) sums of a picture and means of its values are one loss in two units") {
    OwnTape<double> own;
    const Shape picture{2, 8, 8, 3}, latent{2, 2, 2, 4};
    const Tensor<double> x = normal<double>(own.arena, picture, 8),
                         decoded = normal<double>(own.arena, picture, 9);
    const Var<double> kl =
        latent_kl<double>({own.tape.constant(normal<double>(own.arena, latent, 10)),
                           own.tape.constant(normal<double>(own.arena, latent, 11))});
    const double weight = varied(0.01);
    const int D = 8 * 8 * 3, d = 2 * 2 * 4;
    double squares = 0;
    for (std::ptrdiff_t i = 0; i < x.numel(); ++i)
        squares += std::pow(x.data()[i] - decoded.data()[i], 2);
    const double kl_sum = kl.value()(0) + kl.value()(1);
    const double loss = autoencoder_loss(own.tape.constant(decoded), x, kl, weight).value()(0);
    CHECK(loss == doctest::Approx((squares + weight * kl_sum) / (2 * D)).epsilon(1e-12));
    const double mean_square = squares / (2 * D), mean_kl = kl_sum / (2 * d);
    CHECK(loss ==
          doctest::Approx(mean_square + weight_of_mean(weight, d, D) * mean_kl).epsilon(1e-12));
    CHECK_THROWS_AS(autoencoder_loss(own.tape.constant(decoded), x,
                                     own.tape.constant(own.arena.zeros<double>({1})), weight),
                    Error);
}

TEST_CASE("(7.18) the absolute error is least at a median, where the squared one is at the mean") {
    OwnTape<double> own;
    const std::array<double, 5> values{0, 0, 1, 1, 1};
    const auto error = [&](double guess) {
        const Tensor<double> x = own.arena.make<double>({5, 1, 1, 1}),
                             y = own.arena.make<double>({5, 1, 1, 1});
        std::ranges::copy(values, x.begin());
        fill(y, guess);
        return absolute_error(own.tape.constant(y), x).value()(0);
    };
    CHECK(error(0.6) == doctest::Approx((2 * 0.6 + 3 * 0.4) / 5).epsilon(1e-12));  // the mean
    CHECK(error(1) == doctest::Approx(0.4).epsilon(1e-12));                        // the median
    const auto squared = [&](double guess) {
        double sum = 0;
        for (const double v : values) sum += (guess - v) * (guess - v);
        return sum;
    };
    for (const double guess : {0.0, 0.59, 0.61, 0.9, 1.1}) {
        CHECK(error(guess) > error(1));
        CHECK(squared(guess) > squared(0.6));
    }
}

TEST_CASE("(7.13) a direction is kept where its variance is above half of the weight") {
    // The expected loss of one direction, as a function of everything that can be chosen.
    const auto loss = [](double variance, double weight, const LinearLatent& at) {
        const double error =
            variance * std::pow(1 - at.gain * at.encoder, 2) + at.gain * at.gain * at.variance;
        const double kl =
            0.5 * (at.encoder * at.encoder * variance + at.variance - std::log(at.variance) - 1);
        return error + weight * kl;
    };
    for (const double variance : {0.05, 0.4, 1.0, 7.0}) {
        for (const double weight : {0.02, 0.5, 1.6, 4.0}) {
            const LinearLatent best = linear_latent(variance, weight);
            CAPTURE(variance);
            CAPTURE(weight);
            CHECK(best.error + weight * best.kl ==
                  doctest::Approx(loss(variance, weight, best)).epsilon(1e-12));
            CHECK((best.kl > 0) == (variance > weight / 2));
            CHECK(best.error + weight * best.kl <= variance + 1e-12);  // what collapse would cost
            for (const double step : {-1e-3, 1e-3}) {                  // nothing near it is better
                for (const LinearLatent& other :
                     {LinearLatent{best.gain + step, best.encoder, best.variance, 0, 0},
                      LinearLatent{best.gain, best.encoder + step, best.variance, 0, 0},
                      LinearLatent{best.gain + step, best.encoder + step, best.variance, 0, 0},
                      LinearLatent{best.gain + step, best.encoder - step, best.variance, 0, 0},
                      LinearLatent{best.gain, best.encoder, best.variance * (1 + step), 0, 0}})
                    CHECK(loss(variance, weight, other) >= loss(variance, weight, best) - 1e-12);
            }
        }
    }
}

TEST_CASE("(7.14) measured latents get the deviation 1, and the scale can be undone") {
    Arena memory;
    const Tensor<float> z = normal<float>(memory, {500, 2, 2, 4}, 12);
    for (float& v : z) v = 3 + 2 * v;
    const LatentScale centred = measure_scale(z, true), around_zero = measure_scale(z, false);
    CHECK(centred.factor == doctest::Approx(0.5).epsilon(0.03));
    CHECK(centred.shift == doctest::Approx(3).epsilon(0.03));
    CHECK(around_zero.shift == 0);
    CHECK(around_zero.factor == doctest::Approx(1 / std::sqrt(9 + 4)).epsilon(0.03));
    const Tensor<float> scaled = memory.make<float>(z.shape());
    std::ranges::copy(z, scaled.begin());
    centred.apply(scaled);
    double sum = 0, square = 0;
    for (const float v : scaled) {
        sum += static_cast<double>(v);
        square += static_cast<double>(v * v);
    }
    CHECK(std::abs(sum / static_cast<double>(z.numel())) < 1e-5);
    CHECK(square / static_cast<double>(z.numel()) == doctest::Approx(1).epsilon(1e-5));
    centred.undo(scaled);
    for (std::ptrdiff_t i = 0; i < z.numel(); ++i)
        CHECK(scaled.data()[i] == doctest::Approx(static_cast<double>(z.data()[i])).epsilon(1e-5));
    CHECK_THROWS_AS(measure_scale(memory.zeros<float>({3}), true), Error);
}

TEST_CASE("(7.15) noised latents of the wrong deviation have another signal-to-noise ratio") {
    Arena memory;
    const double deviation = 1.4, a = 0.6, s = 0.8;
    const Tensor<double> z = normal<double>(memory, {100'000}, 13);
    double signal = 0;
    for (const double v : z) signal += std::pow(a * deviation * v, 2);
    CHECK(signal / static_cast<double>(z.numel()) / (s * s) ==
          doctest::Approx(a * a / (s * s) * snr_factor(deviation)).epsilon(0.02));
}

TEST_CASE("(7.16) the preview finds a linear map, and of others the closest") {
    Arena memory;
    const Tensor<float> z = normal<float>(memory, {3, 2, 2, 4}, 14),
                        pictures = memory.make<float>({3, 4, 6, 2});
    const auto colour = [&](int n, int h, int w, int c) {
        return 0.3f * static_cast<float>(c) +
               (c == 0 ? 2 * z(n, h, w, 1) - z(n, h, w, 3) : z(n, h, w, 0));
    };
    for (int n = 0; n < 3; ++n)
        for (int h = 0; h < 4; ++h)
            for (int w = 0; w < 6; ++w)
                for (int c = 0; c < 2; ++c)  // each cell's pixels differ, its mean is the map's
                    pictures(n, h, w, c) =
                        colour(n, h / 2, w / 3, c) + (h % 2 == 0 ? 0.25f : -0.25f);
    const Preview preview = fit_preview(z, pictures);
    const std::vector<double> expected = {0, 2, 0, -1, 1, 0, 0, 0};
    for (std::size_t i = 0; i < expected.size(); ++i)
        CHECK(preview.weight[i] == doctest::Approx(expected[i]).epsilon(1e-5));
    CHECK(preview.bias[1] == doctest::Approx(0.3).epsilon(1e-5));
    const Array<float> drawn = preview(z);
    CHECK(drawn.tensor()(2, 1, 0, 0) ==
          doctest::Approx(static_cast<double>(colour(2, 1, 0, 0))).epsilon(1e-4));
    // Of pictures that are no linear map of z: what is left over is at right angles to every latent
    // channel and to 1, or another map would be closer.
    const Tensor<float> noise = normal<float>(memory, pictures.shape(), 15);
    const Preview closest = fit_preview(z, noise);
    const Array<float> map = closest(z);
    for (int c = 0; c < 2; ++c) {
        std::array<double, 5> along{};  // the four channels, and 1
        double size = 0;
        for (int cell = 0; cell < 12; ++cell) {
            const int n = cell / 4, i = cell / 2 % 2, j = cell % 2;
            double mean = 0;
            for (int p = 0; p < 6; ++p)
                mean += static_cast<double>(noise(n, 2 * i + p / 3, 3 * j + p % 3, c)) / 6;
            const double left = static_cast<double>(map.tensor()(n, i, j, c)) - mean;
            size += left * left;
            for (int k = 0; k < 4; ++k)
                along.at(static_cast<std::size_t>(k)) += left * static_cast<double>(z(n, i, j, k));
            along.back() += left;
        }
        CHECK(size > 0.1);
        for (const double a : along) CHECK(std::abs(a) < 1e-4);
    }
}

TEST_SUITE_END();
