// AutoencoderTiny: chapter 7's tiny autoencoder.
#include "02_gradients/tape.hpp"
#include "07_latent_vae/tiny_file.hpp"
#include "module/module.hpp"

namespace diffusion {
namespace {

/// sample [N,C,H,W] to latents, latent [N,c,h,w] to a picture: one of them or both.
Outputs run_tiny(const Config&, const std::filesystem::path& folder, Inputs& inputs) {
    LoadedTiny loaded = load_tiny(folder);
    const TinyAutoencoder& autoencoder = loaded.model.autoencoder;
    const TinyConfig& config = autoencoder.config();
    const bool encodes = inputs.has("sample"), decodes = inputs.has("latent");
    NamedArray sample, latent;
    if (encodes || !decodes) sample = inputs.floats("sample", {0, config.in_channels, 0, 0});
    if (decodes) latent = inputs.floats("latent", {0, config.latent_channels, 0, 0});
    inputs.done();
    Arena arena;
    Tape<float> tape(arena);
    tape.bind(loaded.values.data());
    Outputs outputs;
    if (encodes) {
        const Var<float> z = autoencoder.encode(tape.constant(channels_last(sample, arena)));
        outputs.push_back(channels_first("latents", z.value()));
        tape.reset();
    }
    if (decodes) {
        const Var<float> picture = autoencoder.decode(tape.constant(channels_last(latent, arena)));
        outputs.push_back(channels_first("picture", picture.value()));
    }
    return outputs;
}

void copy_tiny(const Config&, const std::filesystem::path& folder,
               const std::filesystem::path& to) {
    const LoadedTiny loaded = load_tiny(folder);
    loaded.model.save(to, loaded.values);
}

}  // namespace

const Module kTiny{kAutoencoderTiny, run_tiny, copy_tiny};

}  // namespace diffusion
