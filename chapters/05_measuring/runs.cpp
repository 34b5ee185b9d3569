#include "05_measuring/runs.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <optional>
#include <utility>

#include "04_unet/samples.hpp"
#include "05_measuring/faults.hpp"
#include "05_measuring/panels.hpp"
#include "05_measuring/reference.hpp"
#include "data/find.hpp"
#include "io/csv.hpp"
#include "io/image.hpp"
#include "io/json.hpp"
#include "io/run_folder.hpp"

namespace diffusion {
namespace {

struct Preset {
    int pictures, steps;  ///< of a set; of drawing
    double seconds;       ///< as measured once on two cores, without learning and drawing
};
const std::map<std::string, Preset> kPresets = {{"smoke", {100, 2, 10}},
                                                {"quick", {1'000, 50, 30}},
                                                {"standard", {5'000, 250, 100}},
                                                {"long", {10'000, 1000, 200}}};
constexpr double kScoreSeconds = 20;  // the same, of scoring 5,000 pictures

std::string percent(double share) {
    char text[16];
    std::snprintf(text, sizeof text, "%.1f %%", 100 * share);
    return text;
}

std::string fixed(double x, int decimals) {
    char text[32];
    std::snprintf(text, sizeof text, "%.*f", decimals, x);
    return text;
}

/// One line of the table of sets; the Frechet distance also as a multiple of the floor.
void print_row(const std::string& name, const Scores& s, double floor) {
    std::printf("%-22s%8s%10.3f%8.1f%10.2f%11s%9s%9.2f%9s%8.2f\n", name.c_str(),
                percent(s.sure).c_str(), s.frechet, s.frechet / floor, 1000 * s.kernel.value,
                percent(s.cover.precision).c_str(), percent(s.cover.recall).c_str(),
                s.effective_classes, percent(s.near_copies).c_str(), s.closer);
}
void print_head() {
    std::printf("\n%-22s%8s%10s%8s%10s%11s%9s%9s%9s%8s\n", "", "sure", "Frechet", "/floor",
                "kernel", "precision", "recall", "classes", "copies", "closer");
}

Array<float> draw(LoadedModel& loaded, int n, int steps, std::uint64_t seed) {
    const DenoisingModel& model = loaded.model;
    Array<float> pictures = find_noise({}, model, n, seed);
    Progress progress("draw", steps, "steps");
    int done = 0;
    const auto observer = [&](const Moment&, Tensor<const float>) {
        require(!interrupted(), "stopped while drawing");
        progress.update(++done);
    };
    ancestral_sample<float>(
        model_denoiser(model, loaded.values), model.path(even_times(model.schedule.steps(), steps)),
        {.clip = 1.0, .noise = fresh_noise<float>(seed), .observer = observer}, pictures);
    progress.finish();
    return pictures;
}

/// Grey pictures that a program wrote in colour, all three channels alike, become grey again.
void drop_equal_channels(Dataset& pictures) {
    if (pictures.channels != 3) return;
    const std::vector<std::uint8_t>& from = pictures.pixels;
    std::vector<std::uint8_t> grey;
    for (std::size_t i = 0; i + 2 < from.size(); i += 3) {
        if (from[i] != from[i + 1] || from[i] != from[i + 2]) return;
        grey.push_back(from[i]);
    }
    pictures.pixels = std::move(grey);
    pictures.channels = 1;
}

/// Distance against the number of pictures: of real ones, what (5.8) says, and of real ones with
/// one in ten spoiled.
void measure_bias(RunFolder& folder, Reference& r, std::uint64_t seed) {
    CsvWriter table(folder.path("bias.csv"), {"n", "real", "formula", "spoiled"});
    const Predictions of_spoiled = judge(r.classifier, one_in_ten_halves(r.test));
    std::printf("\n%-12s%12s%12s%22s\n", "pictures", "real", "(5.8)", "one in ten spoiled");
    for (const int n : {100, 200, 500, 1000, 2000, 5000, 10'000}) {
        if (n > r.test.count) break;
        require(!interrupted(), "stopped while measuring");
        const double real = mean_frechet(r.gaussian, r.of_test.rows(), n, seed),
                     formula = frechet_bias(r.gaussian, n),
                     spoiled = mean_frechet(r.gaussian, of_spoiled.rows(), n, seed);
        table.row({static_cast<double>(n), real, formula, spoiled});
        std::printf("%-12d%12.4f%12.4f%22.4f\n", n, real, formula, spoiled);
    }
}

}  // namespace

void run_train_judge(const CommonOptions& common, const JudgeSettings& settings) {
    const auto start = Clock::now();
    RunFolder folder(common.out, "05_measuring", "Is it good, varied and new?");
    no_state_to_resume(common);
    const auto [train, test] = find_split(settings.dataset, common.data);
    banner("Chapter 5: the judge learns", {{"data", train.source},
                                           {"images", std::to_string(judge_images(common.preset))},
                                           {"seed", std::to_string(common.seed)},
                                           {"expected time", about(learning_seconds(common))}});
    folder.keep_earlier();
    folder.setting(
        "judge",
        {{"data", train.source}, {"images", judge_images(common.preset)}, {"seed", common.seed}});
    TrainedClassifier classifier = make_judge(common, settings, train);
    const double learned = seconds_since(start), right = accuracy(judge(classifier, test), test);
    folder.number("the judge's accuracy", right, "share of the test pictures");
    folder.finish(learned);
    std::printf("%s of %d test pictures named rightly, after %.0f s: %s\n", percent(right).c_str(),
                test.count, learned, judge_path(common, settings, train.name).string().c_str());
}

namespace {

/// The data, if samples can be held against it.
Split find_comparable(const CommonOptions& common, const std::string& dataset) {
    Split split = find_split(dataset, common.data);
    require(split.test.count >= kFewest, split.test.source, ": ", split.test.count,
            " test pictures, expected at least ", kFewest, " to compare with");
    return split;
}

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

/// All scores of the samples beside those of real pictures.
void print_scores(const Scores& s, const Scores& real, double floor) {
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
    line("good?   judge is sure, %", between(s.sure, s.sure_interval, 100, 1),
         between(real.sure, real.sure_interval, 100, 1), "the more the better");
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
           {{"samples", settings.samples.string()},
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
    print_scores(s, real, floor);
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
                                   {"real", to_json(real)}};
    write_json(folder.path("score.json"), result);
    folder.number("scored: sure", s.sure, settings.samples.string());
    folder.number("scored: Frechet distance", s.frechet, "real test pictures: " + fixed(floor, 3));
    folder.finish(seconds_since(start));
    std::printf("\nthe judge names %s of the test pictures rightly; %s (%.0f s)\n",
                percent(r.accuracy).c_str(), folder.path("score.json").string().c_str(),
                seconds_since(start));
}

namespace {

/// Chapter 4's model, if there is one, and how it is to draw.
struct Drawer {
    std::filesystem::path path;
    int steps;
    std::optional<LoadedModel> loaded;  ///< none: there is no file, and none was asked for
};

Drawer find_drawer(const CommonOptions& common, const ExperimentSettings& settings,
                   const Dataset& train) {
    Drawer drawer{model_of_chapter_4(common, settings.model),
                  settings.steps > 0 ? settings.steps : kPresets.at(common.preset).steps,
                  {}};
    if (settings.model.empty() && !std::filesystem::exists(drawer.path)) return drawer;
    drawer.loaded.emplace(load_model(drawer.path));
    require_same_data(drawer.loaded->model, drawer.path, train);
    return drawer;
}

double drawing_seconds(Drawer& drawer, int n) {
    if (!drawer.loaded) return 0;
    const DenoisingModel& model = drawer.loaded->model;
    const Denoiser<float> denoiser = model_denoiser(model, drawer.loaded->values);
    return static_cast<double>(n) * drawer.steps * seconds_per_picture(model, denoiser, n);
}

/// The banner, and how it was made into run.json.
void tell(RunFolder& folder, const CommonOptions& common, const JudgeSettings& settings,
          const Dataset& train, Drawer& drawer, int n) {
    const double seconds = kPresets.at(common.preset).seconds +
                           judge_seconds(common, settings, train) + drawing_seconds(drawer, n);
    const std::string path = drawer.path.string();
    banner("Chapter 5: is it good, varied and new?",
           {{"data", train.source},
            {"pictures", std::to_string(n) + " of each set"},
            {"model", drawer.loaded ? path + ", " + std::to_string(drawer.steps) + " steps"
                                    : "none at " + path + " (04_unet makes one)"},
            {"seed", std::to_string(common.seed)},
            {"expected time", about(seconds)}});
    folder.setting("preset", common.preset);
    folder.setting("seed", common.seed);
    folder.setting("dataset", settings.dataset);
    if (drawer.loaded) {
        folder.setting("model", path);
        folder.setting("steps", drawer.steps);
    }
}

/// With the judge and all that sets are held against.
Reference prepare_reference(RunFolder& folder, const CommonOptions& common,
                            const JudgeSettings& settings, Split split) {
    Stages stages("measure", kReferenceStages);
    Reference r = find_reference(common, settings, std::move(split),
                                 [&](const std::string& text) { stages(text); });
    stages.finish();
    std::printf("the judge names %s of %d test pictures rightly\n", percent(r.accuracy).c_str(),
                r.test.count);
    folder.number("the judge's accuracy", r.accuracy, "share of the test pictures");
    return r;
}

/// What each measure sees of each set: a line on the screen, one of faults.csv, and pictures.
class SetTable {
public:
    SetTable(RunFolder& folder, Reference& reference, int n, std::uint64_t seed)
        : reference_(reference),
          seed_(seed),
          floor_(mean_frechet(reference.gaussian, reference.of_test.rows(), n, seed)),
          table_(folder.path("faults.csv"),
                 {"set", "sure", "frechet", "kernel", "kernel_error", "precision", "recall",
                  "classes", "copies", "closer"}) {}
    double floor() const { return floor_; }

    Scores measure(const std::string& name, const Dataset& pictures) {
        const Scores s = score(reference_, pictures, seed_, [](const std::string&) {
            require(!interrupted(), "stopped while measuring");
        });
        print_row(name, s, floor_);
        table_.row({static_cast<double>(rows_.size()), s.sure, s.frechet, s.kernel.value,
                    s.kernel.error, s.cover.precision, s.cover.recall, s.effective_classes,
                    s.near_copies, s.closer});
        rows_.push_back(show(pictures, first(12), 12));
        return s;
    }
    void show_pictures(RunFolder& folder) const {
        write_png(folder.path("faults.png"), stack_rows(rows_));
        folder.picture("faults.png",
                       "Sets with known faults, in the order of the table, and, last, the model's "
                       "samples.");
    }

private:
    Reference& reference_;
    std::uint64_t seed_;
    double floor_;
    CsvWriter table_;
    std::vector<Image> rows_;
};

void report_model(RunFolder& folder, const Scores& s, double floor) {
    std::printf("%22s%8s to %s, Frechet %.3f to %.3f, copies %s to %s (95 %% intervals)\n", "",
                percent(s.sure_interval.low).c_str(), percent(s.sure_interval.high).c_str(),
                s.frechet_interval.low, s.frechet_interval.high,
                percent(s.near_copies_interval.low).c_str(),
                percent(s.near_copies_interval.high).c_str());
    folder.number("sure", s.sure, "share of samples of which the judge is sure; (5.2)");
    folder.number("Frechet distance", s.frechet,
                  "real test pictures: " + fixed(floor, 3) + "; (5.7)");
    folder.number("near copies", s.near_copies, "share; of unseen real ones about 0.01; (5.15)");
}

/// Draws with chapter 4's model, and lets all measures look.
void measure_model(RunFolder& folder, Reference& r, SetTable& table, Drawer& drawer, int n,
                   std::uint64_t seed) {
    Array<float> drawn = draw(*drawer.loaded, n, drawer.steps, seed);
    write_samples(folder, drawn.tensor(), false,
                  "of chapter 4's model, in " + std::to_string(drawer.steps) + " steps");
    const Dataset samples = to_dataset(drawn.tensor(), drawer.path.string());
    print_head();
    report_model(folder, table.measure("chapter 4's model", samples), table.floor());
    const Predictions predictions = judge(r.classifier, samples);
    show_unsure(folder, "", samples, predictions);
    show_neighbours(folder, "", r, samples, predictions);
}

}  // namespace

void run_experiment(const CommonOptions& common, const ExperimentSettings& settings) {
    const auto start = Clock::now();
    RunFolder folder(common.out, "05_measuring", "Is it good, varied and new?");
    no_state_to_resume(common);
    Split split = find_comparable(common, settings.judge.dataset);
    const int n = std::min(kPresets.at(common.preset).pictures, split.test.count);
    Drawer drawer = find_drawer(common, settings, split.train);
    tell(folder, common, settings.judge, split.train, drawer, n);

    Reference r = prepare_reference(folder, common, settings.judge, std::move(split));
    // Known faults first: what does each measure see?
    const std::vector<FaultySet> sets = make_faults(r.train, r.test, n, common.seed);
    SetTable table(folder, r, n, common.seed);
    print_head();
    for (const FaultySet& set : sets) table.measure(set.name, set.pictures);
    if (drawer.loaded) measure_model(folder, r, table, drawer, n, common.seed);
    table.show_pictures(folder);
    measure_bias(folder, r, common.seed);
    folder.finish(seconds_since(start));
    std::printf("\nPictures and tables are in %s (%.1f s)\n", common.out.string().c_str(),
                seconds_since(start));
}

}  // namespace diffusion
