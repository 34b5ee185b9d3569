#pragma once
// T5's encoder (Raffel et al. 2019, arXiv:1910.10683), with names and settings of the library
// transformers: T5EncoderModel. A token sees all others, and how far they are away, not where it
// stands; norms only scale, layers have no biases, and scores are not scaled.
#include <string>
#include <vector>

#include "04_unet/attention.hpp"
#include "08_text_conditioning/layers.hpp"
#include "kernels/gelu.hpp"

namespace diffusion {

/// The names in brackets are the library's.
struct T5Config {
    int vocabulary = 1024;  ///< [vocab_size]
    int width = 128;        ///< channels of a token [d_model]
    int head_width = 32;    ///< channels of a head [d_kv]
    int heads = 4;          ///< [num_heads]
    int inner = 256;        ///< channels between the linear layers [d_ff]
    int layers = 4;         ///< [num_layers]
    int buckets = 32;       ///< of distances [relative_attention_num_buckets]
    int farthest = 128;     ///< where the last bucket begins [relative_attention_max_distance]
    bool gated = true;      ///< a gated GELU between the linear layers; or ReLU [feed_forward_proj]
    double eps = 1e-6;      ///< of all norms [layer_norm_epsilon]
    bool operator==(const T5Config&) const = default;
    /// Fails, naming the setting, on numbers that do not fit together.
    void check() const;
};

/// (8.11) The bucket of a key `distance` tokens after the query, or before it if negative: half of
/// the buckets are for each direction. In each, short distances have one of their own, and longer
/// ones share buckets that grow like their logarithm.
int t5_bucket(int distance, int buckets, int farthest);

class T5Encoder {
public:
    /// Registers its parameters, with the library's names after `prefix`.
    T5Encoder(ParameterList& list, const std::string& prefix, const T5Config& config);

    /// ids [N,L] to [N,L,width]. A token whose entry of `keep` [N,L] is 0 is not seen.
    template <class T>
    Var<T> operator()(Tape<T>& tape, Tensor<const int> ids, Mask keep = {}) const;

    const T5Config& config() const { return config_; }

private:
    struct Layer {
        RmsNorm norm1, norm2;
        Linear q, k, v, out, gate, wide, narrow;
    };
    /// [heads,L,L]: what is added to the score of each pair of tokens, the same in all layers.
    template <class T>
    Var<T> distances(Tape<T>& tape, int length) const;

    T5Config config_;
    Parameter tokens_, bias_;
    std::vector<Layer> layers_;
    RmsNorm norm_;
};

}  // namespace diffusion
