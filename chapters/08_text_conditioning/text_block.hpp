#pragma once
// What stands in a UNet where pixels are to read a text (Rombach, Blattmann et al. 2021,
// arXiv:2112.10752): diffusers' Transformer2DModel.
#include <string>
#include <vector>

#include "04_unet/unet.hpp"
#include "08_text_conditioning/layers.hpp"

namespace diffusion {

/// Three steps, each added to what was there, each behind a norm of its own: pixels look at pixels,
/// pixels look at the text's tokens, and every pixel by itself goes through two linear layers with
/// a gate. Pixels are [N,H,W,C]; their linear layers are convolutions with K = 1, which add what
/// there was before in the same pass.
struct TransformerLayer {
    TransformerLayer(ParameterList& list, const std::string& name, int channels, int heads,
                     int cross_width);

    template <class T>
    Var<T> operator()(Var<T> x, const Condition<T>& condition) const;

    LayerNorm norm1, norm2, norm3;
    Conv2d q1, k1, v1, out1;  ///< of pixels
    Conv2d q2, out2;
    Linear k2, v2;        ///< of tokens
    Conv2d wide, narrow;  ///< with the gate between them
    int heads;
};

/// Such layers between two linear ones, the whole added to its input. The text is condition.tokens
/// [N,S,D]; where condition.keep is 0 a token is not seen.
struct TextBlock {
    TextBlock(ParameterList& list, const std::string& name, int channels, int heads,
              const UNetConfig& config);

    template <class T>
    Var<T> operator()(Var<T> x, const Condition<T>& condition) const;

    GroupNorm norm;
    Conv2d in, out;
    std::vector<TransformerLayer> layers;
};

/// Chapter 4's UNet, told a text.
using TextUNet = UNetOf<TextBlock>;

}  // namespace diffusion
