#include "04_unet/training_folder.hpp"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "04_unet/trainer.hpp"
#include "io/files.hpp"

namespace diffusion {
namespace {

namespace fs = std::filesystem;

/// "step 40 of 100", and, of an unfinished training, how to go on with it.
std::string told_of(const fs::path& aside, const std::string& part) {
    const fs::path state = aside / part / "state.safetensors";
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

TrainingFolder::TrainingFolder(fs::path folder, TrainingFiles files)
    : folder_(std::move(folder)), files_(std::move(files)) {
    if (files_.part.empty()) {
        files_.model.insert(files_.model.end(), {"state.safetensors", "train.csv"});
        for (int number = 1; number <= kDrawings; ++number)
            files_.others.push_back(grid(number).filename().string());
    } else {
        files_.model.push_back(files_.part);
    }
    remove_leftovers(place());
    for (const std::string& name : files_.model) remove_leftovers(folder_ / name);
}

fs::path TrainingFolder::grid(std::int64_t part) const {
    return place() / ("progress_" + std::to_string(part) + ".png");
}

bool TrainingFolder::nothing_learned() const {
    if (holds_model()) return false;
    try {
        return look_at_state(state()).step == 0;
    } catch (const std::exception&) {
        return false;
    }
}

void TrainingFolder::make_room() const {
    const auto is_there = [&](const std::string& name) { return fs::exists(folder_ / name); };
    if (std::ranges::any_of(files_.model, is_there) && !nothing_learned()) set_all_aside();
    fs::create_directories(place());
}

void TrainingFolder::set_all_aside() const {
    std::vector<std::string> all = files_.model;
    all.insert(all.end(), files_.others.begin(), files_.others.end());
    const fs::path aside = set_aside(folder_, all);
    if (!files_.shared.empty() && fs::exists(folder_ / files_.shared))
        fs::copy(folder_ / files_.shared, aside / files_.shared, fs::copy_options::recursive);
    std::printf("the earlier training here is kept in %s (%s)%s\n", aside.c_str(),
                size_text(aside).c_str(), told_of(aside, files_.part).c_str());
}

}  // namespace diffusion
