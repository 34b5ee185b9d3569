#pragma once
// A small autoencoder that imitates a large one: its latents are the large one's, scaled already
// (Boer Bohan's TAESD, https://github.com/madebyollin/taesd), with the names of diffusers'
// AutoencoderTiny. Convolutions and ReLU alone, no norms but in its one variant.
#include <optional>
#include <string>
#include <vector>

#include "04_unet/layers.hpp"

namespace diffusion {

/// The names in brackets are diffusers'.
struct TinyConfig {
    int in_channels = 3, out_channels = 3;
    int latent_channels = 4;
    int width = 64;  ///< of all layers between [encoder_block_out_channels, decoder_..]
    /// Blocks of each level, in the order in which they are passed [num_encoder_blocks, ..].
    std::vector<int> encoder_blocks = {1, 3, 3, 3}, decoder_blocks = {3, 3, 3, 1};
    /// TAEF2's: the blocks of the coarsest level see the mean of the picture through a group norm;
    /// no class of diffusers, and our own key.
    bool pool = false;

    int factor() const { return 1 << (encoder_blocks.size() - 1); }
    bool operator==(const TinyConfig&) const = default;
    /// Fails, naming the setting, on numbers that do not fit together.
    void check() const;
};

/// ReLU(x + three convolutions with ReLU between them); with a pool, x is first added to.
struct TinyBlock {
    TinyBlock(ParameterList& list, const std::string& name, int width, bool pool);

    template <class T>
    Var<T> operator()(Var<T> x) const;

    struct Pool {
        Conv2d widen, narrow;
        GroupNorm norm;
    };
    std::optional<Pool> pool;
    Conv2d conv1, conv2, conv3;
};

class TinyAutoencoder {
public:
    TinyAutoencoder(ParameterList& list, const std::string& prefix, const TinyConfig& config);

    /// Pictures [N,H,W,in_channels] in [-1, 1] to latents; H and W are multiples of factor().
    template <class T>
    Var<T> encode(Var<T> x) const;
    /// Latents z [N,h,w,latent_channels], of which it reads 3 tanh(z / 3), to pictures.
    template <class T>
    Var<T> decode(Var<T> z) const;

    const TinyConfig& config() const { return config_; }

private:
    struct Level {
        Conv2d conv;  ///< before the blocks in the encoder, after them in the decoder
        std::vector<TinyBlock> blocks;
    };
    TinyConfig config_;
    std::vector<Level> down_, up_;
    Conv2d to_latent_, from_latent_;
};

}  // namespace diffusion
