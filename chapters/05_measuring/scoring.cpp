#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <utility>

#include "05_measuring/given_pictures.hpp"
#include "05_measuring/panels.hpp"
#include "05_measuring/reference.hpp"
#include "05_measuring/runs.hpp"
#include "05_measuring/texts.hpp"
#include "io/json.hpp"
#include "io/run_folder.hpp"

namespace diffusion {
namespace {

constexpr double kScoreSeconds = 20;  // of 5,000 pictures, measured once on two cores

/// What is to be scored: the first n pictures of a file, of the size of the test pictures.
Dataset find_samples(const ScoreSettings& settings, const Dataset& test) {
    Dataset samples = read_pictures(settings.samples);
    require(samples.count >= kFewest, settings.samples.string(), ": ", samples.count,
            " pictures, expected at least ", kFewest);
    if (test.channels == 1) drop_equal_channels(samples);
    const int n = settings.n > 0 ? settings.n : std::min(samples.count, test.count);
    require(n >= kFewest && n <= samples.count, settings.samples.string(), ": --n is ", n,
            ", expected ", kFewest, " to ", samples.count, ", the number of its pictures");
    require(n <= test.count, "--n is ", n, ", but there are only ", test.count,
            " test pictures to compare with");
    const Shape size{samples.height, samples.width, samples.channels},
        expected{test.height, test.width, test.channels};
    require(size == expected, settings.samples.string(), ": the pictures are ", size, ", those of ",
            test.name, " are ", expected);
    samples.pixels.resize(static_cast<std::size_t>(n) * samples.image_size());
    samples.count = n;
    return samples;
}

/// All scores of the samples beside those of real pictures. Of pictures that are unlike the data
/// the judge's sureness says nothing, and is not shown.
void print_scores(const Scores& s, const Scores& real, double floor, bool unlike) {
    const auto line = [](const char* name, const std::string& of_samples,
                         const std::string& of_real, const std::string& note) {
        std::printf("%-32s%24s%24s  %s\n", name, of_samples.c_str(), of_real.c_str(), note.c_str());
    };
    const auto between = [](double x, Interval i, double scale, int decimals) {
        return fixed(scale * x, decimals) + " (" + fixed(scale * i.low, decimals) + " to " +
               fixed(scale * i.high, decimals) + ")";
    };
    const auto interval = [&](const Scores& of) {
        return between(of.frechet, of.frechet_interval, 1, 3);
    };
    const auto counts = [](const Scores& of) {
        const auto [least, most] = std::ranges::minmax(of.classes);
        return fixed(of.effective_classes, 2) + " (" + std::to_string(least) + " to " +
               std::to_string(most) + " each)";
    };
    const auto kernel = [](const Scores& of) {
        return fixed(1000 * of.kernel.value, 2) + " +- " + fixed(1000 * of.kernel.error, 2);
    };
    std::printf("\n%d pictures, in brackets 95 %% intervals\n", s.n);
    line("", "samples", "real test pictures", "");
    line("good?   judge is sure, %", unlike ? "-" : between(s.sure, s.sure_interval, 100, 1),
         between(real.sure, real.sure_interval, 100, 1),
         unlike ? "means nothing here" : "the more the better");
    line("        precision, %", fixed(100 * s.cover.precision, 1),
         fixed(100 * real.cover.precision, 1), "the more the better");
    line("varied? recall, %", fixed(100 * s.cover.recall, 1), fixed(100 * real.cover.recall, 1),
         "the more the better");
    line("        classes", counts(s), counts(real), "effective number");
    line("both    Frechet distance", interval(s), interval(real),
         fixed(s.frechet / floor, 1) + " times the floor, " + fixed(floor, 4));
    line("        kernel distance, 1/1000", kernel(s), kernel(real), "0 is perfect");
    line("new?    near copies, %", between(s.near_copies, s.near_copies_interval, 100, 1),
         between(real.near_copies, real.near_copies_interval, 100, 1), "no more than real ones");
    line("        nearer than a real one", fixed(s.closer, 3), fixed(real.closer, 3),
         "0.5: as far as real ones");
}

double brightness(const Dataset& pictures) {
    double sum = 0;
    for (const std::uint8_t pixel : pictures.pixels) sum += pixel;
    return sum / (255.0 * static_cast<double>(pictures.pixels.size()));
}

/// Of samples that are unlike the data: one line about them; else nothing. There the judge's
/// opinion is worth nothing: it can tell digits from digits, and calls anything one of them.
std::string doubts(const Scores& s, const Dataset& samples, const Dataset& test) {
    constexpr double kHardlyAny = 0.05, kFar = 0.1;
    const double wanted = brightness(test), found = brightness(samples);
    const double off = std::abs(found - wanted), off_as_negative = std::abs(1 - found - wanted);
    if (off > kFar && off > 3 * off_as_negative)
        return "the samples look inverted: their mean brightness is " + percent(found) +
               ", that of " + test.name + " " + percent(wanted);
    if (s.cover.precision < kHardlyAny)
        return "the samples look unlike " + test.name + ": " + percent(s.cover.precision) +
               " of them lie among real pictures (precision)";
    return {};
}

}  // namespace

void run_score(const CommonOptions& common, const ScoreSettings& settings) {
    const auto start = Clock::now();
    RunFolder folder(common.out, "05_measuring", "Is it good, varied and new?");
    no_state_to_resume(common);
    folder.keep_earlier();
    Split split = find_comparable(common, settings.judge.dataset);
    const Dataset samples = find_samples(settings, split.test);
    const int n = samples.count;
    banner("Chapter 5: scoring",
           {{"samples", samples.source},
            {"pictures", std::to_string(n)},
            {"held against", split.train.source},
            {"expected time",
             about(kScoreSeconds + judge_seconds(common, settings.judge, split.train))}});
    folder.setting("score", {{"samples", settings.samples.string()},
                             {"n", n},
                             {"data", split.train.source},
                             {"seed", common.seed}});
    Stages stages("measure", kReferenceStages + 2 * kScoreStages);
    const auto stage = [&](const std::string& text) { stages(text); };
    Reference r = find_reference(common, settings.judge, std::move(split), stage);
    const Scores s = score(r, samples, common.seed, stage);
    const Scores real = score(r, choose(r.test, n, common.seed), common.seed, stage);
    const double floor = mean_frechet(r.gaussian, r.of_test.rows(), n, common.seed);
    const Predictions predictions = judge(r.classifier, samples);
    show_unsure(folder, "scored_", samples, predictions);
    show_neighbours(folder, "scored_", r, samples, predictions);
    stages.finish();
    const std::string doubt = doubts(s, samples, r.test);
    print_scores(s, real, floor, !doubt.empty());
    if (!doubt.empty()) std::printf("\nnote: %s\n", doubt.c_str());
    const nlohmann::json result = {{"samples", settings.samples.string()},
                                   {"dataset", settings.judge.dataset},
                                   {"seed", common.seed},
                                   {"judge",
                                    {{"accuracy", r.accuracy},
                                     {"data", r.classifier.data},
                                     {"images", r.classifier.images},
                                     {"seed", r.classifier.seed}}},
                                   {"reference", r.train.count},
                                   {"frechet_floor", floor},
                                   {"scores", to_json(s)},
                                   {"real", to_json(real)},
                                   {"note", doubt}};
    write_json(folder.path("score.json"), result);
    folder.number("scored: sure", s.sure,
                  settings.samples.string() + (doubt.empty() ? "" : "; " + doubt));
    folder.number("scored: Frechet distance", s.frechet, "real test pictures: " + fixed(floor, 3));
    folder.finish(seconds_since(start));
    std::printf("\nthe judge names %s of the test pictures rightly; %s (%.0f s)\n",
                percent(r.accuracy).c_str(), folder.path("score.json").string().c_str(),
                seconds_since(start));
}

}  // namespace diffusion
