#include "06_ddim/runs.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <map>

#include "01_forward_noising/q_sample.hpp"
#include "04_unet/samples.hpp"
#include "05_measuring/reference.hpp"
#include "06_ddim/editing.hpp"
#include "06_ddim/grids.hpp"
#include "06_ddim/orders.hpp"
#include "data/find.hpp"
#include "io/csv.hpp"
#include "io/npy.hpp"
#include "io/run_folder.hpp"

namespace diffusion {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

std::filesystem::path model_path(const CommonOptions& common, const DrawSettings& draw) {
    return draw.model.empty() ? common.out.parent_path() / "04_unet" / "model.safetensors"
                              : draw.model;
}

/// A model with what drawing with it takes.
struct Drawing {
    LoadedModel loaded;
    Denoiser<float> denoiser;
    std::vector<int> times;

    Drawing(const CommonOptions& common, const DrawSettings& draw)
        : loaded(load_model(model_path(common, draw))),
          denoiser(make_denoiser(loaded.model, loaded.values)),
          times(step_grid(draw.grid, schedule(), draw.steps)) {}
    Drawing(const Drawing&) = delete;
    Drawing& operator=(const Drawing&) = delete;

    const Schedule& schedule() const { return loaded.model.schedule; }
    Shape shape(int n) const {
        return {n, loaded.model.height, loaded.model.width, loaded.model.unet.config().channels};
    }
};

/// Counts steps on a progress line, and stops after Ctrl-C.
class Steps {
public:
    explicit Steps(std::size_t count)
        : progress_("draw", static_cast<std::int64_t>(count), "steps") {}
    Observer<float> observer() {
        return [this](int, Tensor<const float>) {
            require(!interrupted(), "stopped while drawing");
            progress_.update(++done_);
        };
    }

private:
    Progress progress_;
    std::int64_t done_ = 0;
};

std::string described(const DrawSettings& draw) {
    const std::string eta = draw.sampler.name == "ddim" && draw.sampler.eta > 0
                                ? ", eta " + shortest(draw.sampler.eta)
                                : "";
    return draw.sampler.name + eta + ", " + std::to_string(draw.steps) + " steps, " + draw.grid;
}

void tell(const std::string& title, const CommonOptions& common, const DrawSettings& draw,
          const std::string& pictures) {
    banner(title, {{"model", model_path(common, draw).string()},
                   {"sampler", described(draw)},
                   {"pictures", pictures},
                   {"seed", std::to_string(common.seed)}});
}

RunFolder open_folder(const CommonOptions& common) {
    RunFolder folder(common.out, "06_ddim", "Fewer steps, and pictures of your own");
    folder.keep_earlier();
    no_state_to_resume(common);
    return folder;
}

void put(RunFolder& folder, const std::string& file, const Image& image,
         const std::string& caption) {
    write_png(folder.path(file), image);
    folder.picture(file, caption);
}

/// The given picture, or, without one, a test digit: number `which` of its set.
void find_picture(const CommonOptions& common, const std::filesystem::path& path, bool negative,
                  int which, Tensor<float> out) {
    if (!path.empty()) {
        fit_picture(read_image(path), negative, out);
        return;
    }
    const Dataset test = find_dataset("mnist", common.data, false);
    require(out.shape() == Shape{test.height, test.width, test.channels}, "the model draws ",
            out.shape(), "; give it a picture with --image");
    decode(test, which, false, out);
}

double mean_absolute(Tensor<const float> a, Tensor<const float> b) {
    double sum = 0;
    for (std::ptrdiff_t k = 0; k < a.numel(); ++k)
        sum += std::abs(static_cast<double>(a.data()[k] - b.data()[k]));
    return sum / static_cast<double>(a.numel());
}

/// There and back; returns the mean absolute error per pixel, in units of [-1, 1].
double round_trip(const Drawing& d, int rounds, Tensor<const float> pictures, Tensor<float> noise,
                  Tensor<float> again, Steps& steps) {
    std::copy(pictures.begin(), pictures.end(), noise.begin());
    ddim_invert<float>(d.denoiser, d.schedule(), d.times, rounds, noise, steps.observer());
    std::copy(noise.begin(), noise.end(), again.begin());
    ddim_sample<float>(d.denoiser, d.schedule(), d.times, {}, again, steps.observer());
    return mean_absolute(pictures, again);
}

/// A picture, what was kept of it (the rest dark grey), and the completions.
Image inpainting_strip(Tensor<const float> known, Tensor<const float> keep, Tensor<const float> x) {
    Pictures strip({x.size(0) + 2, x.size(1), x.size(2), x.size(3)});
    const Tensor<float> all = strip.tensor();
    for (std::ptrdiff_t k = 0; k < known.numel(); ++k) {
        all[0].data()[k] = known.data()[k];
        all[1].data()[k] = keep.data()[k] > 0 ? known.data()[k] : -0.2f;
    }
    std::copy(x.begin(), x.end(), all[2].begin());
    return image_grid(all, all.size(0), 2);
}

/// A mask that keeps the upper half.
void keep_upper_half(Tensor<float> keep) {
    for (int i = 0; i < keep.size(0); ++i) {
        for (float& k : keep[i]) k = 2 * i < keep.size(0) ? 1.0f : 0.0f;
    }
}

/// Copies the first picture of a batch over all others.
void repeat_first(Tensor<float> x) {
    for (int i = 1; i < x.size(0); ++i) std::copy(x[0].begin(), x[0].end(), x[i].begin());
}

/// x becomes x noised to time t (6.19), with noise from the seed.
void noise_to(const Schedule& schedule, int t, std::uint64_t seed, Tensor<float> x) {
    Pictures noise(x.shape());
    start_noise<float>(seed, noise.tensor());
    const std::vector<int> times(static_cast<std::size_t>(x.size(0)), t);
    q_sample<float>(x, times, noise.tensor(), schedule, x);  // (6.19)
}

}  // namespace

