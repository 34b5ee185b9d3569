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

struct TrainOptions {
    int batch = 32;  ///< samples per step
    int lane = 0;    ///< samples that one core works on at a time; 0: an eighth of the batch, but 4
                     ///< at least and 8 at most. Part of the result's identity, like the seed
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
    /// lanes' order, so that the number of threads does not change a bit. Fails, naming the step
    /// and the first layer, if the loss or the gradient is not finite; parameters are then as
    /// before the step.
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

    /// Everything that a later step depends on. load() fails, naming what differs, on a state of
    /// another model or other options.
    void save(const std::filesystem::path& path);
    void load(const std::filesystem::path& path);

private:
    std::map<std::string, std::string> identity() const;
    /// The layer whose result was the first that is not finite, or whose gradient is.
    std::string find_culprit(const Loss& loss);

    const ParameterList& list_;
    TrainOptions options_;
    Array<float> values_, average_, gradient_;
    Muon<float> muon_;
    AdamW<float> adam_;
    std::vector<Array<float>> lane_gradients_;
    std::vector<double> lane_losses_;
    TapePool<float> tapes_;
};

}  // namespace diffusion
