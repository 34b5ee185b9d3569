#pragma once
// The training loop that every later chapter uses: lanes, optimiser, average of the weights,
// checkpoints.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "02_gradients/muon.hpp"
#include "02_gradients/optimizer.hpp"
#include "02_gradients/parameters.hpp"
#include "02_gradients/tape_pool.hpp"

namespace diffusion {

/// An eighth of the batch, but 4 at least and 8 at most.
int default_lane(int batch);

inline constexpr std::int64_t kMostSteps = 1'000'000'000'000;  ///< of a training

struct TrainOptions {
    int batch = 32;  ///< samples per step
    int lane = 0;    ///< samples that one core works on at a time; 0: default_lane. Part of the
                     ///< result's identity, like the seed
    std::int64_t steps = 1000;    ///< over which the learning rate falls
    double learning_rate = 2e-3;  ///< at its highest
    std::int64_t warmup = 200;    ///< steps over which it rises
    bool muon = true;             ///< (2.24) for the weight matrices; false: Adam for everything
    double max_norm = 1.0;        ///< of the gradient (2.19)
    double ema_rate = 0.999;      ///< (2.21)
    std::uint64_t seed = 1;
    /// What else a saved state must agree in: data, model, loss.
    std::map<std::string, std::string> task = {};
};

/// (4.16) Up in a straight line over `warmup` steps, then down along half a cosine to 1 % of the
/// highest rate.
double learning_rate_at(std::int64_t step, const TrainOptions& options);

/// A number of a training is not finite. The message says which.
struct NotFinite : Error {
    using Error::Error;
};

/// Fails with NotFinite, naming the parameter, if one of the values is not finite. `what` opens the
/// message: "training: after step 7".
void require_finite(const ParameterList& list, std::span<const float> values,
                    const std::string& what);

/// What a saved state says of itself.
struct SavedState {
    std::int64_t step = 0, steps = 0;  ///< that are made; of the whole training
    double learning_rate = 0;
    std::map<std::string, std::string> metadata;
};
SavedState look_at_state(const std::filesystem::path& path);

class Trainer {
public:
    /// The mean loss of samples first .. first + count - 1 of the step's batch, on a tape to which
    /// the parameters are bound.
    using Loss =
        std::function<Var<float>(Tape<float>& tape, std::int64_t step, int first, int count)>;

    struct Report {
        double loss = 0, gradient_norm = 0;
    };

    Trainer(const ParameterList& list, const TrainOptions& options);

    /// One step. The batch is cut into lanes; threads take lanes, and gradients are added in the
    /// lanes' order, so that the number of threads does not change a bit. Fails with NotFinite,
    /// naming the step and the first layer, if the loss or the gradient is not finite; parameters
    /// are then as before the step.
    Report step(const Loss& loss);

    std::int64_t steps() const { return adam_.steps(); }
    /// What step number k of AdamW, counted from 1, does to each parameter.
    AdamWStep<float> adamw_step(std::int64_t k, double learning_rate) const {
        return AdamW<float>::numbers(adam_.options(), k, learning_rate);
    }
    Array<float>& values() { return values_; }
    Array<float>& average() { return average_; }

    /// All that a step changes, by name, and the number of steps: for a trainer that makes the
    /// steps elsewhere (training.cu).
    std::map<std::string, std::span<float>> state();
    void set_steps(std::int64_t steps) { adam_.set_steps(steps); }
    const TrainOptions& options() const { return options_; }
    const ParameterList& parameters() const { return list_; }

    /// Everything that a later step depends on. load() fails, naming all that differs, on a state
    /// of another model, data set or other options. Only the learning rate may be another: that of
    /// the options then counts from here on, and the states saved later tell which it was before.
    /// save() fails with NotFinite rather than replace a good state with one that is not.
    void save(const std::filesystem::path& path);
    void load(const std::filesystem::path& path);
    /// "0.002 until step 200": the other learning rates that load() has met; empty: none.
    const std::string& earlier_rates() const { return earlier_rates_; }

private:
    /// What a saved state must agree in, to be gone on with.
    std::map<std::string, std::string> identity() const;
    /// The layer whose result was the first that is not finite, or whose gradient is.
    std::string find_culprit(const Loss& loss);

    const ParameterList& list_;
    TrainOptions options_;
    std::string earlier_rates_;
    Array<float> values_, average_, gradient_;
    Muon<float> muon_;
    AdamW<float> adam_;
    std::vector<Array<float>> lane_gradients_;
    std::vector<double> lane_losses_;
    TapePool<float> tapes_;
};

}  // namespace diffusion
