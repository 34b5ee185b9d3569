#pragma once
// What a training keeps in its folder, and how a new one treats what it finds there.
#include <cstdint>
#include <filesystem>

#include "io/run_folder.hpp"
#include "io/set_aside.hpp"

namespace diffusion {

inline constexpr int kGrids = 8;  ///< drawings on the way

class TrainingFolder {
public:
    explicit TrainingFolder(const RunFolder& folder);

    std::filesystem::path state() const { return folder_.path("state.safetensors"); }
    std::filesystem::path log() const { return folder_.path("train.csv"); }
    /// Drawn after part 1 .. kGrids of the training.
    std::filesystem::path grid(std::int64_t part) const;

    /// Moves all files of an earlier training, whatever it was, into a folder earlier_N, and says
    /// so in a line: how far it had come, and how to go on with it.
    void make_room() const;

private:
    /// Whether the training there stopped before its first step.
    bool nothing_learned() const;

    const RunFolder& folder_;
};

}  // namespace diffusion
