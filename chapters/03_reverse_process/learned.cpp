#include "03_reverse_process/learned.hpp"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numbers>

#include "01_forward_noising/q_sample.hpp"
#include "02_gradients/optimizer.hpp"
#include "02_gradients/tape_pool.hpp"
#include "tensor/random.hpp"

namespace diffusion {

Var<float> NoisePredictor::operator()(Var<float> features) const {
    return out(silu(middle2(silu(middle1(silu(in(features)))))));
}

void features_of(Tensor<const float> x, std::span<const Moment> at, int T, Tensor<float> out) {
    require(x.rank() == 2 && x.size(1) == 2 && std::ssize(at) == x.size(0) &&
                out.shape() == Shape{x.size(0), NoisePredictor::kFeatures},
            "features_of: x is ", x.shape(), ", out is ", out.shape());
    for (int n = 0; n < x.size(0); ++n) {
        const Moment& moment = at[static_cast<std::size_t>(n)];
        require(moment.level.a > 0 && moment.level.s > 0,
                "features_of: log SNR is not finite at t = ", moment.t,
                ", where a = ", moment.level.a, " and s = ", moment.level.s);
        const double part = moment.t / T;
        int next = 0;
        const auto put = [&](double value) { out(n, next++) = static_cast<float>(value); };
        for (int d = 0; d < 2; ++d) {
            const double place = static_cast<double>(x(n, d));
            put(place);
            for (const double frequency : {1.5, 3.0, 6.0}) {
                put(std::cos(frequency * place));
                put(std::sin(frequency * place));
            }
        }
        put(part);
        put(2 * std::log(moment.level.a / moment.level.s) / 10);  // (1.10)
        for (int k = 1; k <= 4; ++k) {
            put(std::cos(k * std::numbers::pi * part));
            put(std::sin(k * std::numbers::pi * part));
        }
    }
}

Array<float> learn(const NoisePredictor& net, const GaussianMixture& shape,
                   const Schedule& schedule, int steps, std::uint64_t seed) {
    constexpr int kBatch = 256;
    Array<float> values(net.list.block()), gradient(net.list.block());
    net.list.initialise<float>(values, seed);
    Array<float> average = values;
    AdamW<float> adam(values.size(), {});
    Arena arena;
    Tape<float> tape(arena);
    std::vector<int> t(kBatch);
    for (int step = 0; step < steps; ++step) {
        tape.reset();
        std::fill(gradient.begin(), gradient.end(), 0.0f);
        tape.bind(values.data(), gradient.data());
        const Shape points{kBatch, 2};
        const Tensor<float> x0 = arena.make<float>(points), eps = arena.make<float>(points),
                            xt = arena.make<float>(points);
        const auto s = static_cast<std::uint32_t>(step);
        draw(shape, seed, s, x0);
        fill_normal(eps, Random(seed, Purpose::noise, s));
        Random times(seed, Purpose::timestep, s);
        for (int& time : t)
            time = 1 + static_cast<int>(times.below(static_cast<std::uint32_t>(schedule.steps())));
        q_sample<float>(x0, t, eps, schedule, xt);
        const Tensor<float> input = arena.make<float>({kBatch, NoisePredictor::kFeatures});
        features_of(xt, moments(schedule, t), schedule.steps(), input);
        tape.backward(
            mse(net(tape.constant(input)), tape.constant(eps)));  // (3.9) without its weight
        clip_gradient<float>(gradient, 1.0);
        const double way = static_cast<double>(step) / steps;
        adam.step(values, gradient, 2e-3 * 0.5 * (1 + std::cos(std::numbers::pi * way)));
        ema_update<float>(average, values, ema_rate(step + 1, 0.995));
    }
    return average;
}

Denoiser<float> learned_denoiser(const NoisePredictor& net, std::span<float> values, int T) {
    const auto tapes = std::make_shared<TapePool<float>>();
    return [&net, values, T, tapes](Tensor<const float> xt, const Moment& at, Tensor<float> x0) {
        const TapePool<float>::Lent lent(*tapes);
        Tape<float>& tape = lent.tape();
        tape.bind(values.data());
        const std::vector<Moment> same(static_cast<std::size_t>(xt.size(0)), at);
        const Tensor<float> input =
            tape.arena().make<float>({xt.size(0), NoisePredictor::kFeatures});
        features_of(xt, same, T, input);
        const Tensor<float> eps = net(tape.constant(input)).value();
        for (std::ptrdiff_t i = 0; i < eps.numel(); ++i) {
            x0.data()[i] =
                static_cast<float>(x0_from_eps(at.level, static_cast<double>(xt.data()[i]),
                                               static_cast<double>(eps.data()[i])));  // (3.11)
        }
    };
}

}  // namespace diffusion
