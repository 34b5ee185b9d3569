#pragma once
// CLIP (Radford et al. 2021, arXiv:2103.00020): a transformer that reads texts, one that looks at
// pictures, and one space for what both make of them. Names and settings are those of the library
// transformers: CLIPTextModel, CLIPModel.
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "04_unet/attention.hpp"
#include "04_unet/layers.hpp"
#include "08_text_conditioning/layers.hpp"
#include "kernels/gelu.hpp"

namespace diffusion {

/// The names in brackets are the library's.
struct ClipTransformerConfig {
    int width = 128;        ///< channels of a token [hidden_size]
    int inner = 512;        ///< channels between the two linear layers [intermediate_size]
    int layers = 4;         ///< [num_hidden_layers]
    int heads = 4;          ///< [num_attention_heads]
    Gelu gelu = Gelu::erf;  ///< [hidden_act]
    double eps = 1e-5;      ///< of all norms [layer_norm_eps]
    bool operator==(const ClipTransformerConfig&) const = default;
    /// Fails, naming the setting, on numbers that do not fit together.
    void check() const;
};
struct ClipTextConfig {
    ClipTransformerConfig transformer = {};
    int vocabulary = 1024;  ///< [vocab_size]
    int length = 32;        ///< the most tokens of a text [max_position_embeddings]
    /// The token that ends a text, whose place tells what the text as a whole says; -1: the one
    /// with the largest id, as the first models had it [eos_token_id; 2 means that].
    int end = -1;
    bool operator==(const ClipTextConfig&) const = default;
    void check() const;
};
struct ClipVisionConfig {
    ClipTransformerConfig transformer = {};
    int size = 64;     ///< of a picture, in pixels [image_size]
    int patch = 8;     ///< [patch_size]
    int channels = 3;  ///< [num_channels]
    int patches() const { return (size / patch) * (size / patch); }
    bool operator==(const ClipVisionConfig&) const = default;
    void check() const;
};

/// Layers of attention and of two linear ones, each behind a norm and added to what was there.
class ClipTransformer {
public:
    ClipTransformer() = default;
    ClipTransformer(ParameterList& list, const std::string& prefix,
                    const ClipTransformerConfig& config);

    /// x [N,L,width]; causal: a token sees those before it and itself.
    template <class T>
    Var<T> operator()(Var<T> x, bool causal) const;

private:
    struct Layer {
        LayerNorm norm1, norm2;
        Linear q, k, v, out, wide, narrow;
    };
    ClipTransformerConfig config_;
    std::vector<Layer> layers_;
};

/// What a text says, token by token and as a whole.
template <class T>
struct EncodedText {
    Var<T> tokens;  ///< [N,L,width]
    Var<T> pooled;  ///< [N,width]: the row of the token that ends the text
};

class ClipTextEncoder {
public:
    /// Registers its parameters, with the library's names after `prefix`.
    ClipTextEncoder(ParameterList& list, const std::string& prefix, const ClipTextConfig& config);

    /// ids [N,L]. A token sees only those before it, so what stands after the end of the text
    /// changes nothing up to there, and no mask is needed. Fails if a text has no end, or an id is
    /// none.
    template <class T>
    EncodedText<T> operator()(Tape<T>& tape, Tensor<const int> ids) const;

    const ClipTextConfig& config() const { return config_; }

private:
    ClipTextConfig config_;
    Parameter tokens_, places_;
    ClipTransformer transformer_;
    LayerNorm norm_;
};

class ClipImageEncoder {
public:
    ClipImageEncoder(ParameterList& list, const std::string& prefix,
                     const ClipVisionConfig& config);

    /// Pictures [N,size,size,channels] to one vector each, [N,width]: patches become tokens, and
    /// one more token, the same for all pictures, collects what they say.
    template <class T>
    Var<T> operator()(Var<T> pictures) const;

    const ClipVisionConfig& config() const { return config_; }

private:
    ClipVisionConfig config_;
    Parameter class_, patches_, places_;
    LayerNorm before_, after_;
    ClipTransformer transformer_;
};

/// Both encoders, and the way to the common space of `width` numbers.
class Clip {
public:
    Clip(ParameterList& list, const std::string& prefix, const ClipTextConfig& text,
         const ClipVisionConfig& vision, int width);

    /// Vectors of length 1, [N,width].
    template <class T>
    Var<T> embed_texts(Tape<T>& tape, Tensor<const int> ids) const;
    template <class T>
    Var<T> embed_pictures(Var<T> pictures) const;
    /// (8.6) [N,M]: how well each of N texts fits each of M pictures: their scalar products times a
    /// learned number, the inverse of a temperature, whose logarithm is the parameter.
    template <class T>
    Var<T> similarity(Var<T> texts, Var<T> pictures) const;

    const ClipTextEncoder& text() const { return text_; }
    const ClipImageEncoder& vision() const { return vision_; }
    int width() const { return width_; }
    const Parameter& log_scale() const { return log_scale_; }

private:
    ClipTextEncoder text_;
    ClipImageEncoder vision_;
    Linear from_text_, from_picture_;
    Parameter log_scale_;
    int width_;
};

/// (8.5) x[N,C] with every row divided by its length.
template <class T>
Var<T> normalise_rows(Var<T> x);

/// (8.7) Of logits [N,N], where row i and column i belong together: the mean cross entropy of the
/// rows, each of which asks for its column, and of the columns, each of which asks for its row,
/// together by half.
template <class T>
Var<T> contrastive_loss(Var<T> logits);

/// (8.9) Pictures [N,H,W,C], which get no gradient, as patches [N,HW/P^2,P P C]: the numbers of a
/// patch by row, column and channel.
template <class T>
Var<T> patches_of(Var<T> pictures, int patch);

}  // namespace diffusion
