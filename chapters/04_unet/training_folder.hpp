#pragma once
// What a training keeps in its folder, and how a new one treats what it finds there.
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "io/set_aside.hpp"

namespace diffusion {

inline constexpr int kDrawings = 8;  ///< drawings on the way

/// What a training of one kind leaves besides its state, its log and its drawings.
struct TrainingFiles {
    std::vector<std::string> model;   ///< if one of these is there, there was a training
    std::vector<std::string> others;  ///< pictures and tables
    bool (*holds_model)(const std::filesystem::path& folder);
    std::string part = {};    ///< where state, log and drawings lie, in the folder; empty: in it
    std::string shared = {};  ///< a folder that an earlier training needs as well: it is copied
};

class TrainingFolder {
public:
    TrainingFolder(std::filesystem::path folder, TrainingFiles files);

    const std::filesystem::path& path() const { return folder_; }
    std::filesystem::path state() const { return place() / "state.safetensors"; }
    std::filesystem::path log() const { return place() / "train.csv"; }
    /// Where state, log and drawings lie.
    std::filesystem::path place() const { return folder_ / files_.part; }
    /// Drawn after part 1 .. kDrawings of the training.
    std::filesystem::path grid(std::int64_t part) const;
    bool holds_model() const { return files_.holds_model(folder_); }

    /// Moves all files of an earlier training, whatever it was, into a folder earlier_N, and says
    /// so in a line: how far it had come, and how to go on with it.
    void make_room() const;

private:
    /// Whether the training there stopped before its first step.
    bool nothing_learned() const;
    void set_all_aside() const;

    std::filesystem::path folder_;
    TrainingFiles files_;
};

}  // namespace diffusion
