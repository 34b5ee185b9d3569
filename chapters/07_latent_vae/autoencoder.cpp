#include "07_latent_vae/autoencoder.hpp"

#include <algorithm>

#include "07_latent_vae/autoencoder_forward.hpp"

namespace diffusion {
namespace {

/// What chapter 4's blocks read of their network's settings.
UNetConfig norms_of(const AutoencoderConfig& config) {
    UNetConfig norms;
    norms.groups = config.groups;
    norms.eps = config.eps;
    return norms;
}

}  // namespace

void AutoencoderConfig::check() const {
    require(std::min({in_channels, out_channels, latent_channels}) > 0 &&
                std::max({in_channels, out_channels, latent_channels}) <= kWidest,
            "autoencoder: ", in_channels, " channels in, ", out_channels, " out, ", latent_channels,
            " of the latent");
    require(!channels.empty() && levels() <= kMostLevels, "autoencoder: ", channels.size(),
            " levels, expected 1 to ", kMostLevels);
    require(blocks > 0, "autoencoder: levels of ", blocks, " blocks, expected 1 or more");
    require(groups > 0 && eps > 0, "autoencoder: ", groups, " groups, eps ", eps);
    for (int i = 0; i < levels(); ++i)
        require(channels_at(i) > 0 && channels_at(i) <= kWidest && channels_at(i) % groups == 0,
                "autoencoder: level ", i, " has ", channels_at(i),
                " channels, expected a multiple of ", groups, ", at most ", kWidest);
}

MiddleBlock::MiddleBlock(ParameterList& list, const std::string& name, int channels, bool attends,
                         const UNetConfig& norms)
    : first(list, name + ".resnets.0", channels, channels, 0, norms),
      second(list, name + ".resnets.1", channels, channels, 0, norms) {
    if (attends) attention.emplace(list, name + ".attentions.0", channels, 1, norms);
}

Autoencoder::Level Autoencoder::make_level(ParameterList& list, const std::string& name, int inputs,
                                           int outputs, int count) const {
    Level level;
    for (int b = 0; b < count; ++b)
        level.blocks.emplace_back(list, name + ".resnets." + std::to_string(b),
                                  b == 0 ? inputs : outputs, outputs, 0, norms_of(config_));
    return level;
}

Autoencoder::Autoencoder(ParameterList& list, const std::string& prefix,
                         const AutoencoderConfig& config)
    : config_(config) {
    config.check();
    const int levels = config.levels(), coarsest = config.channels.back();
    const std::string down = prefix + "encoder", up = prefix + "decoder";
    const auto norm = [&](const std::string& name, int channels) {
        return GroupNorm(list, name, channels, config.groups, config.eps);
    };
    const auto middle = [&](const std::string& name) {
        return MiddleBlock(list, name, coarsest, config.middle_attention, norms_of(config));
    };

    int width = config.channels_at(0);
    encoder_.in = Conv2d(list, down + ".conv_in", config.in_channels, width, 3);
    for (int i = 0; i < levels; ++i) {
        const std::string name = down + ".down_blocks." + std::to_string(i);
        Level level = make_level(list, name, width, config.channels_at(i), config.blocks);
        width = config.channels_at(i);
        if (i + 1 < levels)
            level.resample.emplace(list, name + ".downsamplers.0.conv", width, width, 3,
                                   ConvOptions{2, Padding::after});
        encoder_.levels.push_back(std::move(level));
    }
    encoder_.middle.emplace(middle(down + ".mid_block"));
    encoder_.norm = norm(down + ".conv_norm_out", width);
    const int moments = 2 * config.latent_channels;
    encoder_.out = Conv2d(list, down + ".conv_out", width, moments, 3);
    if (config.quant) quant_.emplace(list, prefix + "quant_conv", moments, moments, 1);

    const int latents = config.latent_channels;
    if (config.post_quant)
        post_quant_.emplace(list, prefix + "post_quant_conv", latents, latents, 1);
    decoder_.in = Conv2d(list, up + ".conv_in", latents, width, 3);
    decoder_.middle.emplace(middle(up + ".mid_block"));
    for (int i = levels - 1; i >= 0; --i) {
        const std::string name = up + ".up_blocks." + std::to_string(levels - 1 - i);
        Level level = make_level(list, name, width, config.channels_at(i), config.blocks + 1);
        width = config.channels_at(i);
        if (i > 0) level.resample.emplace(list, name + ".upsamplers.0.conv", width, width, 3);
        decoder_.levels.push_back(std::move(level));
    }
    decoder_.norm = norm(up + ".conv_norm_out", width);
    decoder_.out = Conv2d(list, up + ".conv_out", width, config.out_channels, 3);
}

Shape Autoencoder::latent_shape(const Shape& pictures) const {
    const int factor = config_.factor();
    require(pictures.rank == 4 && pictures[3] == config_.in_channels, "autoencoder: pictures are ",
            pictures, ", expected [N,H,W,", config_.in_channels, "]");
    require(pictures[1] % factor == 0 && pictures[2] % factor == 0, "autoencoder: pictures of ",
            pictures[1], " x ", pictures[2], ", expected multiples of ", factor);
    return {pictures[0], pictures[1] / factor, pictures[2] / factor, config_.latent_channels};
}

#define DIFFUSION_INSTANTIATE(T)                             \
    template Var<T> MiddleBlock::operator()(Var<T>) const;   \
    template Posterior<T> Autoencoder::encode(Var<T>) const; \
    template Var<T> Autoencoder::decode(Var<T>) const;
DIFFUSION_INSTANTIATE(float)
DIFFUSION_INSTANTIATE(double)
#undef DIFFUSION_INSTANTIATE

}  // namespace diffusion