void run_sample(const CommonOptions& common, const DrawSettings& draw, const SampleMore& more) {
    const auto start = Clock::now();
    RunFolder folder = open_folder(common);
    const Drawing d(common, draw);
    Pictures pictures = find_noise(more.noise, d.loaded.model, more.n, common.seed);
    const Tensor<float> x = pictures.tensor();
    const int n = x.size(0);
    tell("Chapter 6: drawing", common, draw, std::to_string(n));
    Sampler sampler = draw.sampler;
    sampler.seed = common.seed;
    const auto begun = Clock::now();
    {
        Steps steps(d.times.size() - 1);
        run_sampler(sampler, d.denoiser, d.schedule(), d.times, x, steps.observer());
    }
    const double seconds = seconds_since(begun);
    write_samples(folder, x, more.save_npy, "drawn by " + described(draw));
    folder.finish(seconds_since(start));
    std::printf("drew %d pictures with %d calls of the network each in %.2f s: %s\n", n,
                calls_of(sampler, d.times), seconds, folder.path("samples.png").string().c_str());
}

void run_invert(const CommonOptions& common, const DrawSettings& draw,
                const PictureSettings& given) {
    const auto start = Clock::now();
    RunFolder folder = open_folder(common);
    const Drawing d(common, draw);
    tell("Chapter 6: from a picture to its noise and back", common, draw,
         given.image.empty() ? "a test digit" : given.image.string());
    Pictures three(d.shape(3));
    const Tensor<float> all = three.tensor();
    const auto one = [&](int i) { return Tensor<float>(all[i].data(), d.shape(1)); };
    find_picture(common, given.image, given.negative, 0, all[0]);
    Steps steps(2 * (d.times.size() - 1));
    const double error = round_trip(d, given.rounds, one(0), one(1), one(2), steps);
    write_npy(folder.path("noise.npy"), one(1));
    put(folder, "inversion.png", image_grid(all, 3, 4),
        "A picture, the noise that DDIM draws it from, and what it draws from this noise.");
    folder.number("inversion: mean absolute error", error, "per pixel, of a range of 2");
    folder.finish(seconds_since(start));
    std::printf("mean absolute error after the way there and back: %.4f, of a range of 2: %s\n",
                error, folder.path("inversion.png").string().c_str());
}

