#pragma once
// Where the judge and the pictures come from, for the programs that measure.
#include <cstdint>
#include <filesystem>
#include <string>

#include "04_unet/model.hpp"
#include "05_measuring/scores.hpp"
#include "app/app.hpp"
#include "app/stages.hpp"
#include "data/find.hpp"

namespace diffusion {

struct JudgeSettings {
    std::string dataset = "mnist";  ///< what the judge learns and pictures are held against
    std::filesystem::path judge;  ///< empty: classifier_NAME.safetensors in --out, made if missing
};

/// How many pictures a judge sees while it learns.
std::int64_t judge_images(const std::string& preset);

/// Where the judge of the data set of this name lies.
std::filesystem::path judge_path(const CommonOptions& common, const JudgeSettings& settings,
                                 const std::string& data);

/// What learning takes on two cores, as measured once.
double learning_seconds(const CommonOptions& common);

/// The same, or 0 where a judge is there already.
double judge_seconds(const CommonOptions& common, const JudgeSettings& settings,
                     const Dataset& train);

/// Trains a judge and keeps it.
TrainedClassifier make_judge(const CommonOptions& common, const JudgeSettings& settings,
                             const Dataset& train);

/// The given model, or, where none is given, what chapter 4 leaves in a folder beside --out.
std::filesystem::path model_of_chapter_4(const CommonOptions& common,
                                         const std::filesystem::path& given);

/// Loads it. Where there is no such file, the error says what makes one.
LoadedModel load_model_of_chapter_4(const std::filesystem::path& path);

/// Fails unless the model learned these data. `path` is its file.
void require_same_data(const DenoisingModel& model, const std::filesystem::path& path,
                       const Dataset& data);

/// The judge from its file, or, where no path was asked for and none is there that has learned
/// enough of these pictures, a new one, which is then kept; and all that pictures are held against.
Reference find_reference(const CommonOptions& common, const JudgeSettings& settings, Split split,
                         const Stage& stage);

/// The data. Fails if there are too few test pictures to hold samples against.
Split find_comparable(const CommonOptions& common, const std::string& dataset);

inline constexpr int kReferenceStages = 2;  ///< that make_reference tells of
inline constexpr int kScoreStages = 4;      ///< that score tells of

}  // namespace diffusion
