#include "07_latent_vae/latent_set.hpp"

#include <algorithm>
#include <cmath>
#include <memory>

#include "07_latent_vae/pieces.hpp"
#include "data/shuffle.hpp"
#include "tensor/random.hpp"

namespace diffusion {

LatentSet encode_posteriors(const AutoencoderModel& model, std::span<float> values,
                            Tensor<const float> pictures) {
    const Shape shape = model.autoencoder.latent_shape(pictures.shape());
    LatentSet set{Array<float>(shape), Array<float>(shape)};
    const auto factor = static_cast<float>(model.scale.factor);
    in_pieces(values, pictures, pixels_of(pictures.shape()), [&](int first, Var<float> x) {
        const Posterior<float> posterior = model.autoencoder.encode(x);
        const Tensor<float> mean = posterior.mean.value();
        model.scale.apply(mean);
        std::ranges::copy(mean, set.mean.tensor()[first].data());
        std::ranges::transform(posterior.log_variance.value(), set.deviation.tensor()[first].data(),
                               [=](float v) { return factor * std::exp(v / 2); });
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