void run_interpolate(const CommonOptions& common, const DrawSettings& draw,
                     const PictureSettings& given) {
    const auto start = Clock::now();
    RunFolder folder = open_folder(common);
    require(given.image.empty() == given.second.empty(),
            "interpolate: give both --image and --second, or none for two noises");
    const Drawing d(common, draw);
    const int n = std::max(2, given.n);
    tell("Chapter 6: between two pictures", common, draw,
         given.image.empty() ? "drawn from two noises"
                             : given.image.string() + " to " + given.second.string());
    Pictures ends(d.shape(2)), way(d.shape(n));
    const Tensor<float> two = ends.tensor(), x = way.tensor();
    Steps steps((given.image.empty() ? 1 : 2) * (d.times.size() - 1));
    if (given.image.empty()) {
        start_noise<float>(common.seed, two);
    } else {
        find_picture(common, given.image, given.negative, 0, two[0]);
        find_picture(common, given.second, given.negative, 0, two[1]);
        ddim_invert<float>(d.denoiser, d.schedule(), d.times, given.rounds, two, steps.observer());
    }
    for (int i = 0; i < n; ++i)
        slerp<float>(two[0], two[1], static_cast<double>(i) / (n - 1), x[i]);
    ddim_sample<float>(d.denoiser, d.schedule(), d.times, {}, x, steps.observer());
    put(folder, "interpolation.png", image_grid(x, n, 2),
        "On the great circle between two noises, drawn by DDIM.");
    folder.finish(seconds_since(start));
    std::printf("%s\n", folder.path("interpolation.png").string().c_str());
}

void run_inpaint(const CommonOptions& common, const DrawSettings& draw,
                 const PictureSettings& given) {
    const auto start = Clock::now();
    RunFolder folder = open_folder(common);
    const Drawing d(common, draw);
    const int n = given.n;
    tell("Chapter 6: what is missing is drawn", common, draw,
         given.image.empty() ? "a test digit" : given.image.string());
    Pictures drawn(d.shape(n)), given_ones(d.shape(n)), mask(d.shape(n));
    const Tensor<float> x = drawn.tensor(), known = given_ones.tensor(), keep = mask.tensor();
    find_picture(common, given.image, given.negative, 0, known[0]);
    if (given.mask.empty()) {
        keep_upper_half(keep[0]);
    } else {
        fit_picture(read_image(given.mask), false, keep[0]);
        for (float& k : keep[0]) k = k > 0 ? 1.0f : 0.0f;
    }
    repeat_first(known);
    repeat_first(keep);
    start_noise<float>(common.seed, x);
    {
        Steps steps(d.times.size() - 1);
        inpaint<float>(d.denoiser, d.schedule(), d.times, known, keep,
                       {.repeats = given.repeats, .clip = draw.sampler.clip, .seed = common.seed},
                       x, steps.observer());
    }
    put(folder, "inpainting.png", inpainting_strip(known[0], keep[0], x),
        "A picture, what was kept of it, and ways to complete it.");
    folder.finish(seconds_since(start));
    std::printf("%s\n", folder.path("inpainting.png").string().c_str());
}

