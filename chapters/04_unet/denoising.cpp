#include "04_unet/denoising.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "02_gradients/tape_pool.hpp"
#include "kernels/threads.hpp"
#include "tensor/random.hpp"

namespace diffusion {
namespace {

/// Pictures that one core takes at a time: few enough that their activations stay near it, and more
/// of small ones (latents), beside which the weights of a layer are large.
int pictures_of_a_piece(int pixels) {
    return pictures_at_a_time(pixels, pixels <= 8 * 8 ? 32 : pixels <= 16 * 16 ? 16 : 8);
}

std::uint32_t narrow(std::int64_t n) {
    return static_cast<std::uint32_t>(n);
}

/// The condition that goes with a batch, as constants of the tape.
Condition<float> condition_of(Tape<float>& tape, const Batch& batch) {
    Condition<float> condition;
    if (batch.tokens) condition.tokens = tape.constant(batch.tokens);
    if (batch.pooled) condition.pooled = tape.constant(batch.pooled);
    if (batch.keep) condition.keep = batch.keep.flat();
    condition.ids = batch.ids;
    if (batch.labels) condition.labels = batch.labels.flat();
    return condition;
}

/// A moment and noise for every sample of a part of a batch, x_t, and what is wanted of it.
Noised<float> noise_batch(Tape<float>& tape, const Batch& part, const Objective& objective,
                          int batch, std::uint64_t seed, std::int64_t step, int first) {
    Arena& arena = tape.arena();
    const int count = part.x0.size(0);
    const Tensor<float> t = arena.make<float>({count});
    const Noised<float> noised{arena.make<float>(part.x0.shape()),
                               arena.make<float>(part.x0.shape()), t.flat(),
                               arena.make<float>({count}), condition_of(tape, part)};
    for (int i = 0; i < count; ++i) {
        const Drawn drawn = draw_moment(objective, batch, seed, step, first + i);
        t(i) = drawn.t;
        noised.weight(i) = drawn.weight;
        const float* x0 = part.x0[i].data();
        const Tensor<float> xt = noised.xt[i], wanted = noised.wanted[i];
        const Tensor<float> noise = wanted;  // each number makes room for what is wanted
        fill_normal(noise, Random(seed, Purpose::noise, narrow(step), narrow(first + i)));
        for (std::ptrdiff_t p = 0; p < xt.numel(); ++p) {
            const float eps = noise.data()[p];
            xt.data()[p] = diffusion::noised(drawn.level, x0[p], eps);  // (1.4)
            wanted.data()[p] = wanted_from(objective.prediction, drawn.level, x0[p], eps);
        }
    }
    return noised;
}

}  // namespace

Drawn draw_moment(const Objective& objective, int batch, std::uint64_t seed, std::int64_t step,
                  int k) {
    Random random(seed, Purpose::timestep, narrow(step), narrow(k));
    const Moment at = objective.moment((k + random.uniform()) / batch);  // (4.15)
    return {static_cast<float>(at.t), at.level.as<float>(),
            static_cast<float>(objective.weight(at))};
}

void SampleErrors::take(int first, std::span<const float> times, Tensor<const float> of_sample) {
    for (std::size_t i = 0; i < times.size(); ++i) {
        const std::size_t k = static_cast<std::size_t>(first) + i;
        t.at(k) = static_cast<double>(times[i]);
        error.at(k) = static_cast<double>(of_sample.data()[i]);
    }
}

Trainer::Loss denoising_loss(NetworkOf<float> network, Source source, Objective objective,
                             int batch, std::uint64_t seed, SampleErrors* samples) {
    return [=, network = std::move(network), source = std::move(source),
            objective = std::move(objective)](Tape<float>& tape, std::int64_t step, int first,
                                              int count) {
        const Batch part = source(tape.arena(), step, first, count);
        const Noised<float> noised = noise_batch(tape, part, objective, batch, seed, step, first);
        const WeightedError<float> error = network_loss(network, tape, noised);
        if (samples != nullptr) samples->take(first, noised.t, error.of_sample);
        return error.loss;
    };
}

Denoiser<float> network_denoiser(NetworkOf<float> network, Prediction prediction,
                                 std::span<float> values, const Batch& condition) {
    const auto tapes = std::make_shared<TapePool<float>>();
    return [=, network = std::move(network), condition = without_pictures(condition)](
               Tensor<const float> xt, const Moment& at, Tensor<float> x0) {
        const int images = xt.size(0), threads = in_parallel() ? 1 : thread_count();
        const int most = pictures_of_a_piece(pixels_of(xt.shape())),
                  size = std::clamp((images + threads - 1) / threads, 1, most),
                  pieces = (images + size - 1) / size;
        check_level(prediction, at.level);
        const LevelOf<float> level = at.level.as<float>();
        parallel_for(pieces, threads, [&](int piece) {
            const TapePool<float>::Lent lent(*tapes);
            Tape<float>& tape = lent.tape();
            const int first = piece * size, count = std::min(size, images - first);
            Shape shape = xt.shape();
            shape.n[0] = count;
            tape.bind(values.data());
            const Tensor<float> x = tape.arena().make<float>(shape);
            std::copy_n(xt[first].data(), x.numel(), x.data());
            const Tensor<float> times = tape.arena().make<float>({count});
            std::fill(times.begin(), times.end(), static_cast<float>(at.t));
            const Batch with = part_of(condition, first, count);
            const Tensor<float> said =
                network(tape.constant(x), times.flat(), condition_of(tape, with)).value();
            float* to = x0[first].data();
            for (std::ptrdiff_t p = 0; p < said.numel(); ++p)
                to[p] = x0_from(prediction, level, x.data()[p], said.data()[p]);
        });
    };
}

}  // namespace diffusion
