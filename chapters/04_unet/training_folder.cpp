#include "04_unet/training_folder.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <string>
#include <vector>

#include "04_unet/model.hpp"
#include "04_unet/trainer.hpp"
#include "io/files.hpp"

namespace diffusion {
namespace {

namespace fs = std::filesystem;

/// If one of these is there, there was a training.
constexpr std::array kMarks = {"state.safetensors", "model_index.json", "train.csv",
                               "model.safetensors"};  // as it was called once

/// All that training and drawing in one folder leave there.
std::vector<std::string> all_files() {
    std::vector<std::string> names = {
        "unet",        "scheduler",   "loss_by_t.csv", "progress.png",  "loss.png",
        "samples.png", "samples.idx", "samples.npy",   "denoising.gif", "run.json"};
    names.insert(names.end(), kMarks.begin(), kMarks.end());
    for (int part = 1; part <= kGrids; ++part)
        names.push_back("progress_" + std::to_string(part) + ".png");
    return names;
}

/// "step 40 of 100", and, of an unfinished training, how to go on with it.
std::string told_of(const fs::path& aside) {
    const fs::path state = aside / "state.safetensors";
    if (!fs::exists(state)) return "";
    try {
        const SavedState saved = look_at_state(state);
        const std::string step = std::to_string(saved.step), steps = std::to_string(saved.steps);
        if (saved.step >= saved.steps) return "; it had made all of its " + steps + " steps";
        return "; it had made " + step + " of " + steps +
               " steps, and goes on with its options and --resume --out " + aside.string();
    } catch (const std::exception&) {
        return "; its state cannot be read";
    }
}

}  // namespace

TrainingFolder::TrainingFolder(const RunFolder& folder) : folder_(folder) {
    for (const char* part : {"unet", "scheduler"}) remove_leftovers(folder.path(part));
}

fs::path TrainingFolder::grid(std::int64_t part) const {
    return folder_.path("progress_" + std::to_string(part) + ".png");
}

bool TrainingFolder::nothing_learned() const {
    if (holds_model(folder_.dir())) return false;
    try {
        return look_at_state(state()).step == 0;
    } catch (const std::exception&) {
        return false;
    }
}

void TrainingFolder::make_room() const {
    if (std::ranges::none_of(kMarks, [&](auto mark) { return fs::exists(folder_.path(mark)); }))
        return;
    if (nothing_learned()) return;
    const fs::path aside = set_aside(folder_.dir(), all_files());
    std::printf("the earlier training here is kept in %s (%s)%s\n", aside.c_str(),
                size_text(aside).c_str(), told_of(aside).c_str());
}

}  // namespace diffusion
