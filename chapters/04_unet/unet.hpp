#pragma once
// The UNet that predicts what was added to an image (Ronneberger, Fischer, Brox 2015,
// arXiv:1505.04597; Ho, Jain, Abbeel 2020).
#include <optional>
#include <span>
#include <vector>

#include "04_unet/layers.hpp"

namespace diffusion {

struct UNetConfig {
    int channels = 1;                          ///< of the image
    int base = 32;                             ///< channels of the first level; a multiple of 8
    std::vector<int> multipliers = {1, 2, 2};  ///< channels of each level, in units of base
    int heads = 4;
};

/// (4.7) t as `width` numbers: cos(t f_i), then sin(t f_i), with f_i = 10000^(-i / (width / 2))
/// (Vaswani et al. 2017). t has one entry per image; result [N, width].
template <class T>
Tensor<T> timestep_embedding(std::span<const int> t, int width, Arena& arena);

/// Two convolutions around a shift that depends on the time, and a way past them (He et al. 2015,
/// arXiv:1512.03385).
struct ResBlock {
    ResBlock(ParameterList& list, const std::string& name, int inputs, int outputs, int time_width);

    /// x is one image per sample, or two to be read as one.
    template <class T>
    Var<T> operator()(Joined<T> x, Var<T> silu_time) const;
    template <class T>
    Var<T> operator()(Var<T> x, Var<T> silu_time) const {
        return (*this)(Joined<T>(x), silu_time);
    }

    GroupNorm norm1, norm2;
    Conv2d conv1, conv2;
    Linear time;
    std::optional<Conv2d> skip;  ///< 1x1, where the number of channels changes
};

/// Every pixel looks at every other one of its image; the result is added to what was there.
struct AttentionBlock {
    AttentionBlock(ParameterList& list, const std::string& name, int channels, int heads);

    template <class T>
    Var<T> operator()(Var<T> x) const;

    GroupNorm norm;
    Conv2d qkv, out;
    int heads;
};

class UNet {
public:
    explicit UNet(const UNetConfig& config);

    /// x [N,H,W,channels] and its times t to a tensor like x.
    template <class T>
    Var<T> operator()(Var<T> x, std::span<const int> t) const;

    const UNetConfig& config() const { return config_; }
    const ParameterList& parameters() const { return list_; }

private:
    struct Level {
        std::vector<ResBlock> blocks;
        std::optional<Conv2d>
            resample;  ///< to the next level: down with stride 2, or after doubling up
    };

    UNetConfig config_;
    ParameterList list_;
    Linear time1_, time2_;
    Conv2d in_, out_;
    std::vector<Level> down_, up_;
    std::optional<ResBlock> middle1_, middle2_;
    std::optional<AttentionBlock> attention_;
    GroupNorm norm_;
};

}  // namespace diffusion
