#include "06_ddim/runs.hpp"

#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "04_unet/samples.hpp"
#include "06_ddim/editing.hpp"
#include "06_ddim/gpu_sampling.hpp"
#include "06_ddim/strips.hpp"
#include "io/csv.hpp"
#include "io/fit_picture.hpp"
#include "io/npy.hpp"
#include "io/run_folder.hpp"

namespace diffusion {
namespace {

/// What is done with a model, for the banner and run.json.
struct Job {
    std::string name, title;  ///< the subcommand, and what the banner says of it
    std::string pictures;     ///< which, or how many
    double calls;             ///< of the network, for one picture, times pictures
    std::size_t steps;        ///< that are walked
    nlohmann::json settings;  ///< of this subcommand
};

std::string described(const DrawSettings& draw, const Drawing& d, std::size_t steps) {
    const std::string eta = sampler_named(draw.sampler.name).takes_eta && draw.sampler.eta > 0
                                ? ", eta " + shortest(draw.sampler.eta)
                                : "";
    return draw.sampler.name + eta + ", " + std::to_string(steps) + " steps, " + d.grid;
}

/// The banner, and how it was made into run.json.
void tell(RunFolder& folder, const CommonOptions& common, const Device& device,
          const DrawSettings& draw, const Drawing& d, Job job) {
    const DenoisingModel& model = d.loaded.model;
    const std::string path = model_path(common, draw).string(), by = described(draw, d, job.steps);
    banner(
        "Chapter 6: " + job.title,
        {{"model", path},
         {"parameters", std::to_string(model.parameters.count())},
         {"device", device.name},
         {"sampler", by},
         {"pictures", job.pictures},
         {"seed", std::to_string(common.seed)},
         {"expected time",
          about(job.calls * seconds_per_picture(model, d.denoiser, static_cast<int>(job.calls)))}});
    job.settings.update({{"model", path},
                         {"pictures", job.pictures},
                         {"sampler", draw.sampler.name},
                         {"steps", job.steps},
                         {"grid", d.grid},
                         {"clip", d.sampler.clip},
                         {"eta", draw.sampler.eta},
                         {"seed", common.seed}});
    folder.setting(job.name, job.settings);
}

RunFolder open_folder(const CommonOptions& common) {
    RunFolder folder(common.out, "06_ddim", "Fewer steps, and pictures of your own");
    folder.keep_earlier();
    no_state_to_resume(common);
    return folder;
}

std::string name_of(const std::filesystem::path& picture) {
    return picture.empty() ? "a test picture" : picture.string();
}

/// 1 where a picture is kept: where the mask is white, or in the upper half.
void find_mask(const std::filesystem::path& path, Tensor<float> keep) {
    if (path.empty()) {
        keep_upper_half(keep);
    } else {
        fit_picture(read_image(path), false, keep);
        for (float& k : keep) k = k > 0 ? 1.0f : 0.0f;
    }
}

/// Says so where an inversion's first step is long: it is drawn and not solved.
void tell_first_step(const Drawing& d) {
    const int first = d.times[d.times.size() - 2];
    if (20 * first > d.schedule().steps())
        std::printf(
            "note: the first step back, from t = 0 to %d, is not solved but drawn; more "
            "steps, or the grid trailing, make it shorter\n",
            first);
}

}  // namespace

void run_draw(const CommonOptions& common, const DrawSettings& draw, const DrawingSettings& more,
              const Device& device) {
    const auto start = Clock::now();
    RunFolder folder = open_folder(common);
    const Drawing d(common, draw, device);
    Array<float> pictures = find_noise(more.noise, d.loaded.model, more.n, common.seed);
    const Tensor<float> x = pictures.tensor();
    const int n = x.size(0), calls = calls_along(sampler_named(draw.sampler.name), d.path);
    tell(folder, common, device, draw, d,
         {"sample",
          "drawing",
          std::to_string(n),
          static_cast<double>(n) * calls,
          d.steps(),
          {{"noise", more.noise.string()}}});
    const Sampler& sampler = d.sampler;
    const auto begun = Clock::now();
    if (device.is_gpu && sampler_named(sampler.name).calls == 1) {  // Heun asks twice in a step
        Progress progress("draw", n, "pictures");
        sample_on_gpu(d.loaded.model.network(), d.loaded.model.prediction, d.loaded.values, {},
                      sampler, d.path, x, [&](int drawn) {
                          require(!interrupted(), "stopped while drawing");
                          progress.update(drawn);
                      });
        progress.finish();
    } else {
        Steps steps(d.steps());
        run_sampler(sampler, d.denoiser, d.path, x, steps.observer());
        steps.finish();
    }
    const double seconds = seconds_since(begun);
    write_samples(folder, x, more.save_npy, "drawn by " + described(draw, d, d.steps()));
    folder.finish(seconds_since(start));
    std::printf("drew %d pictures with %d calls of the network each in %.2f s: %s\n", n, calls,
                seconds, folder.path("samples.png").string().c_str());
}

void run_invert(const CommonOptions& common, const DrawSettings& draw, const PictureSettings& given,
                const Device& device) {
    const auto start = Clock::now();
    RunFolder folder = open_folder(common);
    const Drawing d(common, draw, device);
    Array<float> three(d.shape(3));
    const Tensor<float> all = three.tensor();
    const auto one = [&](int i) { return Tensor<float>(all[i].data(), d.shape(1)); };
    find_picture(common, draw, d, given.image, given.negative, all[0]);
    const double steps_of_grid = static_cast<double>(d.steps());
    tell(folder, common, device, draw, d,
         {"invert",
          "from a picture to its noise and back",
          name_of(given.image),
          (given.rounds + 1) * steps_of_grid,
          d.steps(),
          {{"rounds", given.rounds}, {"negative", given.negative}}});
    tell_first_step(d);
    Steps steps(2 * (d.steps()));
    const double error = round_trip(d, given.rounds, common.seed, one(0), one(1), one(2), steps);
    steps.finish();
    put(folder, "inversion.png", image_grid(all, 3, 4),
        "A picture, the noise that DDIM draws it from, and what it draws from this noise.");
    write_npy(folder.path("noise.npy"), one(1));
    folder.number("inversion: mean absolute error", error, "per pixel, of a range of 2");
    folder.finish(seconds_since(start));
    std::printf("mean absolute error after the way there and back: %.4f, of a range of 2: %s\n",
                error, folder.path("inversion.png").string().c_str());
}

void run_interpolate(const CommonOptions& common, const DrawSettings& draw,
                     const PictureSettings& given, const Device& device) {
    const auto start = Clock::now();
    RunFolder folder = open_folder(common);
    require(given.image.empty() == given.second.empty(),
            "interpolate: give both --image and --second, or none for two noises");
    const Drawing d(common, draw, device);
    const int n = given.n;
    Array<float> ends(d.shape(2)), way(d.shape(n));
    const Tensor<float> two = ends.tensor(), x = way.tensor();
    if (given.image.empty()) {
        start_noise<float>(common.seed, two);
    } else {
        find_picture(common, draw, d, given.image, given.negative, two[0]);
        find_picture(common, draw, d, given.second, given.negative, two[1]);
    }
    const double steps_of_grid = static_cast<double>(d.steps());
    tell(folder, common, device, draw, d,
         {"interpolate",
          "between two pictures",
          given.image.empty() ? "drawn from two noises"
                              : given.image.string() + " to " + given.second.string(),
          (n + (given.image.empty() ? 0 : 2 * given.rounds)) * steps_of_grid,
          d.steps(),
          {{"n", n}, {"rounds", given.rounds}, {"negative", given.negative}}});
    if (!given.image.empty()) tell_first_step(d);
    Steps steps((given.image.empty() ? 1 : 2) * (d.steps()));
    if (!given.image.empty()) {
        ddim_invert<float>(d.denoiser, d.path,
                           {.rounds = given.rounds,
                            .noise = editing_noise<float>(common.seed),
                            .observer = steps.observer()},
                           two);
    }
    on_circle(two[0], two[1], x);
    // Noises that were found by inversion come back unclipped only.
    ddim_sample<float>(
        d.denoiser, d.path,
        {.clip = given.image.empty() ? d.sampler.clip : 0.0, .observer = steps.observer()}, x);
    steps.finish();
    put(folder, "interpolation.png", image_grid(x, n, 2),
        "On the great circle between two noises, drawn by DDIM.");
    folder.finish(seconds_since(start));
    std::printf("%s\n", folder.path("interpolation.png").string().c_str());
}

void run_inpaint(const CommonOptions& common, const DrawSettings& draw,
                 const PictureSettings& given, const Device& device) {
    const auto start = Clock::now();
    RunFolder folder = open_folder(common);
    const Drawing d(common, draw, device);
    const int n = given.n;
    Array<float> drawn(d.shape(n)), given_ones(d.shape(n)), mask(d.shape(n));
    const Tensor<float> x = drawn.tensor(), known = given_ones.tensor(), keep = mask.tensor();
    find_picture(common, draw, d, given.image, given.negative, known[0]);
    find_mask(given.mask, keep[0]);
    DrawSettings steps_of_ddpm = draw;
    steps_of_ddpm.sampler.eta = 1;  // a step of inpainting always has fresh noise
    tell(folder, common, device, steps_of_ddpm, d,
         {"inpaint",
          "what is missing is drawn",
          name_of(given.image),
          static_cast<double>(n * given.repeats) * static_cast<double>(d.steps()),
          d.steps(),
          {{"n", n},
           {"mask", given.mask.empty() ? "the upper half" : given.mask.string()},
           {"repeats", given.repeats},
           {"negative", given.negative}}});
    repeat_first(known);
    repeat_first(keep);
    start_noise<float>(common.seed, x);
    Steps steps(d.steps());
    inpaint<float>(d.denoiser, d.path, known, keep,
                   {.repeats = given.repeats,
                    .clip = d.sampler.clip,
                    .noise = editing_noise<float>(common.seed),
                    .observer = steps.observer()},
                   x);
    steps.finish();
    put(folder, "inpainting.png", inpainting_strip(known[0], keep[0], x),
        "A picture, what was kept of it, and ways to complete it.");
    folder.finish(seconds_since(start));
    std::printf("%s\n", folder.path("inpainting.png").string().c_str());
}

void run_edit(const CommonOptions& common, const DrawSettings& draw, const PictureSettings& given,
              const Device& device) {
    const auto start = Clock::now();
    RunFolder folder = open_folder(common);
    const SamplerOf<float>& sampler_used = sampler_named(draw.sampler.name);
    DrawSettings part = draw;  // of the way is walked
    if (draw.grid.empty()) part.grid = kEvenGrid;
    const Drawing d(common, part, device);
    const int n = given.n;
    const std::vector<Moment> path =
        d.loaded.model.path(times_from(d.times, d.schedule().steps(), given.strength));
    Array<float> strip(d.shape(n + 1));
    const Tensor<float> all = strip.tensor(), x(all[1].data(), d.shape(n));
    find_picture(common, draw, d, given.image, given.negative, all[0]);
    repeat_first(all);
    tell(folder, common, device, part, d,
         {"edit",
          "noised a part of the way, and back",
          name_of(given.image),
          static_cast<double>(n) * calls_along(sampler_used, path),
          path.size() - 1,
          {{"n", n}, {"strength", given.strength}, {"negative", given.negative}}});
    Steps steps(path.size() - 1);
    edit(d, d.sampler, given.strength, x, steps.observer());
    steps.finish();
    put(folder, "edit.png", image_grid(all, n + 1, 2),
        "A picture, and what became of it with strength " + shortest(given.strength) + ".");
    folder.finish(seconds_since(start));
    std::printf("%s\n", folder.path("edit.png").string().c_str());
}

}  // namespace diffusion
