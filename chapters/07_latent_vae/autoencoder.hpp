#pragma once
// The autoencoder of latent diffusion (Rombach, Blattmann et al. 2021, arXiv:2112.10752), with the
// settings and the names of diffusers' AutoencoderKL: chapter 4's blocks without a time, the way
// down as the encoder, the way up as the decoder, and no shortcuts from one to the other.
#include <optional>
#include <string>
#include <vector>

#include "04_unet/unet.hpp"
#include "07_latent_vae/latents.hpp"

namespace diffusion {

/// The names in brackets are diffusers'.
struct AutoencoderConfig {
    int in_channels = 3, out_channels = 3;  ///< of the picture, and of what is made from a latent
    int latent_channels = 4;
    std::vector<int> channels = {16, 32, 64, 64};  ///< of each level [block_out_channels]
    int blocks = 1;                ///< residual blocks of a level; the decoder has one more
                                   ///< [layers_per_block]
    int groups = 1;                ///< of all group norms [norm_num_groups]
    double eps = 1e-6;             ///< of all group norms; no setting there
    bool middle_attention = true;  ///< at the coarsest level [mid_block_add_attention]
    bool quant = true;             ///< a 1x1 convolution after the encoder [use_quant_conv]
    bool post_quant = true;        ///< and before the decoder [use_post_quant_conv]

    static constexpr int kMostLevels = 14, kWidest = 65'536;  ///< of a layer

    int levels() const { return static_cast<int>(channels.size()); }
    int channels_at(int level) const { return channels[static_cast<std::size_t>(level)]; }
    /// A latent has 1 / factor() of the rows and columns of its picture.
    int factor() const { return 1 << (levels() - 1); }
    bool operator==(const AutoencoderConfig&) const = default;
    /// Fails, naming the setting, on numbers that do not fit together.
    void check() const;
};

/// Two residual blocks, and attention with one head between them.
struct MiddleBlock {
    MiddleBlock(ParameterList& list, const std::string& name, int channels, bool attends,
                const UNetConfig& norms);

    template <class T>
    Var<T> operator()(Var<T> x) const;

    ResBlock first, second;
    std::optional<AttentionBlock> attention;
};

class Autoencoder {
public:
    /// Registers its parameters, with diffusers' names after `prefix`.
    Autoencoder(ParameterList& list, const std::string& prefix, const AutoencoderConfig& config);

    /// Pictures [N,H,W,in_channels] to the posteriors of their latents. H and W are multiples of
    /// factor().
    template <class T>
    Posterior<T> encode(Var<T> x) const;

    /// Latents [N,h,w,latent_channels], not scaled, to pictures [N,factor h,factor w,out_channels].
    template <class T>
    Var<T> decode(Var<T> z) const;

    const AutoencoderConfig& config() const { return config_; }
    /// Of the latents of some pictures.
    Shape latent_shape(const Shape& pictures) const;

private:
    struct Level {
        std::vector<ResBlock> blocks;
        std::optional<Conv2d> resample;  ///< to the next level
    };
    struct Half {
        Conv2d in, out;
        std::vector<Level> levels;  ///< in the order in which they are passed
        std::optional<MiddleBlock> middle;
        GroupNorm norm;
    };
    /// `count` residual blocks of one width.
    Level make_level(ParameterList& list, const std::string& name, int inputs, int outputs,
                     int count) const;

    AutoencoderConfig config_;
    Half encoder_, decoder_;
    std::optional<Conv2d> quant_, post_quant_;
};

}  // namespace diffusion
