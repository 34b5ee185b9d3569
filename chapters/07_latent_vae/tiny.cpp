#include "07_latent_vae/tiny.hpp"

#include <algorithm>

namespace diffusion {
namespace {

constexpr int kPoolGroups = 4, kPoolFactor = 4;  // of the norm; how much wider than a block

/// A 3x3 convolution; those that halve or double have no bias.
Conv2d conv(ParameterList& list, const std::string& name, int inputs, int outputs,
            ConvOptions options, bool bias) {
    return {list, name, inputs, outputs, 3, options, false, bias};
}

/// c x + d.
template <class T>
Var<T> moved(Var<T> x, T c, T d) {
    const Tensor<T> shift = x.tape().numbers().template make<T>(x.shape());
    fill(shift, d);
    return add(scale(x, c), x.tape().constant(shift));
}

}  // namespace

void TinyConfig::check() const {
    require(in_channels > 0 && out_channels > 0 && latent_channels > 0 && width > 0,
            "tiny autoencoder: ", in_channels, " channels in, ", out_channels, " out, ",
            latent_channels, " of the latent, ", width, " between");
    require(!encoder_blocks.empty() && encoder_blocks.size() == decoder_blocks.size(),
            "tiny autoencoder: ", encoder_blocks.size(), " levels of the encoder, ",
            decoder_blocks.size(), " of the decoder");
    for (const std::vector<int>& blocks : {encoder_blocks, decoder_blocks})
        require(std::ranges::min(blocks) >= 0, "tiny autoencoder: ", std::ranges::min(blocks),
                " blocks of a level");
    require(!pool || width % kPoolGroups == 0, "tiny autoencoder: width ", width,
            ", expected a multiple of ", kPoolGroups);
}

TinyBlock::TinyBlock(ParameterList& list, const std::string& name, int width, bool with_pool) {
    if (with_pool) {
        const int wide = kPoolFactor * width;
        pool.emplace();
        pool->widen = Conv2d(list, name + ".pool.0", width, wide, 1, {}, false, false);
        pool->norm = GroupNorm(list, name + ".pool.1", wide, kPoolGroups);
        pool->narrow = Conv2d(list, name + ".pool.3", wide, width, 1, {}, false, false);
    }
    conv1 = conv(list, name + ".conv.0", width, width, {}, true);
    conv2 = conv(list, name + ".conv.2", width, width, {}, true);
    conv3 = conv(list, name + ".conv.4", width, width, {}, true);
}

template <class T>
Var<T> TinyBlock::operator()(Var<T> x) const {
    const auto relu_of = [](Var<T> h) { return passed(relu<T>, h); };
    if (pool) {
        const Var<T> wide = passed(pool->norm, pool->widen(x));
        x = pool->narrow(relu_of(wide), {.image = x});
    }
    const Var<T> h = relu_of(passed(conv2, relu_of(conv1(x))));
    return relu_of(conv3(h, {.image = x}));
}

TinyAutoencoder::TinyAutoencoder(ParameterList& list, const std::string& prefix,
                                 const TinyConfig& config)
    : config_(config) {
    config.check();
    const int levels = static_cast<int>(config.encoder_blocks.size()), width = config.width;
    int next = 0;  // layers are numbered through, those without parameters too
    const auto name = [&](const char* half) {
        return prefix + half + ".layers." + std::to_string(next++);
    };
    const auto add_blocks = [&](Level& level, const char* half, int count, bool pool) {
        for (int b = 0; b < count; ++b) level.blocks.emplace_back(list, name(half), width, pool);
    };
    for (int i = 0; i < levels; ++i) {
        Level level;
        level.conv = i == 0 ? conv(list, name("encoder"), config.in_channels, width, {}, true)
                            : conv(list, name("encoder"), width, width, ConvOptions{2}, false);
        add_blocks(level, "encoder", config.encoder_blocks[static_cast<std::size_t>(i)],
                   config.pool && i + 1 == levels);
        down_.push_back(std::move(level));
    }
    to_latent_ = conv(list, name("encoder"), width, config.latent_channels, {}, true);

    next = 0;
    from_latent_ = conv(list, name("decoder"), config.latent_channels, width, {}, true);
    ++next;  // ReLU
    for (int i = 0; i < levels; ++i) {
        const bool last = i + 1 == levels;
        Level level;
        add_blocks(level, "decoder", config.decoder_blocks[static_cast<std::size_t>(i)],
                   config.pool && i == 0);
        if (!last) ++next;  // doubling
        level.conv =
            conv(list, name("decoder"), width, last ? config.out_channels : width, {}, last);
        up_.push_back(std::move(level));
    }
}

template <class T>
Var<T> TinyAutoencoder::encode(Var<T> x) const {
    const int factor = config_.factor();
    require(x.shape().rank == 4 && x.size(3) == config_.in_channels && x.size(1) % factor == 0 &&
                x.size(2) % factor == 0,
            "tiny autoencoder: pictures are ", x.shape(), ", expected [N,H,W,", config_.in_channels,
            "] with multiples of ", factor);
    Var<T> h = moved(x, T(0.5), T(0.5));  // its pictures are in [0, 1]
    for (const Level& level : down_) {
        h = passed(level.conv, h);
        for (const TinyBlock& block : level.blocks) h = passed(block, h);
    }
    return to_latent_(h);
}

template <class T>
Var<T> TinyAutoencoder::decode(Var<T> z) const {
    require(z.shape().rank == 4 && z.size(3) == config_.latent_channels,
            "tiny autoencoder: latents are ", z.shape(), ", expected [N,h,w,",
            config_.latent_channels, "]");
    constexpr T kMost = 3;
    Var<T> h = relu(from_latent_(scale(tanh(scale(z, 1 / kMost)), kMost)));
    for (const Level& level : up_) {
        for (const TinyBlock& block : level.blocks) h = passed(block, h);
        const bool last = &level == &up_.back();
        const Var<T> small = h;
        h = last ? level.conv(small)
                 : level.conv(doubled(small, 2 * small.size(1), 2 * small.size(2)));
        small.tape().done(small);
    }
    return moved(h, T(2), T(-1));
}

#define DIFFUSION_INSTANTIATE(T)                           \
    template Var<T> TinyBlock::operator()(Var<T>) const;   \
    template Var<T> TinyAutoencoder::encode(Var<T>) const; \
    template Var<T> TinyAutoencoder::decode(Var<T>) const;
DIFFUSION_INSTANTIATE(float)
DIFFUSION_INSTANTIATE(double)
#undef DIFFUSION_INSTANTIATE

}  // namespace diffusion
