#include "07_latent_vae/latent_set.hpp"

#include <algorithm>
#include <cmath>
#include <memory>

#include "02_gradients/tape_pool.hpp"
#include "data/shuffle.hpp"
#include "kernels/threads.hpp"
#include "tensor/random.hpp"

namespace diffusion {

LatentSet encode_posteriors(const AutoencoderModel& model, std::span<float> values,
                            Tensor<const float> pictures) {
    constexpr int kPiece = 4;
    const Shape shape = model.autoencoder.latent_shape(pictures.shape());
    LatentSet set{Array<float>(shape), Array<float>(shape)};
    TapePool<float> tapes;
    const int count = pictures.size(0);
    parallel_for((count + kPiece - 1) / kPiece, thread_count(), [&](int piece) {
        const TapePool<float>::Lent lent(tapes);
        Tape<float>& tape = lent.tape();
        tape.bind(values.data());
        const int first = piece * kPiece;
        Shape part = pictures.shape();
        part.n[0] = std::min(kPiece, count - first);
        const Tensor<float> x = tape.arena().make<float>(part);
        std::copy_n(pictures[first].data(), x.numel(), x.data());
        const Posterior<float> posterior = model.autoencoder.encode(tape.constant(x));
        const Tensor<float> mean = posterior.mean.value();
        const float* log_variance = posterior.log_variance.value().data();
        model.scale.apply(mean);
        std::copy_n(mean.data(), mean.numel(), set.mean.tensor()[first].data());
        float* deviation = set.deviation.tensor()[first].data();
        for (std::ptrdiff_t i = 0; i < mean.numel(); ++i)
            deviation[i] = static_cast<float>(model.scale.factor) * std::exp(log_variance[i] / 2);
    });
    return set;
}

Source latent_source(const LatentSet& set, int batch, std::uint64_t seed) {
    const auto shuffle = std::make_shared<Shuffle>(set.mean.shape()[0], seed);
    return [&set, shuffle, batch, seed](Arena& arena, std::int64_t step, int first, int count) {
        Shape shape = set.mean.shape();
        shape.n[0] = count;
        Batch part;
        part.x0 = arena.make<float>(shape);
        for (int i = 0; i < count; ++i) {
            const int n = shuffle->at(step * batch + first + i);
            const Tensor<float> z = part.x0[i];
            fill_normal(z, Random(seed, Purpose::augmentation, static_cast<std::uint32_t>(step),
                                  static_cast<std::uint32_t>(first + i)));
            const float *mean = set.mean.tensor()[n].data(),
                        *deviation = set.deviation.tensor()[n].data();
            for (std::ptrdiff_t k = 0; k < z.numel(); ++k)
                z.data()[k] = mean[k] + deviation[k] * z.data()[k];  // (7.6)
        }
        return part;
    };
}

}  // namespace diffusion
