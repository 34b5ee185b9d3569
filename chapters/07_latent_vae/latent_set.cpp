#include "07_latent_vae/latent_set.hpp"

#include <algorithm>
#include <cmath>
#include <memory>

#include "07_latent_vae/pieces.hpp"
#include "data/shuffle.hpp"

namespace diffusion {

LatentSet encode_posteriors(const AutoencoderModel& model, const LatentScale& scale,
                            std::span<float> values, Tensor<const float> pictures) {
    const Shape shape = model.autoencoder.latent_shape(pictures.shape());
    LatentSet set{Array<float>(shape), Array<float>(shape)};
    const auto factor = static_cast<float>(scale.factor);
    in_pieces(values, pictures, pixels_of(pictures.shape()), [&](int first, Var<float> x) {
        const Posterior<float> posterior = model.autoencoder.encode(x);
        const Tensor<float> mean = posterior.mean.value();
        scale.apply(mean);
        std::ranges::copy(mean, set.mean.tensor()[first].data());
        std::ranges::transform(posterior.log_variance.value(), set.deviation.tensor()[first].data(),
                               [=](float v) { return factor * std::exp(v / 2); });
    });
    return set;
}

void draw_latent(const LatentSet& set, int n, Random random, Tensor<float> z) {
    fill_normal(z, random);
    const float *mean = set.mean.tensor()[n].data(), *deviation = set.deviation.tensor()[n].data();
    for (std::ptrdiff_t i = 0; i < z.numel(); ++i)
        z.data()[i] = mean[i] + deviation[i] * z.data()[i];  // (7.6)
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
            draw_latent(set, n,
                        Random(seed, Purpose::augmentation, static_cast<std::uint32_t>(step),
                               static_cast<std::uint32_t>(first + i)),
                        part.x0[i]);
        }
        return part;
    };
}

}  // namespace diffusion
