// AutoencoderKL: chapter 7's autoencoder.
#include "02_gradients/tape.hpp"
#include "07_latent_vae/autoencoder_file.hpp"
#include "module/module.hpp"

namespace diffusion {
namespace {

/// sample [N,C,H,W] to the mean and the log-variance of its latents, latent [N,c,h,w] to a picture:
/// one of them or both.
Outputs run_autoencoder(const Config&, const std::filesystem::path& folder, Inputs& inputs) {
    LoadedAutoencoder loaded = load_autoencoder(folder);
    const Autoencoder& autoencoder = loaded.model.autoencoder;
    const AutoencoderConfig& config = autoencoder.config();
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
        const Posterior<float> posterior =
            autoencoder.encode(tape.constant(channels_last(sample, arena)));
        outputs.push_back(channels_first("mean", posterior.mean.value()));
        outputs.push_back(channels_first("logvar", posterior.log_variance.value()));
        tape.reset();
    }
    if (decodes) {
        const Var<float> picture = autoencoder.decode(tape.constant(channels_last(latent, arena)));
        outputs.push_back(channels_first("picture", picture.value()));
    }
    return outputs;
}

void copy_autoencoder(const Config&, const std::filesystem::path& folder,
                      const std::filesystem::path& to) {
    const LoadedAutoencoder loaded = load_autoencoder(folder);
    loaded.model.save(to, loaded.values);
}

}  // namespace

const Module kAutoencoder{kAutoencoderKL, run_autoencoder, copy_autoencoder};

}  // namespace diffusion
