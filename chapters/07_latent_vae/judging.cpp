#include "07_latent_vae/judging.hpp"

#include <cstdio>

#include "data/find.hpp"
#include "io/files.hpp"
#include "io/set_aside.hpp"

namespace diffusion {
namespace {

namespace fs = std::filesystem;

constexpr int kAsked = 5000;  ///< canvases, for the table

/// Quarters that a judge learns from.
std::int64_t images_of(const std::string& preset) {
    return preset == "smoke" ? 2'000 : 60'000;
}

/// The judge of a file in the folder. Where there is none, one of another version or one that has
/// learned from fewer pictures, `train` makes one.
template <class Judge, class Train>
Judge find_judge(const RunFolder& folder, const std::string& file, std::int64_t images,
                 Train train) {
    const fs::path path = folder.path(file);
    if (fs::exists(path)) {
        try {
            Judge judge = Judge::load(path);
            if (judge.images() >= images * 9 / 10) return judge;  // of whole batches
            fail(path.string(), ": has learned from ", judge.images(), " pictures, not ", images);
        } catch (const Error& error) {
            std::printf("note: %s; it is kept in %s, and another judge learns\n", error.what(),
                        set_aside(folder.dir(), std::span(&file, 1)).c_str());
        }
    }
    Judge judge = train();
    judge.save(path);
    return judge;
}

}  // namespace

SceneSets find_scenes(const std::string& data_dir, std::uint64_t seed) {
    const Split digits = find_split("mnist", data_dir);
    return {Scenes(digit_sprites(digits.train), seed), Scenes(digit_sprites(digits.test), ~seed)};
}

SceneJudge find_scene_judge(const CommonOptions& common, const SceneSets& scenes,
                            const RunFolder& folder) {
    const std::int64_t images = images_of(common.preset);
    return find_judge<SceneJudge>(folder, "scene_judge.safetensors", images, [&] {
        return SceneJudge::train(scenes.train, images, common.seed);
    });
}

WordReader find_word_reader(const CommonOptions& common, const Words& words,
                            const RunFolder& folder) {
    const std::int64_t images = 2 * images_of(common.preset);
    return find_judge<WordReader>(folder, "word_reader.safetensors", images,
                                  [&] { return WordReader::train(words, images, common.seed); });
}

namespace {

/// Pictures 0 .. kAsked - 1 of a composer, and what is on them.
template <class Paint>
Array<float> painted(Paint paint) {
    Array<float> canvases({kAsked, kCanvas, kCanvas, 3});
    for (int i = 0; i < kAsked; ++i) paint(i, canvases.tensor()[i]);
    return canvases;
}

using Rows = std::vector<std::pair<std::string, double>>;

Rows judge_scenes(const CommonOptions& common, const RunFolder& folder) {
    const SceneSets scenes = find_scenes(common.data, common.seed);
    SceneJudge judge = find_scene_judge(common, scenes, folder);
    std::vector<Scene> all;
    const Array<float> canvases = painted([&](int i, Tensor<float> canvas) {
        scenes.test.paint(all.emplace_back(scenes.test.scene(i)), canvas);
    });
    const SceneAgreement right = agreement(all, judge.read(canvases.tensor()));
    return {{"scenes: place", right.place},   {"scenes: thing", right.thing},
            {"scenes: colour", right.colour}, {"scenes: size", right.size},
            {"scenes: lean", right.lean},     {"scenes: weight", right.weight},
            {"scenes: ground", right.ground}, {"scenes: all", right.all}};
}

Rows judge_words(const CommonOptions& common, const RunFolder& folder) {
    const Words words(Spacing::grid, common.seed),
        others(Spacing::grid, common.seed, Spelling::held_out);
    WordReader reader = find_word_reader(common, words, folder);
    std::vector<Word> all;
    const Array<float> canvases = painted([&](int i, Tensor<float> canvas) {
        others.paint(all.emplace_back(others.word(i)), canvas);
    });
    const WordAgreement right = agreement(all, reader.read(canvases.tensor()));
    return {{"words: letters", right.letters},
            {"words: words", right.words},
            {"words: colour", right.colour},
            {"words: ground", right.ground}};
}

}  // namespace

void run_judge(const CommonOptions& common, RunFolder& folder) {
    const auto start = Clock::now();
    banner("Chapter 7: the judges of canvases", {{"seed", std::to_string(common.seed)}});
    folder.keep_earlier();
    for (const Rows& rows : {judge_scenes(common, folder), judge_words(common, folder)}) {
        for (const auto& [name, share] : rows) {
            std::printf("%-16s %6.2f %%\n", name.c_str(), 100 * share);
            folder.number(name, share, "of what was painted is read");
        }
    }
    folder.finish(seconds_since(start));
}

}  // namespace diffusion
