#include "07_latent_vae/judging.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <optional>

#include "05_measuring/frechet.hpp"
#include "05_measuring/given_pictures.hpp"
#include "07_latent_vae/coding.hpp"
#include "07_latent_vae/take_apart.hpp"
#include "data/find.hpp"
#include "data/painted.hpp"
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

constexpr int kAtOnce = 1000;  ///< canvases in memory

/// How wrong decoded canvases are where nothing stands, and where something does: a mean over all
/// pixels hides the second.
class Errors {
public:
    void add(Tensor<const float> painted, Tensor<const float> decoded) {
        for (int n = 0; n < painted.size(0); ++n) {
            const Tensor<const float> pixels = painted[n].rows(), other = decoded[n].rows();
            const std::array<float, 3> ground = take_apart(painted[n]).ground;
            for (int p = 0; p < pixels.size(0); ++p) {
                double square = 0;
                for (int c = 0; c < pixels.size(1); ++c) {
                    const double d = static_cast<double>(pixels(p, c) - other(p, c));
                    square += d * d / pixels.size(1);
                }
                Mean& mean = std::ranges::equal(pixels[p], ground) ? ground_ : ink_;
                mean.sum += square;
                ++mean.count;
            }
        }
    }
    void tell(const char* kind, RunFolder& folder) const {
        const auto share = [](const Mean& mean) {  // of the range, which is 2
            return std::sqrt(mean.sum / static_cast<double>(mean.count)) / 2;
        };
        std::printf("%s: root mean square errors %.2f %% of the range on grounds, %.2f %% on ink\n",
                    kind, 100 * share(ground_), 100 * share(ink_));
        folder.number(std::string(kind) + ": error on grounds", share(ground_), "of the range");
        folder.number(std::string(kind) + ": error on ink", share(ink_), "of the range");
    }

private:
    struct Mean {
        double sum = 0;
        std::int64_t count = 0;
    };
    Mean ground_, ink_;
};

/// Prints how often a judge is right, on canvases as they were painted and, if there is a coder, on
/// what it makes of them.
template <class Judge, class Composer>
void tell(const char* kind, Judge& judge, const Composer& composer, int n, const Coder* coder,
          RunFolder& folder) {
    decltype(paint_canvases(composer, 0, 1).truth) truth;
    decltype(judge.read({})) read, read_again;
    Errors errors;
    for (int first = 0; first < n; first += kAtOnce) {
        const auto part = paint_canvases(composer, first, std::min(kAtOnce, n - first));
        truth.insert(truth.end(), part.truth.begin(), part.truth.end());
        const auto read_to = [&](auto& to, Tensor<const float> canvases) {
            const auto some = judge.read(canvases);
            to.insert(to.end(), some.begin(), some.end());
        };
        read_to(read, part.canvases.tensor());
        if (coder == nullptr) continue;
        const Array<float> back = coder->decode(coder->encode(part.canvases.tensor()).tensor());
        require_finite(back.tensor(), "judge: what the autoencoder decodes");
        read_to(read_again, back.tensor());
        errors.add(part.canvases.tensor(), back.tensor());
    }
    const Rows right = rows_of(agreement(truth, read));
    Rows again;
    if (coder != nullptr) {
        std::printf("%25s %10s\n", "painted", "decoded");
        again = rows_of(agreement(truth, read_again));
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
    if (coder != nullptr) errors.tell(kind, folder);
}

/// The judge's features of n canvases; canvases(first, count) are some of them.
template <class Canvases>
Array<float> features_of(SceneJudge& judge, int n, Canvases canvases) {
    Array<float> all({n, SceneJudge::kFeatures});
    for (int first = 0; first < n; first += kAtOnce) {
        const Array<float> some = canvases(first, std::min(kAtOnce, n - first));
        std::ranges::copy(judge.features(some.tensor()), all.tensor()[first].data());
    }
    return all;
}

Dataset read_canvases(const fs::path& path) {
    Dataset samples = read_pictures(path);
    require(samples.height == kCanvas && samples.width == kCanvas && samples.channels == 3,
            path.string(), ": pictures of ", samples.height, " x ", samples.width, " x ",
            samples.channels, ", expected canvases, 64 x 64 in colour");
    return samples;
}

/// How far samples are from scenes as the judge sees them.
void tell_distance(const CommonOptions& common, const Dataset& samples, int most,
                   const SceneSets& scenes, SceneJudge& judge, RunFolder& folder) {
    const int reference_size = common.preset == "smoke" ? kAtOnce : 20 * kAtOnce;
    const auto painted_by = [](const Scenes& composer) {
        return [&composer](int first, int count) {
            return paint_canvases(composer, first, count).canvases;
        };
    };
    const Gaussian reference =
        fit_gaussian(features_of(judge, reference_size, painted_by(scenes.train)).tensor());
    const int n = std::min(most, samples.count);
    const auto measure = [&](const std::string& name, const Array<float>& features) {
        const double distance = frechet_distance(fit_gaussian(features.tensor()), reference);
        const Interval range =
            frechet_interval(features.tensor(), reference, distance, common.seed);
        std::printf("%-16s %.3f (%.3f to %.3f), %d canvases\n", name.c_str(), distance, range.low,
                    range.high, n);
        folder.number("Frechet distance, " + name, distance,
                      shortest(range.low) + " to " + shortest(range.high));
    };
    std::printf("Frechet distance to %d scenes:\n", reference_size);
    measure("other scenes", features_of(judge, n, painted_by(scenes.test)));
    measure("samples", features_of(judge, n, [&](int first, int count) {
                Array<float> x({count, kCanvas, kCanvas, 3});
                for (int i = 0; i < count; ++i) decode(samples, first + i, false, x.tensor()[i]);
                return x;
            }));
}

}  // namespace

void run_judge(const CommonOptions& common, const JudgingSettings& settings, RunFolder& folder) {
    const auto start = Clock::now();
    std::optional<Coder> coder;
    if (!settings.vae.empty()) coder.emplace(load_coder(settings.vae));
    std::optional<Dataset> samples;
    if (!settings.samples.empty()) samples.emplace(read_canvases(settings.samples));
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
        if (samples) {
            tell_distance(common, *samples, settings.n, scenes, judge, folder);
        } else {
            tell("scenes", judge, scenes.test, settings.n, one, folder);
        }
    }
    if (!samples && (one == nullptr || one->data == "words")) {
        const Words words(Spacing::grid, common.seed),
            others(Spacing::grid, common.seed, Spelling::held_out);
        WordReader reader = find_word_reader(common, words, folder);
        tell("words", reader, others, settings.n, one, folder);
    }
    folder.finish(seconds_since(start));
}

}  // namespace diffusion
