#include "05_measuring/reference.hpp"

#include "data/find.hpp"
#include "data/idx.hpp"
#include "data/image_folder.hpp"

namespace diffusion {
namespace {

TrainedClassifier find_judge(const CommonOptions& common, const JudgeSettings& settings,
                             const Dataset& train) {
    const std::filesystem::path path = judge_path(common, settings);
    const std::int64_t images = judge_images(common.preset);
    if (!settings.judge.empty() || std::filesystem::exists(path)) {
        TrainedClassifier judge = load_classifier(path);
        if (!settings.judge.empty() || (judge.data == train.name && judge.images >= images)) {
            require(judge.data == train.name, path.string(), ": learned ", judge.data,
                    ", but the data are ", train.source);
            return judge;
        }
    }
    TrainedClassifier judge = train_classifier(train, images, common.seed);
    std::filesystem::create_directories(path.parent_path());
    judge.save(path);
    return judge;
}

}  // namespace

std::int64_t judge_images(const std::string& preset) {
    return preset == "smoke" ? 640 : 120'000;
}

std::filesystem::path judge_path(const CommonOptions& common, const JudgeSettings& settings) {
    return settings.judge.empty() ? common.out / "classifier.safetensors" : settings.judge;
}

Reference find_reference(const CommonOptions& common, const JudgeSettings& settings,
                         const Stage& stage) {
    Dataset train = find_dataset(settings.dataset, common.data, true),
            test = find_dataset(settings.dataset, common.data, false);
    TrainedClassifier judge = find_judge(common, settings, train);
    return make_reference(std::move(judge), std::move(train), std::move(test), stage);
}

Dataset read_pictures(const std::filesystem::path& path) {
    if (std::filesystem::is_directory(path)) return read_image_folder(path);
    IdxArray idx = read_idx_images(path);
    if (idx.shape.size() == 3) idx.shape.push_back(1);
    return {"samples",    path.string(), idx.shape[0],         idx.shape[1],
            idx.shape[2], idx.shape[3],  std::move(idx.bytes), {}};
}

}  // namespace diffusion