void run_edit(const CommonOptions& common, const DrawSettings& draw, const PictureSettings& given) {
    const auto start = Clock::now();
    RunFolder folder = open_folder(common);
    const Drawing d(common, draw);
    const int n = given.n;
    tell("Chapter 6: noised a part of the way, and back", common, draw,
         given.image.empty() ? "a test digit" : given.image.string());
    Pictures strip(d.shape(n + 1));
    const Tensor<float> all = strip.tensor(), x(all[1].data(), d.shape(n));
    find_picture(common, given.image, given.negative, 0, all[0]);
    repeat_first(all);
    const std::vector<int> times = times_from(d.times, d.schedule().steps(), given.strength);
    noise_to(d.schedule(), times.front(), common.seed, x);
    Sampler sampler = draw.sampler;
    sampler.seed = common.seed;
    {
        Steps steps(times.size() - 1);
        run_sampler(sampler, d.denoiser, d.schedule(), times, x, steps.observer());
    }
    put(folder, "edit.png", image_grid(all, n + 1, 2),
        "A picture, and what became of it with strength " + shortest(given.strength) + ".");
    folder.finish(seconds_since(start));
    std::printf("%s\n", folder.path("edit.png").string().c_str());
}

namespace {

struct Preset {
    int pictures;                ///< for each point of the figure
    std::vector<int> steps;      ///< with each sampler
    std::vector<int> long_runs;  ///< with ddpm and ddim only
};
const std::map<std::string, Preset> kPresets = {
    {"smoke", {100, {2}, {}}},
    {"quick", {200, {5, 10, 20, 50}, {}}},
    {"standard", {500, {5, 10, 20, 50, 100}, {250, 1000}}},
    {"long", {5'000, {5, 10, 15, 20, 50, 100, 250, 1000}, {}}}};

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

/// Quality against steps for every sampler.
void show_quality(RunFolder& folder, const CommonOptions& common, const Drawing& d,
                  const Preset& preset) {
    CommonOptions of_judge = common;
    of_judge.out = common.out.parent_path() / "05_measuring";  // where its judge lies
    Stages stages(kReferenceStages);
    Reference r = find_reference(of_judge, {}, [&](const std::string& text) { stages(text); });
    stages.finish();
    const int n = std::min(preset.pictures, r.test.count);
    const double floor = mean_frechet(r.gaussian, r.of_test.rows(), n, common.seed);
    CsvWriter table(folder.path("quality.csv"), {"sampler", "eta", "steps", "calls", "seconds",
                                                 "frechet", "low", "high", "sure", "floor"});
    std::vector<Sampler> samplers;
    for (const char* name : kSamplerNames) samplers.push_back({.name = name, .seed = common.seed});
    std::int64_t work = 0, done = 0;
    const auto all_steps = [&](const Sampler& sampler) {
        std::vector<int> steps = preset.steps;
        if (sampler.name == "ddpm" || sampler.name == "ddim")
            steps.insert(steps.end(), preset.long_runs.begin(), preset.long_runs.end());
        return steps;
    };
    const auto grid = [&](int steps) { return step_grid("trailing", d.schedule(), steps); };
    for (const Sampler& sampler : samplers) {
        for (const int steps : all_steps(sampler)) work += calls_of(sampler, grid(steps));
    }
    std::string lines;
    {
        Progress progress("quality", work, "calls");
        for (std::size_t k = 0; k < samplers.size(); ++k) {
            for (const int steps : all_steps(samplers[k])) {
                const std::vector<int> times = grid(steps);
                Pictures pictures = find_noise({}, d.loaded.model, n, common.seed);
                const Tensor<float> x = pictures.tensor();
                const auto start = Clock::now();
                run_sampler(samplers[k], d.denoiser, d.schedule(), times, x,
                            [&](int, Tensor<const float>) {
                                require(!interrupted(), "stopped while drawing");
                            });
                const double seconds = seconds_since(start);
                done += calls_of(samplers[k], times);
                const Opinion opinion = judge(r.classifier, to_dataset(x, "samples"));
                const double distance = frechet_distance(r.gaussian, fit_gaussian(opinion.rows()));
                const Interval interval =
                    frechet_interval(opinion.rows(), r.gaussian, distance, common.seed);
                double sure = 0;
                for (const float p : opinion.confidence) sure += p >= 0.9f ? 1.0 / n : 0.0;
                table.row({static_cast<double>(k), samplers[k].eta, static_cast<double>(steps),
                           static_cast<double>(calls_of(samplers[k], times)), seconds, distance,
                           interval.low, interval.high, sure, floor});
                char line[160];
                std::snprintf(line, sizeof line,
                              "%-10s%8d%8d%10.2f s%12.3f  (%.3f to %.3f)%9.1f %%\n",
                              samplers[k].name.c_str(), steps, calls_of(samplers[k], times),
                              seconds, distance, interval.low, interval.high, 100 * sure);
                lines += line;
                progress.update(done, samplers[k].name + " " + std::to_string(steps));
            }
        }
        progress.finish();
    }
    std::printf("\n%d pictures each; real ones have the Frechet distance %.3f\n", n, floor);
    std::printf("%-10s%8s%8s%12s%12s%20s%11s\n%s", "sampler", "steps", "calls", "time", "Frechet",
                "95 %", "sure", lines.c_str());
}

/// One strip for each of the subcommands.
void show_strips(RunFolder& folder, const CommonOptions& common, const Drawing& d) {
    constexpr int n = 10;
    const std::size_t steps_of_grid = d.times.size() - 1;
    Steps steps(14 * steps_of_grid);  // 2 strips, 4 round trips, 2 completions, 1.5 edits
    {
        Pictures ends(d.shape(2)), way(d.shape(n));
        const Tensor<float> two = ends.tensor(), x = way.tensor();
        std::vector<Image> rows;
        for (const std::uint64_t seed : {common.seed, common.seed + 1}) {
            start_noise<float>(seed, two);
            for (int i = 0; i < n; ++i)
                slerp<float>(two[0], two[1], static_cast<double>(i) / (n - 1), x[i]);
            ddim_sample<float>(d.denoiser, d.schedule(), d.times, {.clip = 1}, x, steps.observer());
            rows.push_back(image_grid(x, n, 2));
        }
        put(folder, "interpolation.png", stack_rows(rows),
            "On the great circle between two noises, drawn by DDIM; two pairs.");
    }
    const auto digits = [&](Tensor<float> x) {
        for (int i = 0; i < x.size(0); ++i) find_picture(common, {}, false, i, x[i]);
    };
    {
        Pictures given(d.shape(n)), noise(d.shape(n)), again(d.shape(n));
        digits(given.tensor());
        // The last entry is the default; its pictures are shown.
        CsvWriter table(folder.path("inversion.csv"), {"rounds", "error", "noise"});
        std::printf("\n%d digits, %zu steps there and back\n%-10s%24s%24s\n", n, steps_of_grid,
                    "rounds", "mean absolute error", "root mean square noise");
        for (const int rounds : {1, 2, 4, PictureSettings().rounds}) {
            const double error =
                round_trip(d, rounds, given.tensor(), noise.tensor(), again.tensor(), steps);
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
            find_picture(common, {}, false, k, given.tensor()[0]);
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
            find_picture(common, {}, false, 2, x[0]);
            repeat_first(x);
            const std::vector<int> times = times_from(d.times, d.schedule().steps(), strength);
            const Tensor<float> changed(x[1].data(), d.shape(n - 1));
            noise_to(d.schedule(), times.front(), common.seed, changed);
            ddim_sample<float>(d.denoiser, d.schedule(), times,
                               {.eta = 1, .clip = 1, .seed = common.seed}, changed,
                               steps.observer());
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
        show_quality(folder, common, d, preset);
        show_strips(folder, common, d);
    }
    folder.finish(seconds_since(start));
    std::printf("\nPictures and tables are in %s (%.1f s)\n", common.out.string().c_str(),
                seconds_since(start));
}

}  // namespace diffusion
