#include "05_measuring/reference.hpp"

#include <cstdio>
#include <optional>
#include <span>
#include <utility>

#include "data/find.hpp"
#include "io/files.hpp"
#include "io/set_aside.hpp"

namespace diffusion {
namespace {

constexpr double kSecondsPerPicture = 1e-4;  // of learning

bool learned_from(const TrainedClassifier& judge, const Dataset& train) {
    return judge.data == train.name && judge.checksum == checksum(train);
}

/// The judge of --judge.
TrainedClassifier named_judge(const std::filesystem::path& path, const Dataset& train) {
    require_file(path, "05_measuring train makes a judge, and score does without --judge");
    TrainedClassifier judge = load_classifier(path);
    require(learned_from(judge, train), path.string(), ": learned ", judge.data,
            judge.data == train.name ? " from other pictures" : "", ", but the data are ",
            train.source);
    return judge;
}

/// The judge that is there already, if it will do.
std::optional<TrainedClassifier> find_old(const CommonOptions& common,
                                          const JudgeSettings& settings, const Dataset& train) {
    if (!settings.judge.empty()) return named_judge(settings.judge, train);
    try {
        TrainedClassifier judge = load_classifier(judge_path(common, settings, train.name));
        if (learned_from(judge, train) && judge.images >= judge_images(common.preset)) return judge;
    } catch (const Error&) {  // there is none, or it is damaged, or of another version: a new one
    }
    return std::nullopt;
}

/// A judge that learned something else, or for longer or shorter, is set aside.
void keep_other(const std::filesystem::path& path, const TrainedClassifier& judge) {
    if (!std::filesystem::exists(path)) return;
    const auto same = [&] {
        const TrainedClassifier other = load_classifier(path);
        return other.data == judge.data && other.checksum == judge.checksum &&
               other.images == judge.images && other.seed == judge.seed;
    };
    try {
        if (same()) return;   // it is the same judge
    } catch (const Error&) {  // it is none, or a damaged one
    }
    const std::string name = path.filename().string();
    const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
    const std::filesystem::path aside = set_aside(folder, std::span(&name, 1));
    std::printf("the earlier judge is kept in %s\n", aside.c_str());
}

}  // namespace

std::int64_t judge_images(const std::string& preset) {
    return preset == "smoke" ? 640 : 120'000;
}

std::filesystem::path judge_path(const CommonOptions& common, const JudgeSettings& settings,
                                 const std::string& data) {
    return settings.judge.empty() ? common.out / ("classifier_" + data + ".safetensors")
                                  : settings.judge;
}

double learning_seconds(const CommonOptions& common) {
    return kSecondsPerPicture * static_cast<double>(judge_images(common.preset));
}

double judge_seconds(const CommonOptions& common, const JudgeSettings& settings,
                     const Dataset& train) {
    return find_old(common, settings, train) ? 0 : learning_seconds(common);
}

TrainedClassifier make_judge(const CommonOptions& common, const JudgeSettings& settings,
                             const Dataset& train) {
    const std::filesystem::path path = judge_path(common, settings, train.name);
    // First the folder: what cannot be kept need not be learned.
    if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path());
    TrainedClassifier judge = train_classifier(train, judge_images(common.preset), common.seed);
    keep_other(path, judge);
    judge.save(path);
    return judge;
}

std::filesystem::path model_of_chapter_4(const CommonOptions& common,
                                         const std::filesystem::path& given) {
    return given.empty() ? common.out.parent_path() / "04_unet" : given;
}

LoadedModel load_model_of_chapter_4(const std::filesystem::path& path) {
    require_file(path, "04_unet train makes a model; --model names one that lies elsewhere");
    LoadedModel loaded = load_model(path);
    if (!loaded.note.empty()) std::printf("note: %s\n", loaded.note.c_str());
    return loaded;
}

void require_same_data(const DenoisingModel& model, const std::filesystem::path& path,
                       const Dataset& data) {
    require(!model.data.empty(), path.string(),
            ": does not tell what the model learned, so there is nothing to hold its pictures "
            "against; draw some (04_unet sample), and score them (05_measuring score)");
    require(model.data == data.name, path.string(), ": the model learned ", model.data,
            ", but the data are ", data.source);
}

Reference find_reference(const CommonOptions& common, const JudgeSettings& settings, Split split,
                         const Stage& stage) {
    std::optional<TrainedClassifier> judge = find_old(common, settings, split.train);
    if (!judge) judge = make_judge(common, settings, split.train);
    return make_reference(*std::move(judge), std::move(split.train), std::move(split.test), stage);
}

Split find_comparable(const CommonOptions& common, const std::string& dataset) {
    Split split = find_split(dataset, common.data);
    require(split.test.count >= kFewest, split.test.source, ": ", split.test.count,
            " test pictures, expected at least ", kFewest, " to compare with");
    return split;
}

}  // namespace diffusion
