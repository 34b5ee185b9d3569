// Chapter 7: gradients of the draw, the KL, the loss and the whole autoencoder.
#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "02_gradients/gradient_check.hpp"
#include "07_latent_vae/autoencoder.hpp"
#include "07_latent_vae/vae_loss.hpp"
#include "support/varied.hpp"

using namespace diffusion;
using Vars = std::vector<Var<double>>;

namespace {

constexpr double kTolerance = 1e-7;

template <class T>
Tensor<T> normal(Arena& memory, Shape shape, std::uint32_t stream) {
    const Tensor<T> x = memory.make<T>(shape);
    fill_normal(x, Random(varied_seed(71), Purpose::test, stream));
    return x;
}

}  // namespace

TEST_SUITE_BEGIN("ch07 grad");

TEST_CASE("(7.7) (7.9) draw and KL: VJPs equal central differences") {
    Arena memory;
    const Shape shape{2, 1, 3, 2};
    const Tensor<double> eps = normal<double>(memory, shape, 15);
    for (const std::size_t constant : {std::size_t{9}, std::size_t{0}, std::size_t{1}}) {
        CHECK(gradient_error(
                  {shape, shape},
                  [&](auto&, const Vars& v) {
                      return draw_latent<double>({v[0], v[1]}, eps);
                  },
                  constant) < kTolerance);
        CHECK(gradient_error(
                  {shape, shape},
                  [&](auto&, const Vars& v) {
                      return latent_kl<double>({v[0], v[1]});
                  },
                  constant) < kTolerance);
    }
}

TEST_CASE("(7.5) (7.11) moments and loss: VJPs equal central differences, 0 where it is clamped") {
    Arena memory;
    const Shape picture{2, 2, 2, 3};
    const Tensor<double> x = normal<double>(memory, picture, 16);
    CHECK(gradient_error({{2, 1, 2, 6}}, [&](auto&, const Vars& v) {
              return posterior_of(v[0]).log_variance;
          }) < kTolerance);
    CHECK(gradient_error({picture, {2}}, [&](auto&, const Vars& v) {
              return autoencoder_loss(v[0], x, v[1], 0.7);
          }) < kTolerance);
    CHECK(gradient_error({picture}, [&](auto&, const Vars& v) {  // (7.18)
              return absolute_error(v[0], x);
          }) < kTolerance);
    CHECK(gradient_error({{1, 1, 1, 2}}, [&](auto& tape, const Vars& v) {  // far above the bound
              const Tensor<double> far = memory.make<double>({1, 1, 1, 2});
              fill(far, 1000.0);
              return posterior_of(add(v[0], tape.constant(far))).log_variance;
          }) == 0);
}

TEST_CASE("an autoencoder's gradient equals central differences, whatever its setting") {
    AutoencoderConfig config;
    config.channels = {4, 6};
    config.groups = 2;
    config.latent_channels = 2;
    for (const bool attends : {true, false}) {
        config.middle_attention = attends;
        config.quant = config.post_quant = attends;
        ParameterList list;
        const Autoencoder autoencoder(list, "", config);
        Array<double> values(list.block()), gradient(list.block());
        list.initialise<double>(values, 5);
        fill_normal(values.tensor(), Random(varied_seed(73), Purpose::test));  // no zeros
        for (double& v : values) v *= 0.3;
        Arena memory;
        const Tensor<double> x = normal<double>(memory, {2, 4, 6, 3}, 17),
                             eps = normal<double>(memory, {2, 2, 3, 2}, 18);
        OwnTape<double> own;
        const auto loss = [&](double* gradients) {
            own.tape.reset();
            own.tape.bind(values.data(), gradients);
            const Posterior<double> posterior = autoencoder.encode(own.tape.constant(x));
            const Var<double> decoded = autoencoder.decode(draw_latent<double>(posterior, eps));
            return autoencoder_loss(decoded, x, latent_kl(posterior), 0.5);
        };
        own.tape.backward(loss(gradient.data()));
        double worst = 0, largest = 0;
        constexpr double h = 1e-5;
        for (std::size_t i = 0; i < values.size(); i += 7) {
            double& v = values.data()[i];
            const double here = v;
            v = here + h;
            const double above = loss(nullptr).value()(0);
            v = here - h;
            const double below = loss(nullptr).value()(0);
            v = here;
            const double difference = (above - below) / (2 * h);
            const double off = std::abs(difference - gradient.data()[i]);
            if (!(off <= worst)) worst = off;  // so that a NaN counts too
            largest = std::max(largest, std::abs(difference));
        }
        CHECK(worst / largest < 1e-7);
    }
}

TEST_SUITE_END();
