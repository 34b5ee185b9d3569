#pragma once
// A network with all that its use depends on, and its file.
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "04_unet/denoising.hpp"
#include "04_unet/unet.hpp"
#include "tensor/array.hpp"

namespace diffusion {

/// {1, 2, 4} as "1,2,4": how a network's multipliers stand in files and arguments.
std::string joined(const std::vector<int>& numbers);

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
    std::string data;  ///< the name of the data set that it learns

    DenoisingModel(const UNetConfig& config, const std::string& schedule_name, int T,
                   const std::string& prediction_name, int height, int width,
                   std::string data = "");
    DenoisingModel(DenoisingModel&&) = default;

    Network network() const { return network_of(unet); }
    /// (4.15) for its schedule and what it predicts.
    Objective objective(double time_power = kTimePower) const {
        return diffusion_objective(schedule, prediction, time_power);
    }
    /// The moments of times of its schedule.
    std::vector<Moment> path(std::span<const int> times) const { return moments(schedule, times); }
    Shape shape(int pictures) const { return {pictures, height, width, unet.config().in_channels}; }

    /// Values in PyTorch's names and layouts, with the configuration beside them.
    void save(const std::filesystem::path& path, std::span<const float> values) const;
};

/// Its guess of x_0. Model and values must outlive the result.
Denoiser<float> model_denoiser(const DenoisingModel& model, std::span<float> values);

/// A model from its file, and its values.
struct LoadedModel {
    DenoisingModel model;
    Array<float> values;
};
LoadedModel load_model(const std::filesystem::path& path);

/// What one call of a denoiser takes for one of n pictures, by the second of two calls with up to
/// 32.
double seconds_per_picture(const DenoisingModel& model, const Denoiser<float>& denoiser, int n);

}  // namespace diffusion
