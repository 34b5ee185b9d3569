#pragma once
// The UNet that predicts what was added to an image (Ronneberger, Fischer, Brox 2015,
// arXiv:1505.04597; Ho, Jain, Abbeel 2020), with the settings of diffusers' UNet2DModel and
// UNet2DConditionModel. What stands beside the convolutions of a level, attention or what a later
// chapter makes of it, is a template argument.
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "04_unet/condition.hpp"
#include "04_unet/layers.hpp"

namespace diffusion {

/// How a time becomes numbers (4.7).
struct TimeEmbedding {
    bool cosine_first = true;  ///< diffusers: flip_sin_to_cos
    double shift = 0;          ///< of the divisor width / 2 - shift; diffusers: freq_shift
    double period = 10000;     ///< of the slowest clock, in units of 2 pi
    bool operator==(const TimeEmbedding&) const = default;
};

/// The names in brackets are diffusers'.
struct UNetConfig {
    int in_channels = 1, out_channels = 1;  ///< of the image, and of what is predicted
    std::vector<int> channels = {32, 64,
                                 64};  ///< of each level, the finest first [block_out_channels]
    int blocks = 2;                    ///< residual blocks of a level [layers_per_block]
    int groups = 8;                    ///< of all group norms [norm_num_groups]
    double eps = 1e-5;                 ///< of all group norms [norm_eps]
    std::vector<int> heads = {4};      ///< of attention, for each level or one for all
    std::vector<bool> attention = {};  ///< after each block of a level; none: at no level
    std::vector<bool> up_attention =
        {};                        ///< on the way up, where it differs; none: as on the way down
    bool middle_attention = true;  ///< at the coarsest level [add_attention]
    Padding padding = Padding::around;  ///< when images are made smaller [downsample_padding]
    TimeEmbedding time = {};
    int classes = 0;       ///< labels that it may be told [num_class_embeds]
    int pooled_width = 0;  ///< of a vector that it may be told, 0: none
    // For blocks that read a text (chapter 8); this chapter's own take none of it.
    int cross_width = 0;  ///< of the text's tokens [cross_attention_dim]
    int depth = 1;        ///< transformer blocks in a place [transformer_layers_per_block]
    bool linear_projection = false;  ///< [use_linear_projection]

    int levels() const { return static_cast<int>(channels.size()); }
    int channels_at(int level) const { return channels[static_cast<std::size_t>(level)]; }
    int heads_at(int level) const {
        return heads[heads.size() == 1 ? 0 : static_cast<std::size_t>(level)];
    }
    bool attends(int level) const {
        return !attention.empty() && attention[static_cast<std::size_t>(level)];
    }
    bool attends_on_way_up(int level) const {
        return up_attention.empty() ? attends(level)
                                    : up_attention[static_cast<std::size_t>(level)];
    }
    bool attends_somewhere(int level) const {
        return attends(level) || attends_on_way_up(level) ||
               (middle_attention && level + 1 == levels());
    }
    bool operator==(const UNetConfig&) const = default;
    /// Fails, naming the setting, on numbers that do not fit together.
    void check() const;
};

/// Chapter 4's setting: levels of base times each multiplier, 8 groups, attention in the middle.
UNetConfig unet_config(int image_channels, int base, const std::vector<int>& multipliers,
                       int heads = 4);

/// (4.7) t as `width` numbers: cos(t f_i), then sin(t f_i), with f_i = period^(-i / (width / 2 -
/// shift)) (Vaswani et al. 2017). t has one entry per image; result [N, width].
template <class T>
Tensor<T> timestep_embedding(std::span<const float> t, int width, const TimeEmbedding& how,
                             Arena& arena);

/// Two convolutions around a shift that depends on the time, and a shortcut around them (He et al.
/// 2015, arXiv:1512.03385).
struct ResBlock {
    ResBlock(ParameterList& list, const std::string& name, int inputs, int outputs, int time_width,
             const UNetConfig& config);

    /// x is one image per sample, or two to be read as one.
    template <class T>
    Var<T> operator()(const ConvInput<T>& x, Var<T> silu_time) const;
    template <class T>
    Var<T> operator()(Var<T> x, Var<T> silu_time = {}) const {
        return (*this)(ConvInput<T>(x), silu_time);
    }

    GroupNorm norm1, norm2;
    Conv2d conv1, conv2;
    std::optional<Linear> time;  ///< none in a network that knows no time: time_width 0
    std::optional<Conv2d> skip;  ///< 1x1, where the number of channels changes
};

/// Every pixel looks at every other one of its image; the result is added to what was there.
struct AttentionBlock {
    AttentionBlock(ParameterList& list, const std::string& name, int channels, int heads,
                   const UNetConfig& config);

    /// It reads no condition; blocks of later chapters do.
    template <class T>
    Var<T> operator()(Var<T> x, const Condition<T>& condition = {}) const;

    GroupNorm norm;
    Conv2d qkv, out;
    int heads;
};

/// The network. `Mixer` is what stands where pixels are to see each other: it is made from
/// (ParameterList&, name, channels, heads, config), and takes (Var<T>, const Condition<T>&) to a
/// tensor like its input.
template <class Mixer>
class UNetOf {
public:
    /// Registers its parameters, with diffusers' names after `prefix`.
    UNetOf(ParameterList& list, const std::string& prefix, const UNetConfig& config);

    /// x [N,H,W,in_channels] and its times t to [N,H,W,out_channels].
    template <class T>
    Var<T> operator()(Var<T> x, std::span<const float> t,
                      const std::type_identity_t<Condition<T>>& condition = {}) const;

    const UNetConfig& config() const { return config_; }

private:
    struct Level {
        std::vector<ResBlock> blocks;
        std::vector<Mixer> mixers;  ///< one after each block, or none
        std::optional<Conv2d>
            resample;  ///< to the next level: down with stride 2, or after doubling up
    };

    /// Time, and what else belongs to the whole picture, as one vector, after SiLU.
    template <class T>
    Var<T> embed(Tape<T>& tape, std::span<const float> t, const Condition<T>& condition) const;

    UNetConfig config_;
    Linear time1_, time2_, pooled_;
    Parameter classes_;
    Conv2d in_, out_;
    std::vector<Level> down_, up_;
    std::optional<ResBlock> middle1_, middle2_;
    std::optional<Mixer> middle_mixer_;
    GroupNorm norm_;
};

/// With this chapter's attention.
using UNet = UNetOf<AttentionBlock>;

}  // namespace diffusion
