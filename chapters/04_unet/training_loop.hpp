#pragma once
// The course of a training, whatever it trains: it begins or goes on, keeps a log, saves
// checkpoints and has something drawn on the way.
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "04_unet/device.hpp"
#include "04_unet/training_folder.hpp"
#include "app/app.hpp"

namespace diffusion {

struct TrainingPlan {
    std::string command;  ///< "04_unet train": for advice
    int save_every = 200;
    bool has_from = false;  ///< whether it takes --from, to train a finished model further
    /// Writes the model with the averaged weights; called at every checkpoint.
    std::function<void()> save_model;
    /// Draws folder.grid(part), after part 1 .. kDrawings of the training; may give up when the
    /// program is asked to stop.
    std::function<void(std::int64_t part)> draw;
};

class TrainingLoop {
public:
    /// All must outlive it.
    TrainingLoop(const CommonOptions& common, const TrainingFolder& folder, Trainer& trainer,
                 TrainingPlan plan);

    /// Goes on from the state in the folder, of which `saved` is what it says of itself.
    void resume(const SavedState& saved);
    /// Begins anew, in a folder that may hold another run. `values`, if given, are the weights to
    /// begin with, those of the model `from`.
    void begin(std::span<const float> values = {}, const std::string& from = "");

    /// Steps until the last one or Ctrl-C, with checkpoints. Returns whether it was the last.
    bool run(Training& training);

    /// What the training took, the runs before a stop included.
    double seconds() const { return earlier_ + seconds_since(start_); }
    std::int64_t images() const { return images_at(trainer_.steps()); }

    /// The drawings that there are, one below the other, into `picture`. Returns whether there are
    /// any.
    bool stack_grids(const std::filesystem::path& picture) const;

private:
    std::int64_t steps() const { return trainer_.options().steps; }
    std::int64_t images_at(std::int64_t step) const { return step * trainer_.options().batch; }
    double seconds_logged() const;
    std::string lower_rate_advice() const;
    std::int64_t due_grid() const;
    void save(Training& training);
    void draw_if_due(Training& training, bool unless_there);

    Clock::time_point start_ = Clock::now();
    double earlier_ = 0;  ///< seconds of the runs before this one
    const CommonOptions& common_;
    const TrainingFolder& files_;
    Trainer& trainer_;
    TrainingPlan plan_;
    std::int64_t resumed_at_ = -1;  ///< the step of the state that it went on from
};

}  // namespace diffusion
