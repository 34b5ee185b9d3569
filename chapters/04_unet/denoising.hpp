#pragma once
// What the UNet is trained for, and how a trained one is asked.
#include <cstdint>
#include <filesystem>
#include <vector>

#include "01_forward_noising/schedule.hpp"
#include "03_reverse_process/ancestral.hpp"
#include "03_reverse_process/prediction.hpp"
#include "04_unet/shuffle.hpp"
#include "04_unet/trainer.hpp"
#include "04_unet/unet.hpp"
#include "data/dataset.hpp"

namespace diffusion {

/// {1, 2, 4} as "1,2,4": how a network's multipliers stand in files and arguments.
std::string joined(const std::vector<int>& numbers);

/// A network with all that its use depends on.
struct DenoisingModel {
    UNet unet;
    Schedule schedule;
    Prediction prediction;
    int height, width;
    std::string data;  ///< the name of the data set that it learns

    DenoisingModel(const UNetConfig& config, const std::string& schedule_name, int T,
                   const std::string& prediction_name, int height, int width,
                   std::string data = "");

    /// Values in PyTorch's names and layouts, with the configuration beside them.
    void save(const std::filesystem::path& path, std::span<const float> values) const;
};

/// A model from its file, and its values.
struct LoadedModel {
    DenoisingModel model;
    std::vector<float> values;
};
LoadedModel load_model(const std::filesystem::path& path);

/// The time of each sample of a batch, and the mean square of its prediction's error, without w_t.
struct SampleErrors {
    std::vector<int> t;
    std::vector<double> error;
    explicit SampleErrors(int batch) : t(static_cast<std::size_t>(batch)), error(t.size()) {}
};

/// The w_t of (4.15): 1 for eps and v; min(1 / s^2, 5) (a + 0.1) for x_0: the weight of v, cut off
/// where there is hardly any noise, and less where little can be known.
double loss_weight(Prediction prediction, Level level);

inline constexpr double kTimePower = 0.35;  ///< p of (4.15), unless told otherwise

struct DenoisingTask {
    int batch;
    double time_power;  ///< p of (4.15); below 1: more late times
    bool flip;          ///< half of the pictures, left to right
    std::uint64_t seed;
};

/// What sample number `number` of a step is made of: a picture, and the time to which it is noised.
struct DrawnSample {
    int picture;
    bool flip;
    int t;
};
DrawnSample draw_sample(const DenoisingTask& task, const Schedule& schedule, Shuffle& shuffle,
                        std::int64_t step, int number);

/// Weighted mean squared error of the prediction for noised images (4.15). Sample k of step s is
/// image number s * batch + k of an endless row of shuffled passes over the data; its t and noise
/// depend on the seed, s and k alone. Times are stratified: sample k draws from the k-th of `batch`
/// equally likely parts of 1..T, which makes the mean over the batch less noisy. `samples` receives
/// the details of the last step, if given. `model`, `data` and `samples` must outlive the result.
Trainer::Loss denoising_loss(const DenoisingModel& model, const Dataset& data,
                             const DenoisingTask& task, SampleErrors* samples = nullptr);

/// The network's guess of x_0, for the samplers. Works through a batch in pieces of 8, in
/// parallel.
Denoiser<float> make_denoiser(const DenoisingModel& model, std::span<float> values);

/// What one call of it takes for one of n pictures, by the second of two calls with up to 32.
double seconds_per_picture(const DenoisingModel& model, const Denoiser<float>& denoiser, int n);

/// `steps` times from T down to 0, as evenly spaced as whole numbers allow.
std::vector<int> even_times(int T, int steps);

}  // namespace diffusion
