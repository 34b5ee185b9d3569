// CLIPTextModel, CLIPModel and T5EncoderModel: chapter 8's encoders.
#include "02_gradients/tape.hpp"
#include "08_text_conditioning/encoder_files.hpp"
#include "module/module.hpp"

namespace diffusion {
namespace {

namespace fs = std::filesystem;

/// Token ids [N,L], and where they lie.
struct Ids {
    int texts, length;
    std::vector<int> numbers;
    Tensor<const int> tensor() const { return {numbers.data(), {texts, length}}; }
};
Ids read_ids(Inputs& inputs, int vocabulary) {
    std::vector<int> numbers = inputs.whole("input_ids", {0, 0}, vocabulary);
    const std::vector<int>& shape = inputs.shape_of("input_ids");
    return {shape[0], shape[1], std::move(numbers)};
}

NamedArray output(const char* name, Tensor<const float> x) {
    const Shape& s = x.shape();
    return {name, {s.n.begin(), s.n.begin() + s.rank}, {x.begin(), x.end()}};
}

/// input_ids [N,L] to last_hidden_state [N,L,C] and pooler_output [N,C].
Outputs run_clip_text(const Config& config, const fs::path& folder, Inputs& inputs) {
    const ClipTextConfig settings = read_clip_text_config(config);
    const Ids ids = read_ids(inputs, settings.vocabulary);
    inputs.done();
    ParameterList list;
    const ClipTextEncoder encoder(list, "", settings);
    Array<float> values = load_clip_text(list, folder);
    OwnTape<float> own;
    own.tape.bind(values.data());
    const EncodedText<float> text = encoder(own.tape, ids.tensor());
    return {output("last_hidden_state", text.tokens.value()),
            output("pooler_output", text.pooled.value())};
}
void copy_clip_text(const Config& config, const fs::path& folder, const fs::path& to) {
    const ClipTextConfig settings = read_clip_text_config(config);
    ParameterList list;
    const ClipTextEncoder encoder(list, "", settings);
    save_encoder(to, clip_text_json(settings), list, load_clip_text(list, folder));
}

/// input_ids [N,L] and pixel_values [M,C,H,W] to text_embeds [N,D], image_embeds [M,D] and
/// logits_per_image [M,N].
Outputs run_clip(const Config& config, const fs::path& folder, Inputs& inputs) {
    const ClipSettings settings = read_clip_config(config);
    const Ids ids = read_ids(inputs, settings.text.vocabulary);
    const int size = settings.vision.size;
    const NamedArray pixels =
        inputs.floats("pixel_values", {0, settings.vision.channels, size, size});
    inputs.done();
    ParameterList list;
    const Clip clip(list, "", settings.text, settings.vision, settings.width);
    Array<float> values = load_clip(list, folder);
    OwnTape<float> own;
    own.tape.bind(values.data());
    const Var<float> texts = clip.embed_texts(own.tape, ids.tensor()),
                     pictures =
                         clip.embed_pictures(own.tape.constant(channels_last(pixels, own.arena)));
    return {output("text_embeds", texts.value()), output("image_embeds", pictures.value()),
            output("logits_per_image", clip.similarity(pictures, texts).value())};
}
void copy_clip(const Config& config, const fs::path& folder, const fs::path& to) {
    const ClipSettings settings = read_clip_config(config);
    ParameterList list;
    const Clip clip(list, "", settings.text, settings.vision, settings.width);
    save_encoder(to, clip_json(settings), list, load_clip(list, folder));
}

/// input_ids [N,L] and, if some of them are padding, attention_mask [N,L] to last_hidden_state.
Outputs run_t5(const Config& config, const fs::path& folder, Inputs& inputs) {
    const T5Config settings = read_t5_config(config);
    const Ids ids = read_ids(inputs, settings.vocabulary);
    std::vector<int> keep;
    if (inputs.has("attention_mask"))
        keep = inputs.whole("attention_mask", {ids.texts, ids.length}, 2);
    inputs.done();
    ParameterList list;
    const T5Encoder encoder(list, "", settings);
    Array<float> values = load_t5(list, folder);
    OwnTape<float> own;
    own.tape.bind(values.data());
    const std::vector<unsigned char> mask(keep.begin(), keep.end());
    return {output("last_hidden_state", encoder(own.tape, ids.tensor(), mask).value())};
}
void copy_t5(const Config& config, const fs::path& folder, const fs::path& to) {
    const T5Config settings = read_t5_config(config);
    ParameterList list;
    const T5Encoder encoder(list, "", settings);
    save_encoder(to, t5_json(settings), list, load_t5(list, folder));
}

}  // namespace

const Module kClipText{kClipTextModel, run_clip_text, copy_clip_text},
    kClip{kClipModel, run_clip, copy_clip}, kT5{kT5EncoderModel, run_t5, copy_t5};

}  // namespace diffusion
