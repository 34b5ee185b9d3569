#pragma once
// What the training of an autoencoder is told, and what that leaves open: to a preset, or to the
// state that it goes on from.
#include <cstdint>
#include <string>
#include <vector>

#include "04_unet/trainer.hpp"
#include "07_latent_vae/autoencoder_file.hpp"
#include "07_latent_vae/pictures.hpp"

namespace diffusion {

struct VaeSettings {
    std::string dataset = "scenes";
    std::vector<int> channels = {};  ///< empty: not given
    int latent_channels = 0;         ///< 0: not given
    double weight = -1;              ///< w of (7.10); below 0: not given
    double absolute = -1;            ///< what (7.18) counts in the loss; below 0: not given
    std::int64_t images = 0;         ///< 0: not given
    int batch = 0;                   ///< 0: not given
    std::string optimizer = "muon";
    double learning_rate = 0;  ///< 0: not given
    int save_every = 500;
};

/// What is still open is that of the state: the learning rate, and with `all`, where no preset is
/// asked for, network, weight, batch and images.
void take(VaeSettings& settings, const SavedState& saved, bool all);

/// What is still open is the preset's, or the default.
void take(VaeSettings& settings, const std::string& preset);

/// The network, for these pictures; its scale is not measured yet.
AutoencoderSettings autoencoder_of(const VaeSettings& settings, const Pictures& pictures);

/// For the trainer. A state is that of another run if one of these differs.
TrainOptions options_of(const VaeSettings& settings, const Pictures& pictures, std::uint64_t seed);

}  // namespace diffusion
