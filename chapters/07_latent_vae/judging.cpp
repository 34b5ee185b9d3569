#include "07_latent_vae/judging.hpp"

#include <algorithm>
#include <cstdio>
#include <optional>

#include "05_measuring/frechet.hpp"
#include "05_measuring/given_pictures.hpp"
#include "07_latent_vae/coding.hpp"
#include "data/find.hpp"
#include "io/csv.hpp"
#include "io/files.hpp"
#include "io/image.hpp"
#include "io/set_aside.hpp"

namespace diffusion {
namespace {

namespace fs = std::filesystem;

/// Quarters that a judge learns from.
std::int64_t images_of(const std::string& preset) {
    return preset == "smoke" ? 2'000 : 60'000;
}

/// The judge of a file in the folder. Where there is none, a damaged one or one that has learned
/// less or something else, `train` makes one.
template <class Judge, class HasLearned, class Train>
Judge find_judge(const RunFolder& folder, const std::string& file, HasLearned has_learned,
                 Train train) {
    const fs::path path = folder.path(file);
    if (fs::exists(path)) {
        try {
            Judge judge = Judge::load(path);
            if (has_learned(judge)) return judge;
            fail(path.string(), ": has learned less, or from other pictures");
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
    return find_judge<SceneJudge>(
        folder, "scene_judge.safetensors",
        [&](const SceneJudge& j) { return j.has_learned(scenes.train, images, common.seed); },
        [&] { return SceneJudge::train(scenes.train, images, common.seed); });
}

WordReader find_word_reader(const CommonOptions& common, const Words& words,
                            const RunFolder& folder) {
    const std::int64_t images = 2 * images_of(common.preset);
    return find_judge<WordReader>(
        folder, "word_reader.safetensors",
        [&](const WordReader& reader) { return reader.has_learned(images, common.seed); },
        [&] { return WordReader::train(words, images, common.seed); });
}

namespace {

using Rows = std::vector<std::pair<std::string, double>>;

/// Canvases and what is on them.
template <class Truth>
struct Painted {
    std::vector<Truth> truth;
    Array<float> canvases;
};
Painted<Scene> painted(const Scenes& scenes, int n) {
    Painted<Scene> all{{}, Array<float>({n, kCanvas, kCanvas, 3})};
    for (int i = 0; i < n; ++i)
        scenes.paint(all.truth.emplace_back(scenes.scene(i)), all.canvases.tensor()[i]);
    return all;
}
Painted<Word> painted(const Words& words, int n) {
    Painted<Word> all{{}, Array<float>({n, kCanvas, kCanvas, 3})};
    for (int i = 0; i < n; ++i)
        words.paint(all.truth.emplace_back(words.word(i)), all.canvases.tensor()[i]);
    return all;
}

Rows rows_of(const SceneAgreement& right) {
    return {{"place", right.place},   {"thing", right.thing}, {"colour", right.colour},
            {"size", right.size},     {"lean", right.lean},   {"weight", right.weight},
            {"ground", right.ground}, {"all", right.all}};
}
Rows rows_of(const WordAgreement& right) {
    return {{"letters", right.letters},
            {"words", right.words},
            {"colour", right.colour},
            {"ground", right.ground}};
}

/// Prints how often a judge is right, on canvases as they were painted and, if there is a coder, on
/// what it makes of them.
template <class Judge, class Truth>
void tell(const char* kind, Judge& judge, const Painted<Truth>& all, const Coder* coder,
          RunFolder& folder) {
    const Rows right = rows_of(agreement(all.truth, judge.read(all.canvases.tensor())));
    Rows again;
    if (coder != nullptr) {
        std::printf("%25s %10s\n", "painted", "decoded");
        const Array<float> back = coder->decode(coder->encode(all.canvases.tensor()).tensor());
        require_finite(back.tensor(), "judge: what the autoencoder decodes");
        again = rows_of(agreement(all.truth, judge.read(back.tensor())));
    }
    for (std::size_t i = 0; i < right.size(); ++i) {
        const std::string name = std::string(kind) + ": " + right[i].first;
        std::printf("%-16s %6.2f %%", name.c_str(), 100 * right[i].second);
        folder.number(name, right[i].second, "of what was painted is read");
        if (coder != nullptr) {
            std::printf("  %6.2f %%", 100 * again[i].second);
            folder.number(name + ", decoded", again[i].second, "is read after coding");
        }
        std::printf("\n");
    }
}

/// How far samples are from scenes as the judge sees them.
void tell_distance(const CommonOptions& common, const JudgingSettings& settings,
                   const SceneSets& scenes, SceneJudge& judge, RunFolder& folder) {
    constexpr int kAtOnce = 1000;
    const int reference_size = common.preset == "smoke" ? kAtOnce : 20 * kAtOnce;
    const Dataset samples = read_pictures(settings.samples);
    require(samples.height == kCanvas && samples.width == kCanvas && samples.channels == 3,
            settings.samples.string(), ": pictures of ", samples.height, " x ", samples.width,
            " x ", samples.channels, ", expected canvases, 64 x 64 in colour");
    Array<float> real({reference_size, SceneJudge::kFeatures});
    for (int first = 0; first < reference_size; first += kAtOnce) {
        Array<float> canvases({kAtOnce, kCanvas, kCanvas, 3});
        for (int i = 0; i < kAtOnce; ++i)
            scenes.train.paint(scenes.train.scene(first + i), canvases.tensor()[i]);
        std::ranges::copy(judge.features(canvases.tensor()), real.tensor()[first].data());
    }
    const Gaussian reference = fit_gaussian(real.tensor());
    const int n = std::min(settings.n, samples.count);
    const auto measure = [&](const std::string& name, Tensor<const float> canvases) {
        const Array<float> features = judge.features(canvases);
        const double distance = frechet_distance(fit_gaussian(features.tensor()), reference);
        const Interval range =
            frechet_interval(features.tensor(), reference, distance, common.seed);
        std::printf("%-16s %.3f (%.3f to %.3f), %d canvases\n", name.c_str(), distance, range.low,
                    range.high, canvases.size(0));
        folder.number("Frechet distance, " + name, distance,
                      shortest(range.low) + " to " + shortest(range.high));
    };
    std::printf("Frechet distance to %d scenes:\n", reference_size);
    measure("other scenes", painted(scenes.test, n).canvases.tensor());
    Array<float> x({n, kCanvas, kCanvas, 3});
    for (int i = 0; i < n; ++i) decode(samples, i, false, x.tensor()[i]);
    measure("samples", x.tensor());
}

}  // namespace

void run_judge(const CommonOptions& common, const JudgingSettings& settings, RunFolder& folder) {
    const auto start = Clock::now();
    std::optional<Coder> coder;
    if (!settings.vae.empty()) coder.emplace(load_coder(settings.vae));
    banner("Chapter 7: the judges of canvases",
           {{"canvases", std::to_string(settings.n)}, {"seed", std::to_string(common.seed)}});
    folder.keep_earlier();
    require(!coder || coder->data == "scenes" || coder->data == "words", settings.vae.string(),
            ": an autoencoder of ",
            coder && !coder->data.empty() ? coder->data : "pictures that it does not name",
            "; the judges read scenes and words");
    const Coder* one = coder ? &*coder : nullptr;
    if (one == nullptr || one->data == "scenes") {
        const SceneSets scenes = find_scenes(common.data, common.seed);
        SceneJudge judge = find_scene_judge(common, scenes, folder);
        if (!settings.samples.empty()) {
            tell_distance(common, settings, scenes, judge, folder);
        } else {
            tell("scenes", judge, painted(scenes.test, settings.n), one, folder);
        }
    }
    if (settings.samples.empty() && (one == nullptr || one->data == "words")) {
        const Words words(Spacing::grid, common.seed),
            others(Spacing::grid, common.seed, Spelling::held_out);
        WordReader reader = find_word_reader(common, words, folder);
        tell("words", reader, painted(others, settings.n), one, folder);
    }
    folder.finish(seconds_since(start));
}

}  // namespace diffusion
