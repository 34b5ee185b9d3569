// The experiment of chapter 6: orders, quality against steps, and a strip of everything.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>

#include "04_unet/samples.hpp"
#include "05_measuring/reference.hpp"
#include "06_ddim/editing.hpp"
#include "06_ddim/grids.hpp"
#include "06_ddim/orders.hpp"
#include "06_ddim/runs.hpp"
#include "06_ddim/strips.hpp"
#include "io/csv.hpp"

namespace diffusion {
namespace {

struct Preset {
    int pictures;            ///< for each point of the figure
    std::vector<int> steps;  ///< with each sampler
};
const std::map<std::string, Preset> kPresets = {
    {"smoke", {100, {2}}},
    {"quick", {200, {5, 10, 15, 20, 50}}},
    {"standard", {500, {5, 10, 15, 20, 50, 100, 250, 1000}}},
    {"long", {5'000, {5, 10, 15, 20, 50, 100, 250, 1000}}}};

/// For each sampler of kSamplerNames the grid that suits it.
constexpr std::array<const char*, kSamplerNames.size()> kOwnGrids = {"late", "late", "karras",
                                                                     "karras", "late"};
constexpr int kFew = 20;  // steps of DDIM on every grid

void show_orders(RunFolder& folder) {
    CsvWriter table(folder.path("orders.csv"), {"sampler", "steps", "error"});
    std::printf("\nerror on Gaussian data, of which the answer is known\n%-10s", "steps");
    const std::vector<OrderResult> results = measure_orders();
    for (const int n : results[0].steps) std::printf("%10d", n);
    std::printf("%10s\n", "order");
    for (std::size_t k = 0; k < results.size(); ++k) {
        const OrderResult& r = results[k];
        std::printf("%-10s", r.sampler.c_str());
        for (std::size_t i = 0; i < r.steps.size(); ++i) {
            std::printf("%10.1e", r.error[i]);
            table.row({static_cast<double>(k), static_cast<double>(r.steps[i]), r.error[i]});
        }
        std::printf("%10.2f\n", r.order);
        folder.number("order of " + r.sampler, r.order, "slope on Gaussian data");
    }
}

/// Draws with one sampler on one grid and lets the judge look.
class Quality {
public:
    Quality(const CommonOptions& common, const std::string& dataset, const Drawing& drawing,
            int pictures)
        : common_(common), drawing_(drawing), reference_(make(common, dataset)) {
        n_ = std::min(pictures, reference_.test.count);
        floor_ = mean_frechet(reference_.gaussian, reference_.of_test.rows(), n_, common.seed);
    }
    int pictures() const { return n_; }
    double floor() const { return floor_; }

    struct Line {
        std::string sampler, grid;
        int steps;
    };
    std::vector<int> times(const Line& line) const {
        return step_grid(line.grid, drawing_.schedule(), line.steps);
    }
    int calls(const Line& line) const { return calls_of(sampler(line), times(line)); }

    /// calls, seconds, Frechet distance, its interval, sure share, floor.
    std::vector<double> measure(const Line& line) {
        Pictures pictures = find_noise({}, drawing_.loaded.model, n_, common_.seed);
        const Tensor<float> x = pictures.tensor();
        const auto start = Clock::now();
        run_sampler(
            sampler(line), drawing_.denoiser, drawing_.schedule(), times(line), x,
            [](int, Tensor<const float>) { require(!interrupted(), "stopped while drawing"); });
        const double seconds = seconds_since(start);
        const Opinion opinion = judge(reference_.classifier, to_dataset(x, "samples"));
        const double distance = frechet_distance(reference_.gaussian, fit_gaussian(opinion.rows()));
        const Interval interval =
            frechet_interval(opinion.rows(), reference_.gaussian, distance, common_.seed);
        return {static_cast<double>(calls(line)),
                seconds,
                distance,
                interval.low,
                interval.high,
                sure_share(opinion),
                floor_};
    }

private:
    static Reference make(CommonOptions common, const std::string& dataset) {
        common.out = common.out.parent_path() / "05_measuring";  // where its judge lies
        Stages stages(kReferenceStages);
        Reference reference = find_reference(common, {.dataset = dataset, .judge = {}},
                                             [&](const std::string& text) { stages(text); });
        stages.finish();
        return reference;
    }
    Sampler sampler(const Line& line) const { return {.name = line.sampler, .seed = common_.seed}; }

    const CommonOptions& common_;
    const Drawing& drawing_;
    Reference reference_;
    int n_ = 0;
    double floor_ = 0;
};

/// Quality against steps for every sampler, and of DDIM with few steps on every grid.
void show_quality(RunFolder& folder, const CommonOptions& common, const std::string& dataset,
                  const Drawing& d, const Preset& preset) {
    Quality quality(common, dataset, d, preset.pictures);
    std::vector<std::pair<Quality::Line, double>> lines;  // and what stands for it in its table
    for (std::size_t k = 0; k < kSamplerNames.size(); ++k) {
        for (const int steps : preset.steps) {
            const std::string own = kOwnGrids.at(k);
            const bool every_time = steps == d.schedule().steps() && own == "late";
            lines.push_back({{kSamplerNames.at(k), every_time ? "trailing" : own, steps},
                             static_cast<double>(k)});
        }
    }
    const std::size_t of_samplers = lines.size();
    for (std::size_t k = 0; k < kGridNames.size(); ++k)
        lines.push_back({{"ddim", kGridNames.at(k), kFew}, static_cast<double>(k)});
    std::int64_t work = 0, done = 0;
    for (const auto& [line, k] : lines) work += quality.calls(line);

    const std::vector<std::string> values = {"calls", "seconds", "frechet", "low",
                                             "high",  "sure",    "floor"};
    const auto columns = [&](const char* first) {
        std::vector<std::string> all = {first, "steps"};
        all.insert(all.end(), values.begin(), values.end());
        return all;
    };
    CsvWriter by_steps(folder.path("quality.csv"), columns("sampler")),
        by_grid(folder.path("grids.csv"), columns("grid"));
    std::string table;
    Progress progress("quality", work, "calls");
    for (std::size_t i = 0; i < lines.size(); ++i) {
        const auto& [line, k] = lines[i];
        const std::vector<double> v = quality.measure(line);
        std::vector<double> row = {k, static_cast<double>(line.steps)};
        row.insert(row.end(), v.begin(), v.end());
        (i < of_samplers ? by_steps : by_grid).row(row);
        char text[160];
        std::snprintf(text, sizeof text,
                      "%-10s%-10s%6d%8.0f%10.2f s%10.3f  (%.3f to %.3f)%9.1f %%\n",
                      line.sampler.c_str(), line.grid.c_str(), line.steps, v[0], v[1], v[2], v[3],
                      v[4], 100 * v[5]);
        table += (i == of_samplers ? "\n" : "") + std::string(text);
        done += quality.calls(line);
        progress.update(done, line.sampler + " " + std::to_string(line.steps));
    }
    progress.finish();
    std::printf("\n%d pictures each; real ones have the Frechet distance %.3f\n",
                quality.pictures(), quality.floor());
    std::printf("%-10s%-10s%6s%8s%12s%10s%18s%11s\n%s", "sampler", "grid", "steps", "calls", "time",
                "Frechet", "95 %", "sure", table.c_str());
}

/// One strip for each of the subcommands.
void show_strips(RunFolder& folder, const CommonOptions& common, const std::string& dataset,
                 const Drawing& d) {
    constexpr int n = 10, kFour = 4;  // test digit 4 is a four
    const std::size_t steps_of_grid = d.times.size() - 1;
    Steps steps(12 * steps_of_grid);  // 2 strips, 3 round trips, 2 completions, 1.5 edits
    {
        Pictures ends(d.shape(2)), way(d.shape(n));
        const Tensor<float> two = ends.tensor(), x = way.tensor();
        std::vector<Image> rows;
        for (const std::uint64_t seed : {common.seed, common.seed + 1}) {
            start_noise<float>(seed, two);
            on_circle(two[0], two[1], x);
            ddim_sample<float>(d.denoiser, d.schedule(), d.times, {.clip = 1}, x, steps.observer());
            rows.push_back(image_grid(x, n, 2));
        }
        put(folder, "interpolation.png", stack_rows(rows),
            "On the great circle between two noises, drawn by DDIM; two pairs.");
    }
    const auto digits = [&](Tensor<float> x) {
        for (int i = 0; i < x.size(0); ++i) find_picture(common, dataset, {}, false, i, x[i]);
    };
    {
        Pictures given(d.shape(n)), noise(d.shape(n)), again(d.shape(n));
        digits(given.tensor());
        // The last entry is the default; its pictures are shown.
        CsvWriter table(folder.path("inversion.csv"), {"rounds", "error", "noise"});
        std::printf("\n%d digits, %zu steps there and back\n%-10s%24s%24s\n", n, steps_of_grid,
                    "rounds", "mean absolute error", "root mean square noise");
        for (const int rounds : {1, 2, PictureSettings().rounds}) {
            const double error = round_trip(d, rounds, common.seed, given.tensor(), noise.tensor(),
                                            again.tensor(), steps);
            double square = 0;
            for (const float z : noise.tensor()) square += static_cast<double>(z * z);
            const double size = std::sqrt(square / static_cast<double>(noise.memory.size()));
            std::printf("%-10d%24.4f%24.2f\n", rounds, error, size);
            table.row({static_cast<double>(rounds), error, size});
            folder.number("inversion: mean absolute error", error, "per pixel, of a range of 2");
        }
        const std::vector<Image> rows = {image_grid(given.tensor(), n, 2),
                                         image_grid(noise.tensor(), n, 2),
                                         image_grid(again.tensor(), n, 2)};
        put(folder, "inversion.png", stack_rows(rows),
            "Test digits, the noise that DDIM draws them from, and what it draws from this noise.");
    }
    {
        Pictures drawn(d.shape(n - 2)), given(d.shape(n - 2)), mask(d.shape(n - 2));
        std::vector<Image> rows;
        for (int k = 0; k < 2; ++k) {
            find_picture(common, dataset, {}, false, k, given.tensor()[0]);
            keep_upper_half(mask.tensor()[0]);
            repeat_first(given.tensor());
            repeat_first(mask.tensor());
            start_noise<float>(common.seed, drawn.tensor());
            inpaint<float>(d.denoiser, d.schedule(), d.times, given.tensor(), mask.tensor(),
                           {.seed = common.seed}, drawn.tensor(), steps.observer());
            rows.push_back(inpainting_strip(given.tensor()[0], mask.tensor()[0], drawn.tensor()));
        }
        put(folder, "inpainting.png", stack_rows(rows),
            "A digit, what was kept of it, and ways to complete it.");
    }
    {
        Pictures strip(d.shape(n));
        const Tensor<float> x = strip.tensor();
        std::vector<Image> rows;
        for (const double strength : {0.3, 0.5, 0.7}) {
            find_picture(common, dataset, {}, false, kFour, x[0]);
            repeat_first(x);
            edit(d, {.seed = common.seed}, strength, {x[1].data(), d.shape(n - 1)}, steps);
            rows.push_back(image_grid(x, n, 2));
        }
        put(folder, "edit.png", stack_rows(rows),
            "A digit, noised to 0.3, 0.5 and 0.7 of the way, and denoised.");
    }
}

}  // namespace

void run_experiment(const CommonOptions& common, const DrawSettings& draw) {
    const auto start = Clock::now();
    RunFolder folder(common.out, "06_ddim", "Fewer steps, and pictures of your own");
    no_state_to_resume(common);
    const Preset& preset = kPresets.at(common.preset);
    const std::filesystem::path path = model_path(common, draw);
    const bool draws = !draw.model.empty() || std::filesystem::exists(path);
    banner("Chapter 6: fewer steps",
           {{"model", draws ? path.string() : "none at " + path.string() + " (04_unet makes one)"},
            {"pictures", std::to_string(preset.pictures) + " for each point"},
            {"seed", std::to_string(common.seed)}});
    folder.setting("preset", common.preset);
    folder.setting("seed", common.seed);
    show_orders(folder);
    if (draws) {
        DrawSettings strips = draw;
        strips.steps = common.preset == "smoke" ? 4 : std::max(draw.steps, 100);
        const Drawing d(common, strips);
        show_quality(folder, common, draw.dataset, d, preset);
        show_strips(folder, common, draw.dataset, d);
    }
    folder.finish(seconds_since(start));
    std::printf("\nPictures and tables are in %s (%.1f s)\n", common.out.string().c_str(),
                seconds_since(start));
}

}  // namespace diffusion
