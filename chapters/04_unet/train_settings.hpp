#pragma once
// What a training is told, and what that leaves open: to a preset, to the model that it begins with
// or to the state that it goes on from.
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "04_unet/model.hpp"
#include "data/dataset.hpp"

namespace diffusion {

inline constexpr int kT = 1000;
inline constexpr double kLearningRate = 2e-3;
inline constexpr const char *kSchedule = "cosine", *kPrediction = "x0";

struct TrainSettings {
    std::string dataset = "mnist";
    std::filesystem::path from = {};    ///< a model to begin with; empty: fresh weights
    int base = 0;                       ///< 0: not given
    std::vector<int> multipliers = {};  ///< empty: not given
    std::int64_t images = 0;            ///< 0: not given
    int batch = 0;                      ///< 0: not given
    std::string optimizer = "muon";
    double learning_rate = 0;     ///< 0: not given
    std::string schedule = {};    ///< empty: not given
    std::string prediction = {};  ///< empty: not given
    double time_power = kTimePower;
    int save_every = 200;  ///< steps between checkpoints
};

/// Network, schedule and prediction are those of the model in `settings.from`. Fails where another
/// one is given, and on data of another size.
void take(TrainSettings& settings, const DenoisingModel& model, const Dataset& data);

/// What is still open is that of the state: the learning rate and, if that run began with a model,
/// which one (it need not be there any more) and its network. With `all`, where no preset is asked
/// for, everything else, too.
void take(TrainSettings& settings, const SavedState& saved, bool all);

/// What is still open is the preset's, or the default.
void take(TrainSettings& settings, const std::string& preset);

/// For the trainer. A state is that of another run if one of these differs.
TrainOptions options_of(const TrainSettings& settings, const Dataset& data, std::uint64_t seed);

}  // namespace diffusion
