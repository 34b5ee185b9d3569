#include "08_text_conditioning/clip.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "02_gradients/ops.hpp"
#include "08_text_conditioning/token_ops.hpp"
#include "tensor/check.hpp"

namespace diffusion {
namespace {

/// Whole numbers that live as long as the tape's other memory.
template <class T>
std::span<int> numbers_of(Tape<T>& tape, int count) {
    return tape.arena().template make<int>({count}).flat();
}

/// Row at[n] of x[n], for each n of x [N,L,C].
template <class T>
Var<T> rows_at(Var<T> x, std::span<int> at) {
    for (int n = 0; n < x.size(0); ++n) at[static_cast<std::size_t>(n)] += n * x.size(1);
    return embedding(reshape(x, {x.size(0) * x.size(1), x.size(2)}), at);
}

}  // namespace

void ClipTransformerConfig::check() const {
    require(width > 0 && inner > 0 && layers > 0 && eps > 0, "clip: ", layers, " layers of ", width,
            " and ", inner, " channels, eps ", eps);
    require(heads > 0 && width % heads == 0, "clip: ", width, " channels do not fall into ", heads,
            " heads");
}
void ClipTextConfig::check() const {
    transformer.check();
    require(vocabulary > 1 && length > 0, "clip: texts of ", length, " tokens out of ", vocabulary);
    require(end < vocabulary, "clip: the token that ends a text is ", end, ", there are ",
            vocabulary);
}
void ClipVisionConfig::check() const {
    transformer.check();
    require(channels > 0 && patch > 0 && size >= patch && size % patch == 0, "clip: pictures of ",
            size, " pixels and ", channels, " channels do not fall into patches of ", patch);
}

template <class T>
Var<T> patches_of(Var<T> pictures, int patch) {
    const int n = pictures.size(0), down = pictures.size(1) / patch,
              across = pictures.size(2) / patch, line = patch * pictures.size(3);
    Tape<T>& tape = pictures.tape();
    const Tensor<T> x = pictures.value(),
                    patches = tape.numbers().template make<T>({n, down * across, patch * line});
    for (int i = 0; i < n; ++i)
        for (int p = 0; p < down * across; ++p)
            for (int row = 0; row < patch; ++row)
                std::copy_n(  // (8.9)
                    &x(i, p / across * patch + row, p % across * patch, 0), line,
                    &patches(i, p, row * line));
    return tape.constant(patches);
}

ClipTransformer::ClipTransformer(ParameterList& list, const std::string& prefix,
                                 const ClipTransformerConfig& config)
    : config_(config) {
    config.check();
    for (int i = 0; i < config.layers; ++i) {
        const std::string name = prefix + "layers." + std::to_string(i);
        const auto linear = [&](const std::string& part, int inputs, int outputs) {
            return Linear(list, name + part, inputs, outputs);
        };
        const int width = config.width;
        layers_.push_back(
            {LayerNorm(list, name + ".layer_norm1", width, config.eps),
             LayerNorm(list, name + ".layer_norm2", width, config.eps),
             linear(".self_attn.q_proj", width, width), linear(".self_attn.k_proj", width, width),
             linear(".self_attn.v_proj", width, width), linear(".self_attn.out_proj", width, width),
             linear(".mlp.fc1", width, config.inner), linear(".mlp.fc2", config.inner, width)});
    }
}

template <class T>
Var<T> ClipTransformer::operator()(Var<T> x, bool causal) const {
    Tape<T>& tape = x.tape();
    for (const Layer& layer : layers_) {
        const Var<T> before = x;
        x = tape.result_of([&] {
            const Var<T> h = layer.norm1(before);  // (8.4)
            const Var<T> mixed = attention(layer.q(h), layer.k(h), layer.v(h),
                                           {.heads = config_.heads, .causal = causal});
            const Var<T> seen = add(before, layer.out(mixed));
            return add(seen, layer.narrow(gelu(layer.wide(layer.norm2(seen)), config_.gelu)));
        });
        tape.done(before);
    }
    return x;
}

ClipTextEncoder::ClipTextEncoder(ParameterList& list, const std::string& prefix,
                                 const ClipTextConfig& config)
    : config_(config) {
    config.check();
    const int width = config.transformer.width;
    tokens_ = list.add(prefix + "embeddings.token_embedding.weight", {config.vocabulary, width},
                       Layout::plain, Init::normal(0.02));
    places_ = list.add(prefix + "embeddings.position_embedding.weight", {config.length, width},
                       Layout::plain, Init::normal(0.01));
    transformer_ = ClipTransformer(list, prefix + "encoder.", config.transformer);
    norm_ = LayerNorm(list, prefix + "final_layer_norm", width, config.transformer.eps);
}

template <class T>
EncodedText<T> ClipTextEncoder::operator()(Tape<T>& tape, Tensor<const int> ids) const {
    require(ids.rank() == 2 && ids.size(1) <= config_.length, "clip: ids are ", ids.shape(),
            ", expected [N,L] with L up to ", config_.length);
    const int n = ids.size(0), length = ids.size(1), width = config_.transformer.width;
    for (const int id : ids)
        require(id >= 0 && id < config_.vocabulary, "clip: the id ", id, ", expected 0 to ",
                config_.vocabulary - 1);
    const std::span<int> ends = numbers_of(tape, n), first = numbers_of(tape, length);
    for (int i = 0; i < n; ++i) {
        const std::span<const int> text = ids[i].flat();
        const auto end =
            config_.end < 0 ? std::ranges::max_element(text) : std::ranges::find(text, config_.end);
        require(end != text.end(), "clip: text ", i, " has no end: the id ", config_.end,
                " is not in it");
        ends[static_cast<std::size_t>(i)] = static_cast<int>(end - text.begin());
    }
    std::iota(first.begin(), first.end(), 0);
    const Var<T> words =
        reshape(embedding(tape.parameter(tokens_), ids.flat()), {n, length, width});
    // (8.3)
    const Var<T> placed =
        add_to_each(words, embedding(tape.parameter(places_), std::span<const int>(first)));
    const Var<T> all = norm_(transformer_(placed, true));
    return {all, rows_at(all, ends)};
}

ClipImageEncoder::ClipImageEncoder(ParameterList& list, const std::string& prefix,
                                   const ClipVisionConfig& config)
    : config_(config) {
    config.check();
    const int width = config.transformer.width, patch = config.patch;
    const double eps = config.transformer.eps;
    class_ = list.add(prefix + "embeddings.class_embedding", {width}, Layout::plain,
                      Init::normal(1 / std::sqrt(static_cast<double>(width))));
    patches_ = list.add(prefix + "embeddings.patch_embedding.weight",
                        {patch, patch, config.channels, width}, Layout::conv, Init::normal(0.02));
    places_ = list.add(prefix + "embeddings.position_embedding.weight",
                       {1 + config.patches(), width}, Layout::plain, Init::normal(0.02));
    before_ = LayerNorm(list, prefix + "pre_layrnorm", width, eps);  // the library's spelling
    transformer_ = ClipTransformer(list, prefix + "encoder.", config.transformer);
    after_ = LayerNorm(list, prefix + "post_layernorm", width, eps);
}

template <class T>
Var<T> ClipImageEncoder::operator()(Var<T> pictures) const {
    const int size = config_.size, channels = config_.channels, width = config_.transformer.width;
    require(pictures.shape().rank == 4 && pictures.size(1) == size && pictures.size(2) == size &&
                pictures.size(3) == channels,
            "clip: pictures are ", pictures.shape(), ", expected [N,", size, ",", size, ",",
            channels, "]");
    Tape<T>& tape = pictures.tape();
    const int n = pictures.size(0), tokens = 1 + config_.patches();
    const Var<T> weight =
        reshape(tape.parameter(patches_), {config_.patch * config_.patch * channels, width});
    const Var<T> seen = linear(patches_of(pictures, config_.patch), weight);
    // The token of the whole picture stands before those of its patches: row 0 of a table whose
    // other rows are all patches.
    const Var<T> table = concat_rows(reshape(tape.parameter(class_), {1, width}),
                                     reshape(seen, {n * config_.patches(), width}));
    const std::span<int> rows = numbers_of(tape, n * tokens), whole = numbers_of(tape, n);
    for (int i = 0; i < n; ++i)
        for (int token = 0; token < tokens; ++token)
            rows[static_cast<std::size_t>(i * tokens + token)] =
                token == 0 ? 0 : i * config_.patches() + token;
    std::ranges::fill(whole, 0);
    const Var<T> all = reshape(embedding(table, rows), {n, tokens, width});
    const Var<T> placed = add_to_each(all, tape.parameter(places_));
    return after_(rows_at(transformer_(before_(placed), false), whole));
}

Clip::Clip(ParameterList& list, const std::string& prefix, const ClipTextConfig& text,
           const ClipVisionConfig& vision, int width)
    : text_(list, prefix + "text_model.", text),
      vision_(list, prefix + "vision_model.", vision),
      from_text_(list, prefix + "text_projection", text.transformer.width, width, false),
      from_picture_(list, prefix + "visual_projection", vision.transformer.width, width, false),
      log_scale_(
          list.add(prefix + "logit_scale", {}, Layout::plain, Init::constant(std::log(1 / 0.07)))),
      width_(width) {}

template <class T>
Var<T> normalise_rows(Var<T> x) {
    const double length =
        std::sqrt(static_cast<double>(x.shape().back()));             // of root mean square 1
    return scale(rms_norm(x, {}, T(0)), static_cast<T>(1 / length));  // (8.5)
}

template <class T>
Var<T> contrastive_loss(Var<T> logits) {
    require(logits.shape().rank == 2 && logits.size(0) == logits.size(1),
            "contrastive_loss: logits are ", logits.shape(), ", expected [N,N]");
    const std::span<int> own = numbers_of(logits.tape(), logits.size(0));
    std::iota(own.begin(), own.end(), 0);
    const Var<T> rows = cross_entropy(logits, std::span<const int>(own)),
                 columns = cross_entropy(transpose(logits), std::span<const int>(own));
    return scale(add(rows, columns), T(0.5));  // (8.7), whose gradient is (8.8)
}

template <class T>
Var<T> Clip::embed_texts(Tape<T>& tape, Tensor<const int> ids) const {
    return normalise_rows(from_text_(text_(tape, ids).pooled));
}

template <class T>
Var<T> Clip::embed_pictures(Var<T> pictures) const {
    return normalise_rows(from_picture_(vision_(pictures)));
}

template <class T>
Var<T> Clip::similarity(Var<T> texts, Var<T> pictures) const {
    const Var<T> factor = exp(reshape(texts.tape().parameter(log_scale_), {1}));
    return scale_by(matmul(texts, pictures, true), factor);  // (8.6)
}

#define DIFFUSION_INSTANTIATE(T)                                                            \
    template Var<T> normalise_rows(Var<T>);                                                 \
    template Var<T> contrastive_loss(Var<T>);                                               \
    template Var<T> patches_of(Var<T>, int);                                                \
    template Var<T> ClipTransformer::operator()(Var<T>, bool) const;                        \
    template EncodedText<T> ClipTextEncoder::operator()(Tape<T>&, Tensor<const int>) const; \
    template Var<T> ClipImageEncoder::operator()(Var<T>) const;                             \
    template Var<T> Clip::embed_texts(Tape<T>&, Tensor<const int>) const;                   \
    template Var<T> Clip::embed_pictures(Var<T>) const;                                     \
    template Var<T> Clip::similarity(Var<T>, Var<T>) const;
DIFFUSION_INSTANTIATE(float)
DIFFUSION_INSTANTIATE(double)
#undef DIFFUSION_INSTANTIATE

}  // namespace diffusion
