// The experiment of chapter 6: orders, quality against steps, and a strip of everything.
#include "06_ddim/experiment.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <functional>
#include <map>
#include <utility>

#include "04_unet/samples.hpp"
#include "05_measuring/reference.hpp"
#include "06_ddim/editing.hpp"
#include "06_ddim/grids.hpp"
#include "06_ddim/orders.hpp"
#include "06_ddim/strips.hpp"
#include "io/csv.hpp"

namespace diffusion {
namespace {

struct Preset {
    int pictures;            ///< for each point of the figure
    std::vector<int> steps;  ///< with each sampler
    int strip_steps;         ///< of the strips
};
const std::map<std::string, Preset> kPresets = {
    {"smoke", {100, {2}, 4}},
    {"quick", {200, {5, 10, 15, 20, 50}, 100}},
    {"standard", {500, {5, 10, 15, 20, 50, 100, 250, 1000}, 100}},
    {"long", {5'000, {5, 10, 15, 20, 50, 100, 250, 1000}, 100}}};

constexpr int kFew = 20;  // steps of DDIM on every grid

// The strips: how often each is drawn, and with what.
constexpr int kStrip = 10, kCompletions = 8;  // pictures side by side
constexpr int kStrips = 2, kCompleted = 2;
const std::vector<int> kRounds = {1, 2, PictureSettings().rounds};
const std::vector<double> kStrengths = {0.3, 0.5, 0.7};

/// What all strips take, in units of the steps of their grid.
struct StripWork {
    double steps = kStrips + kCompleted;
    double calls = kStrips * kStrip + kCompleted * kCompletions * PictureSettings().repeats;
    StripWork() {
        for (const int rounds : kRounds) {
            steps += 2;  // there and back
            calls += kStrip * (rounds + 1);
        }
        for (const double strength : kStrengths) {
            steps += strength;
            calls += strength * (kStrip - 1);
        }
    }
};

/// By which the tables name a sampler: its place in sampler_names().
int number_of(const std::string& sampler) {
    return static_cast<int>(&sampler_named(sampler) - kSamplers<float>.data());
}

void show_orders(RunFolder& folder) {
    CsvWriter table(folder.path("orders.csv"), {"sampler", "steps", "error"});
    std::printf("\nerror on Gaussian data, of which the answer is known\n%-10s", "steps");
    const std::vector<OrderResult> results = measure_orders();
    for (const int n : results[0].steps) std::printf("%10d", n);
    std::printf("%10s\n", "order");
    for (const OrderResult& r : results) {
        std::printf("%-10s", r.sampler.c_str());
        for (std::size_t i = 0; i < r.steps.size(); ++i) {
            std::printf("%10.1e", r.error[i]);
            table.row({static_cast<double>(number_of(r.sampler)), static_cast<double>(r.steps[i]),
                       r.error[i]});
        }
        std::printf("%10.2f\n", r.measured);
        folder.number("order of " + r.sampler, r.measured, "slope on Gaussian data");
    }
}

/// One row of the tables of quality.
struct TableRow {
    std::string sampler, grid;
    int steps;
    bool of_grids;  ///< of the table of grids, not of samplers
    int number;     ///< the sampler's or the grid's, for the CSV file
};

/// Every sampler with every number of steps, all T only for those that draw fresh noise; and DDIM
/// with few steps on every grid.
std::vector<TableRow> table_rows(const std::vector<int>& steps, int T) {
    std::vector<TableRow> rows;
    for (const std::string& name : sampler_names()) {
        for (const int n : steps) {
            if (n < T || sampler_named(name).order == 0)
                rows.push_back({name, own_grid(name, n, T), n, false, number_of(name)});
        }
    }
    for (std::size_t k = 0; k < kGrids.size(); ++k)
        rows.push_back({"ddim", kGrids[k].name, kFew, true, static_cast<int>(k)});
    return rows;
}

std::vector<Moment> path_of(const TableRow& row, const DenoisingModel& model) {
    return model.path(step_grid(row.grid, model.schedule, row.steps));
}
Sampler sampler_of(const TableRow& row, const Drawing& d) {
    return {.name = row.sampler, .clip = d.sampler.clip, .seed = d.sampler.seed};
}
int calls_of(const TableRow& row, const DenoisingModel& model) {
    return calls_along(sampler_named(row.sampler), path_of(row, model));
}

/// Chapter 5's judge, if that chapter was run beside this one; otherwise one of our own.
CommonOptions as_chapter_5(CommonOptions common) {
    const std::filesystem::path beside = common.out.parent_path() / "05_measuring";
    if (std::filesystem::is_directory(beside)) common.out = beside;
    return common;
}

/// Draws with one sampler on one grid and lets the judge look.
class Quality {
public:
    Quality(const CommonOptions& common, const Drawing& drawing, Split split, int pictures)
        : seed_(common.seed), drawing_(drawing), reference_(make(common, std::move(split))) {
        n_ = std::min(pictures, reference_.test.count);
        floor_ = mean_frechet(reference_.gaussian, reference_.of_test.rows(), n_, seed_);
    }
    int pictures() const { return n_; }
    double floor() const { return floor_; }

    struct Point {
        double seconds;  ///< of drawing
        double frechet;
        Interval interval;
        double sure;
    };
    /// `step` is called after each step.
    Point measure(const TableRow& row, const std::function<void()>& step) {
        Array<float> pictures = find_noise({}, drawing_.loaded.model, n_, seed_);
        const Tensor<float> x = pictures.tensor();
        const auto start = Clock::now();
        run_sampler(sampler_of(row, drawing_), drawing_.denoiser,
                    path_of(row, drawing_.loaded.model), x,
                    [&](const Moment&, Tensor<const float>) {
                        require(!interrupted(), "stopped while drawing");
                        step();
                    });
        const double seconds = seconds_since(start);
        const Predictions predictions = judge(reference_.classifier, to_dataset(x, "samples"));
        const double distance =
            frechet_distance(reference_.gaussian, fit_gaussian(predictions.rows()));
        const Interval interval =
            frechet_interval(predictions.rows(), reference_.gaussian, distance, seed_);
        return {seconds, distance, interval, sure_share(predictions)};
    }

private:
    static Reference make(const CommonOptions& common, Split split) {
        Stages stages("measure", kReferenceStages);
        Reference reference = find_reference(as_chapter_5(common), {}, std::move(split),
                                             [&](const std::string& text) { stages(text); });
        stages.finish();
        return reference;
    }

    std::uint64_t seed_;
    const Drawing& drawing_;
    Reference reference_;
    int n_ = 0;
    double floor_ = 0;
};

/// Quality against steps for every sampler, and of DDIM with few steps on every grid.
void show_quality(RunFolder& folder, Quality& quality, const std::vector<TableRow>& rows,
                  const DenoisingModel& model) {
    const auto columns = [](const char* first) {
        return std::vector<std::string>{first,  "steps", "calls",    "seconds",   "frechet", "low",
                                        "high", "sure",  "sure_low", "sure_high", "floor"};
    };
    CsvWriter by_steps(folder.path("quality.csv"), columns("sampler")),
        by_grid(folder.path("grids.csv"), columns("grid"));
    std::printf("\n%d pictures each; real ones have the Frechet distance %.3f\n",
                quality.pictures(), quality.floor());
    std::printf("%-10s%-17s%5s%8s%10s%18s%11s\n", "sampler", "grid", "steps", "calls", "Frechet",
                "95 %", "sure");
    std::int64_t work = 0, done = 0;
    for (const TableRow& row : rows) work += calls_of(row, model);
    Progress progress("quality", work, "calls");
    bool of_grids = false;
    for (const TableRow& row : rows) {
        const int steps = static_cast<int>(path_of(row, model).size()) - 1,
                  calls = calls_of(row, model);
        int step = 0;
        const Quality::Point q = quality.measure(row, [&] {
            progress.update(done + calls * ++step / steps,
                            row.sampler + " " + std::to_string(row.steps));
        });
        done += calls;
        const Interval sure = share_interval(q.sure, quality.pictures());
        (row.of_grids ? by_grid : by_steps)
            .row({static_cast<double>(row.number), static_cast<double>(row.steps),
                  static_cast<double>(calls), q.seconds, q.frechet, q.interval.low, q.interval.high,
                  q.sure, sure.low, sure.high, quality.floor()});
        if (row.of_grids && !std::exchange(of_grids, true)) progress.print("");
        char text[160];
        std::snprintf(text, sizeof text, "%-10s%-17s%5d%8d%10.3f  (%.3f to %.3f)%9.1f %%",
                      row.sampler.c_str(), row.grid.c_str(), row.steps, calls, q.frechet,
                      q.interval.low, q.interval.high, 100 * q.sure);
        progress.print(text);
    }
    progress.finish();
}

/// Ways from one noise to another.
void show_interpolations(RunFolder& folder, std::uint64_t seed, const Drawing& d, Steps& steps) {
    Array<float> ends(d.shape(2)), way(d.shape(kStrip));
    const Tensor<float> two = ends.tensor(), x = way.tensor();
    std::vector<Image> rows;
    for (int k = 0; k < kStrips; ++k) {
        start_noise<float>(seed + static_cast<std::uint64_t>(k), two);
        on_circle(two[0], two[1], x);
        ddim_sample<float>(d.denoiser, d.path,
                           {.clip = d.sampler.clip, .observer = steps.observer()}, x);
        rows.push_back(image_grid(x, kStrip, 2));
    }
    put(folder, "interpolation.png", stack_rows(rows),
        "On the great circle between two noises, drawn by DDIM; two pairs.");
}

double root_mean_square(std::span<const float> noise) {
    double square = 0;
    for (const float z : noise) square += static_cast<double>(z * z);
    return std::sqrt(square / static_cast<double>(noise.size()));
}

/// Digits to their noise and back, with more and more rounds; the pictures are those of the last.
void show_inversions(RunFolder& folder, std::uint64_t seed, const Drawing& d, const Dataset& test,
                     Steps& steps) {
    Array<float> given(d.shape(kStrip)), noise(d.shape(kStrip)), again(d.shape(kStrip));
    for (int i = 0; i < kStrip; ++i) decode(test, i, false, given.tensor()[i]);
    CsvWriter table(folder.path("inversion.csv"), {"rounds", "error", "noise"});
    char text[100];
    std::snprintf(text, sizeof text, "\n%d digits, %zu steps there and back\n%-10s%24s%24s", kStrip,
                  d.steps(), "rounds", "mean absolute error", "root mean square noise");
    steps.print(text);
    double error = 0;
    for (const int rounds : kRounds) {
        error = round_trip(d, rounds, seed, given.tensor(), noise.tensor(), again.tensor(), steps);
        const double size = root_mean_square(noise);
        std::snprintf(text, sizeof text, "%-10d%24.4f%24.2f", rounds, error, size);
        steps.print(text);
        table.row({static_cast<double>(rounds), error, size});
    }
    folder.number("inversion: mean absolute error", error, "per pixel, of a range of 2");
    const std::vector<Image> rows = {image_grid(given.tensor(), kStrip, 2),
                                     image_grid(noise.tensor(), kStrip, 2),
                                     image_grid(again.tensor(), kStrip, 2)};
    put(folder, "inversion.png", stack_rows(rows),
        "Test digits, the noise that DDIM draws them from, and what it draws from this noise.");
}

/// Digits of which the upper half is kept.
void show_completions(RunFolder& folder, std::uint64_t seed, const Drawing& d, const Dataset& test,
                      Steps& steps) {
    Array<float> drawn(d.shape(kCompletions)), given(d.shape(kCompletions)),
        mask(d.shape(kCompletions));
    const Tensor<float> x = drawn.tensor(), known = given.tensor(), keep = mask.tensor();
    std::vector<Image> rows;
    for (int k = 0; k < kCompleted; ++k) {
        decode(test, k, false, known[0]);
        keep_upper_half(keep[0]);
        repeat_first(known);
        repeat_first(keep);
        start_noise<float>(seed, x);
        inpaint<float>(d.denoiser, d.path, known, keep,
                       {.noise = editing_noise<float>(seed), .observer = steps.observer()}, x);
        rows.push_back(inpainting_strip(known[0], keep[0], x));
    }
    put(folder, "inpainting.png", stack_rows(rows),
        "A digit, what was kept of it, and ways to complete it.");
}

/// A digit, noised further and further.
void show_edits(RunFolder& folder, std::uint64_t seed, const Drawing& d, const Dataset& test,
                Steps& steps) {
    constexpr int kFour = 4;  // test digit 4 is a four
    Array<float> strip(d.shape(kStrip));
    const Tensor<float> x = strip.tensor();
    std::vector<Image> rows;
    for (const double strength : kStrengths) {
        decode(test, kFour, false, x[0]);
        repeat_first(x);
        edit(d, {.clip = d.sampler.clip, .seed = seed}, strength,
             {x[1].data(), d.shape(kStrip - 1)}, steps.observer());
        rows.push_back(image_grid(x, kStrip, 2));
    }
    put(folder, "edit.png", stack_rows(rows),
        "A digit, noised to 0.3, 0.5 and 0.7 of the way, and denoised.");
}

/// One strip for each of the subcommands.
void show_strips(RunFolder& folder, std::uint64_t seed, const Drawing& d, const Dataset& test) {
    Steps steps(
        static_cast<std::size_t>(std::lround(StripWork().steps * static_cast<double>(d.steps()))));
    show_interpolations(folder, seed, d, steps);
    show_inversions(folder, seed, d, test, steps);
    show_completions(folder, seed, d, test, steps);
    show_edits(folder, seed, d, test, steps);
    steps.finish();
}

/// All of it, with a model that tells what it learned.
void show_all(RunFolder& folder, const CommonOptions& common, const DrawSettings& draw,
              const Drawing& d) {
    const Preset& preset = kPresets.at(common.preset);
    const DenoisingModel& model = d.loaded.model;
    const Dataset test = find_test_pictures(common, draw, d);
    Split split = find_split(model.data, common.data);
    const std::vector<TableRow> rows = table_rows(preset.steps, d.schedule().steps());
    double calls = StripWork().calls * draw.steps;
    for (const TableRow& row : rows) calls += preset.pictures * calls_of(row, model);
    banner(
        "Chapter 6: fewer steps",
        {{"model", model_path(common, draw).string()},
         {"parameters", std::to_string(model.parameters.count())},
         {"data", test.source},
         {"pictures", std::to_string(preset.pictures) + " for each point"},
         {"seed", std::to_string(common.seed)},
         {"expected time", about(calls * seconds_per_picture(model, d.denoiser, preset.pictures) +
                                 judge_seconds(as_chapter_5(common), {}, split.train))}});
    folder.begin();
    show_orders(folder);
    {
        Quality quality(common, d, std::move(split), preset.pictures);
        show_quality(folder, quality, rows, model);
    }
    show_strips(folder, common.seed, d, test);
}

/// What needs no test pictures, with a model of which nobody knows what it learned.
void show_without_data(RunFolder& folder, const CommonOptions& common, const DrawSettings& draw,
                       const Drawing& d) {
    banner("Chapter 6: fewer steps",
           {{"model", model_path(common, draw).string()},
            {"data", "not told by the model: no quality is measured, and no picture edited"},
            {"seed", std::to_string(common.seed)}});
    folder.begin();
    show_orders(folder);
    Steps steps(static_cast<std::size_t>(kStrips) * d.steps());
    show_interpolations(folder, common.seed, d, steps);
    steps.finish();
}

}  // namespace

void run_experiment(const CommonOptions& common, const DrawSettings& draw, const Device& device) {
    const auto start = Clock::now();
    RunFolder folder(common.out, "06_ddim", "Fewer steps, and pictures of your own");
    no_state_to_resume(common);
    const std::filesystem::path path = model_path(common, draw);
    folder.setting("preset", common.preset);
    folder.setting("seed", common.seed);
    folder.setting("model", path.string());
    folder.setting("samplers", sampler_names());
    if (draw.model.empty() && !std::filesystem::exists(path)) {
        banner("Chapter 6: fewer steps",
               {{"model", "none at " + path.string() + " (04_unet makes one)"}});
        folder.begin();
        show_orders(folder);
    } else {
        DrawSettings of_strips = draw;
        if (draw.steps == 0) of_strips.steps = kPresets.at(common.preset).strip_steps;
        if (draw.grid.empty()) of_strips.grid = "trailing";
        folder.setting("steps of the strips", of_strips.steps);
        folder.setting("grid of the strips", of_strips.grid);
        const Drawing d(common, of_strips, device);
        if (d.loaded.model.data.empty()) {
            show_without_data(folder, common, of_strips, d);
        } else {
            show_all(folder, common, of_strips, d);
        }
    }
    folder.finish(seconds_since(start));
    std::printf("\nPictures and tables are in %s (%.1f s)\n", common.out.string().c_str(),
                seconds_since(start));
}

}  // namespace diffusion
