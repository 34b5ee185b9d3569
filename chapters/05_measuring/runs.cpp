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
#include "05_measuring/texts.hpp"
#include "data/find.hpp"
#include "io/csv.hpp"
#include "io/image.hpp"
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
    if (settings.model.empty() && !holds_model(drawer.path)) return drawer;
    drawer.loaded.emplace(load_model_of_chapter_4(drawer.path));
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
    folder.setting("data", train.source);
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
    folder.begin();

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
