#include "07_latent_vae/coding.hpp"

#include <algorithm>
#include <cmath>
#include <memory>

#include "07_latent_vae/pieces.hpp"
#include "07_latent_vae/tiny_file.hpp"

namespace diffusion {
namespace {

/// f of pictures or latents x [N, ...], as one array of the shape `result`.
template <class F>
Array<float> made(std::span<float> values, Tensor<const float> x, const Shape& result, int pixels,
                  F f) {
    Array<float> y(result);
    in_pieces(values, x, pixels, [&](int first, Var<float> part) {
        std::ranges::copy(f(part).value(), y.tensor()[first].data());
    });
    return y;
}

/// A coder's functions, for a network with encode(Var) and decode(Var).
template <class Encode, class Decode>
Coder make_coder(Coder coder, std::span<float> values, LatentScale scale, Encode encode,
                 Decode decode) {
    const int factor = coder.factor, latent = coder.latent_channels, out = coder.out_channels;
    coder.encode = [=](Tensor<const float> x) {
        require(x.rank() == 4 && x.size(1) % factor == 0 && x.size(2) % factor == 0,
                "encode: pictures are ", x.shape(), ", expected [N,H,W,C] with multiples of ",
                factor);
        const Shape shape{x.size(0), x.size(1) / factor, x.size(2) / factor, latent};
        Array<float> z = made(values, x, shape, x.size(1) * x.size(2), encode);
        scale.apply(z.tensor());
        return z;
    };
    coder.decode = [=](Tensor<const float> scaled) {
        require(scaled.rank() == 4, "decode: latents are ", scaled.shape(), ", expected [N,h,w,c]");
        Array<float> z(scaled.shape());
        std::ranges::copy(scaled, z.begin());
        scale.undo(z.tensor());
        const Shape shape{z.shape()[0], factor * z.shape()[1], factor * z.shape()[2], out};
        return made(values, z.tensor(), shape, shape[1] * shape[2], decode);
    };
    return coder;
}

std::string described(const char* name, int factor, int channels) {
    return std::string(name) + ", latents " + std::to_string(factor) + " times smaller with " +
           std::to_string(channels) + " channels";
}

double psnr(Tensor<const float> picture, Tensor<const float> other) {
    double square = 0;
    for (std::ptrdiff_t i = 0; i < picture.numel(); ++i) {
        const double d =
            static_cast<double>(picture.data()[i]) - static_cast<double>(other.data()[i]);
        square += d * d;
    }
    return 10 * std::log10(4 * static_cast<double>(picture.numel()) / square);  // (7.17)
}

}  // namespace

Coder coder_of(const AutoencoderModel& model, const LatentScale& scale, std::span<float> values,
               std::shared_ptr<const void> owner) {
    const Autoencoder& network = model.autoencoder;
    const AutoencoderConfig& config = network.config();
    return make_coder(
        {.name = described(kAutoencoderKL, config.factor(), config.latent_channels),
         .data = model.data,
         .in_channels = config.in_channels,
         .out_channels = config.out_channels,
         .latent_channels = config.latent_channels,
         .factor = config.factor()},
        values, scale, [&network, owner](Var<float> x) { return network.encode(x).mean; },
        [&network, owner](Var<float> z) { return network.decode(z); });
}

Coder load_coder(const std::filesystem::path& folder) {
    const std::filesystem::path own = autoencoder_folder(folder);
    if (Config(own / kConfigFile).class_name() != kAutoencoderTiny) {
        const auto loaded = std::make_shared<LoadedAutoencoder>(load_autoencoder(own));
        return coder_of(loaded->model, loaded->model.scale, loaded->values, loaded);
    }
    const auto loaded = std::make_shared<LoadedTiny>(load_tiny(own));
    const TinyConfig& config = loaded->model.autoencoder.config();
    return make_coder(
        {.name = described(kAutoencoderTiny, config.factor(), config.latent_channels),
         .data = "",
         .in_channels = config.in_channels,
         .out_channels = config.out_channels,
         .latent_channels = config.latent_channels,
         .factor = config.factor()},
        loaded->values, kUnscaled,
        [loaded](Var<float> x) { return loaded->model.autoencoder.encode(x); },
        [loaded](Var<float> z) { return loaded->model.autoencoder.decode(z); });
}

double mean_psnr(Tensor<const float> pictures, Tensor<const float> others) {
    require_same_shape("mean_psnr", pictures, others);
    double sum = 0;
    for (int n = 0; n < pictures.size(0); ++n) sum += psnr(pictures[n], others[n]);
    return sum / pictures.size(0);
}

}  // namespace diffusion
