#pragma once
// A network with all that its use depends on, and its folder.
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "04_unet/denoising.hpp"
#include "04_unet/unet.hpp"
#include "tensor/array.hpp"

namespace diffusion {

/// {1, 2, 4} as "1,2,4": how a network's multipliers stand in files and arguments.
std::string joined(const std::vector<int>& numbers);
/// The other way; empty if the text is anything else.
std::vector<int> parted(const std::string& text);

/// The UNet as loss and samplers see it. It must outlive the result.
Network network_of(const UNet& unet);
/// Its second half. The program's .cu files define it, and without_cuda.cpp where there are none.
NetworkOf<cuda::Float> network_on_gpu(const UNet& unet);

/// What a model can be asked for: all of kPredictions but the score.
std::vector<std::string> model_predictions();

struct DenoisingModel {
    ParameterList parameters;
    UNet unet;
    Schedule schedule;
    Prediction prediction;
    int height, width;
    std::string data;  ///< the name of the data set that it learns; empty: not known

    DenoisingModel(const UNetConfig& config, Schedule schedule, Prediction prediction, int height,
                   int width, std::string data = "");
    DenoisingModel(DenoisingModel&&) = default;

    Network network() const { return network_of(unet); }
    /// (4.15) for its schedule and what it predicts.
    Objective objective(double time_power = kTimePower) const {
        return diffusion_objective(schedule, prediction, time_power);
    }
    /// The moments of times of its schedule, as its network is told them.
    std::vector<Moment> path(std::span<const int> times) const {
        return told_moments(schedule, times);
    }
    Shape shape(int pictures) const { return {pictures, height, width, unet.config().in_channels}; }

    /// Writes a pipeline of the library diffusers: model_index.json, unet/config.json with the
    /// weights beside it, scheduler/scheduler_config.json. DDPMPipeline.from_pretrained opens it.
    /// A pipeline with further parts is what `also` says: its class and its parts, which must be
    /// there, and what the file of weights is to say of itself.
    struct Pipeline {
        std::string name = "DDPMPipeline";
        std::map<std::string, std::string> parts = {};  ///< "vqvae": "AutoencoderKL"
        std::map<std::string, std::string> metadata = {};
    };
    void save(const std::filesystem::path& folder, std::span<const float> values,
              const Pipeline& also) const;
    void save(const std::filesystem::path& folder, std::span<const float> values) const {
        save(folder, values, {});
    }
};

/// Its guess of x_0. Model and values must outlive the result.
Denoiser<float> model_denoiser(const DenoisingModel& model, std::span<float> values);

/// A model from its folder, and its values.
struct LoadedModel {
    DenoisingModel model;
    Array<float> values;
    Variance variance = Variance::small;  ///< with which its scheduler draws
    double clip = 1;        ///< of guesses of the picture, as its scheduler says; 0: none
    std::string note = {};  ///< what had to be assumed, for the user to read; empty: nothing
    std::map<std::string, std::string> metadata = {};  ///< of its file of weights
};
/// Whether there is a model for load_model in a folder, be it one that it refuses.
bool holds_model(const std::filesystem::path& folder);
/// `path` is a folder that `save` or diffusers wrote: a pipeline with a UNet2DModel, or the UNet's
/// alone; or a file in it. Fails, naming it, on what it does not understand, and on a pipeline that
/// draws latents unless `latents` are what is wanted.
LoadedModel load_model(const std::filesystem::path& path, bool latents = false);

/// What one call of a denoiser takes for one of n pictures, by the second of two calls with up to
/// 32.
double seconds_per_picture(const DenoisingModel& model, const Denoiser<float>& denoiser, int n);

}  // namespace diffusion
