#include "04_unet/runs.hpp"

#include <cmath>
#include <cstdio>
#include <limits>
#include <map>

#include "04_unet/backend.hpp"
#include "04_unet/denoising.hpp"
#include "04_unet/samples.hpp"
#include "data/find.hpp"
#include "io/csv.hpp"
#include "io/image.hpp"
#include "kernels/threads.hpp"

namespace diffusion {
namespace {

/// How much work a preset is. Fixed numbers of images, never of seconds: so results repeat.
struct Preset {
    int base;
    std::vector<int> multipliers;
    int batch;
    std::int64_t images;
};
const std::map<std::string, Preset> kPresets = {{"smoke", {8, {1, 2, 2}, 32, 128}},
                                                {"quick", {16, {1, 2, 2}, 32, 32'000}},
                                                {"standard", {16, {1, 2, 4}, 32, 256'000}},
                                                {"long", {16, {1, 2, 4}, 128, 4'480'000}}};

const std::vector<std::string> kLogColumns = {"step", "images", "seconds", "loss", "grad_norm"};

constexpr int kT = 1000, kGrid = 16, kGridSteps = 50, kGrids = 8;

/// Draws from noise that depends on the seed alone, so that grids of one run can be compared.
Image draw_grid(const DenoisingModel& model, const Denoiser<float>& denoiser, std::uint64_t seed) {
    Arena arena;
    const Tensor<float> x =
        arena.make<float>({kGrid, model.height, model.width, model.unet.config().channels});
    start_noise<float>(seed, x);
    const AncestralOptions options{.clip = 1.0, .seed = seed};
    ancestral_sample<float>(denoiser, model.schedule, even_times(kT, kGridSteps), options, x);
    return image_grid(x, kGrid, 1);
}

/// Mean squared error of the averaged weights' predictions on 1,280 noised images, by time, into
/// loss_by_t.csv.
void write_loss_by_time(const DenoisingModel& model, const Dataset& data, const Trainer& trainer,
                        std::vector<float>& values, std::uint64_t seed,
                        const std::filesystem::path& path) {
    constexpr int kBatch = 64, kBatches = 20, kLane = 4, kBins = 10;
    std::vector<double> sum(kBins), count(kBins);
    std::vector<Arena> arenas(static_cast<std::size_t>(thread_count()));
    for (int batch = 0; batch < kBatches; ++batch) {
        SampleErrors samples(kBatch);
        const Trainer::Loss loss =
            denoising_loss(model, data, {kBatch, 1.0, false, seed}, &samples);
        parallel_for(kBatch / kLane, thread_count(), [&](int lane) {
            Tape<float> tape(arenas[thread_number()]);
            tape.reset();
            tape.bind(values.data());
            loss(tape, trainer.steps() + batch, lane * kLane,
                 kLane);  // noise that training has not seen
        });
        for (std::size_t k = 0; k < samples.t.size(); ++k) {
            const auto bin = static_cast<std::size_t>(kBins * (samples.t[k] - 1) / kT);
            sum[bin] += samples.error[k];
            count[bin] += 1;
        }
    }
    CsvWriter bins(path, {"first_t", "last_t", "loss"});
    for (int b = 0; b < kBins; ++b) {
        const auto bin = static_cast<std::size_t>(b);
        bins.row({b * kT / 10.0 + 1, (b + 1) * kT / 10.0, sum[bin] / count[bin]});
    }
}

/// What a step takes: the second one of a trainer that is thrown away. Not a number if that fails:
/// the real training will then tell why.
template <class Stepper>
double seconds_per_step(const DenoisingModel& model, const TrainOptions& options,
                        Stepper stepper) try {
    Trainer trial(model.unet.parameters(), options);
    const GpuTraining training = stepper(trial);
    training.step();
    const auto start = Clock::now();
    training.step();
    return seconds_since(start);
} catch (const Error&) {
    return std::numeric_limits<double>::quiet_NaN();
}

}  // namespace

bool run_train(const CommonOptions& common, const TrainSettings& settings, RunFolder& folder) {
    const auto start = Clock::now();
    const GpuBackend* backend =
        settings.device == "cuda" ? &require_gpu(settings.precision) : nullptr;
    const Dataset data = find_dataset(settings.dataset, common.data, true);
    const Preset& preset = kPresets.at(common.preset);
    const int base = settings.base > 0 ? settings.base : preset.base;
    const std::vector<int>& multipliers =
        settings.multipliers.empty() ? preset.multipliers : settings.multipliers;
    const std::int64_t images = settings.images > 0 ? settings.images : preset.images;
    const int batch = settings.batch > 0 ? settings.batch : preset.batch;
    const std::int64_t steps = std::max<std::int64_t>(1, images / batch);
    const bool flip = settings.dataset == "cifar10";
    const DenoisingModel model({data.channels, base, multipliers, 4}, settings.schedule, kT,
                               settings.prediction, data.height, data.width, data.name);
    const TrainOptions options{.batch = batch,
                               .steps = steps,
                               .learning_rate = settings.learning_rate,
                               .warmup = std::min<std::int64_t>(200, steps / 5),
                               .muon = settings.optimizer == "muon",
                               .seed = common.seed,
                               .task = {{"data", data.name},
                                        {"pictures", std::to_string(data.count)},
                                        {"base", std::to_string(base)},
                                        {"multipliers", joined(multipliers)},
                                        {"schedule", settings.schedule},
                                        {"prediction", settings.prediction},
                                        {"time_power", shortest(settings.time_power)}}};
    Trainer trainer(model.unet.parameters(), options);
    const auto state_path = folder.path("state.safetensors"), log_path = folder.path("train.csv");
    double earlier = 0;  // seconds of the runs before this one
    if (common.resume && std::filesystem::exists(state_path)) {
        trainer.load(state_path);
        keep_csv_rows(log_path, 0, static_cast<double>(trainer.steps()));
        const CsvTable log = read_csv(log_path);
        if (!log.rows.empty()) earlier = log.rows.back()[2];
    } else {
        if (common.resume)
            std::printf("nothing is saved in %s: starting from the beginning\n",
                        common.out.string().c_str());
        if (std::filesystem::remove(state_path))  // first, so that no state lacks its log
            std::printf("the earlier training in %s is replaced\n", common.out.string().c_str());
        for (int part = 1; part <= kGrids; ++part)  // of an earlier run
            std::filesystem::remove(folder.path("progress_" + std::to_string(part) + ".png"));
        const CsvWriter anew(log_path, kLogColumns, false);
        trainer.save(
            state_path);  // now, so that a later --resume never meets the state of another run
    }
    const std::map<std::string, std::string> told = {{"dataset", settings.dataset},
                                                     {"preset", common.preset},
                                                     {"data", data.source},
                                                     {"schedule", settings.schedule},
                                                     {"prediction", settings.prediction}};
    for (const auto& [name, value] : told) folder.setting(name, value);
    folder.setting("device", backend != nullptr ? backend->name() : "cpu");
    folder.setting("seed", common.seed);
    folder.setting("base", base);
    folder.setting("multipliers", joined(multipliers));
    folder.setting("batch", batch);
    folder.setting("optimizer", settings.optimizer);
    folder.setting("learning rate", settings.learning_rate);
    folder.setting("time power", settings.time_power);
    const DenoisingTask task{batch, settings.time_power, flip, common.seed};
    const Trainer::Loss loss = denoising_loss(model, data, task);
    const auto stepper = [&](Trainer& of) -> GpuTraining {
        if (backend != nullptr) return backend->training(of, model, data, task);
        return {[&of, &loss] { return of.step(loss); }, [] {}};
    };
    const auto denoiser_of = [&](std::vector<float>& values) {
        return backend != nullptr ? backend->denoiser(model, values) : make_denoiser(model, values);
    };
    // Steps to go, and what the grids cost: drawing is forward only, a third of a training pass.
    const double drawing = kGrids * kGrid * kGridSteps / (3.0 * batch);
    const double left =
        static_cast<double>(steps - trainer.steps()) * (1 + drawing / static_cast<double>(steps));
    banner("Chapter 4: a UNet learns to draw",
           {{"data", data.source},
            {"device", backend != nullptr ? backend->name() : "CPU"},
            {"parameters", std::to_string(model.unet.parameters().count())},
            {"images", std::to_string(steps * batch)},
            {"batch", std::to_string(batch)},
            {"predicts", settings.prediction + ", " + settings.schedule + " schedule"},
            {"seed", std::to_string(common.seed)},
            {"expected time", about(left * seconds_per_step(model, options, stepper))}});

    const GpuTraining training = stepper(trainer);
    CsvWriter log(log_path, kLogColumns, trainer.steps() > 0);
    const auto grid_path = [&](std::int64_t part) {
        return folder.path("progress_" + std::to_string(part) + ".png");
    };
    Progress progress("train", steps * batch, "images", trainer.steps() * batch);
    while (trainer.steps() < steps && !interrupted()) {
        const Trainer::Report report = training.step();
        const std::int64_t done = trainer.steps();
        log.row({static_cast<double>(done), static_cast<double>(done * batch),
                 earlier + seconds_since(start), report.loss, report.gradient_norm});
        char text[32];
        std::snprintf(text, sizeof text, "loss %.4f", report.loss);
        progress.update(done * batch, text);
        const std::int64_t part = kGrids * done / steps;
        if (part != kGrids * (done - 1) / steps) {
            training.fetch();
            write_png(grid_path(part),
                      draw_grid(model, denoiser_of(trainer.average()), common.seed));
        }
        if (done % settings.save_every == 0) {
            training.fetch();
            trainer.save(state_path);
        }
    }
    training.fetch();
    progress.finish();
    trainer.save(state_path);
    model.save(folder.path("model.safetensors"), trainer.average());
    const bool finished = trainer.steps() == steps;
    if (finished) {
        std::vector<Image> grids;
        for (int part = 1; part <= kGrids; ++part) {
            if (std::filesystem::exists(grid_path(part)))
                grids.push_back(read_image(grid_path(part)));
        }
        if (!grids.empty()) {
            write_png(folder.path("progress.png"), stack_rows(grids));
            folder.picture(
                "progress.png",
                "The same noise, drawn after each eighth of the training (50 steps each).");
        }
        write_loss_by_time(model, data, trainer, trainer.average(), common.seed,
                           folder.path("loss_by_t.csv"));
    }
    folder.number("training images", static_cast<double>(trainer.steps() * batch));
    folder.finish(earlier + seconds_since(start));
    std::printf("%s after %lld steps, %.0f s: %s\n", finished ? "trained" : "stopped and saved",
                static_cast<long long>(trainer.steps()), earlier + seconds_since(start),
                folder.path("model.safetensors").string().c_str());
    return finished;
}

void run_sample(const CommonOptions& common, const SampleSettings& settings, RunFolder& folder) {
    const auto start = Clock::now();
    const GpuBackend* backend =
        settings.device == "cuda" ? &require_gpu(settings.precision) : nullptr;
    LoadedModel loaded = load_model(settings.model);
    const DenoisingModel& model = loaded.model;
    Pictures pictures = find_noise(settings.noise, model, settings.n, common.seed);
    const Tensor<float> x = pictures.tensor();
    const int n = x.size(0);
    const std::vector<int> times = even_times(model.schedule.steps(), settings.steps);
    const Denoiser<float> denoiser = backend != nullptr ? backend->denoiser(model, loaded.values)
                                                        : make_denoiser(model, loaded.values);
    banner(
        "Chapter 4: drawing",
        {{"model", settings.model.string()},
         {"device", backend != nullptr ? backend->name() : "CPU"},
         {"parameters", std::to_string(model.unet.parameters().count())},
         {"pictures", std::to_string(n)},
         {"steps", std::to_string(settings.steps)},
         {"noise",
          settings.noise.empty() ? "seed " + std::to_string(common.seed) : settings.noise.string()},
         {"expected time", about(settings.steps * n * seconds_per_picture(model, denoiser, n))}});
    Progress progress("draw", settings.steps, "steps");
    std::vector<Image> frames;
    std::int64_t done = 0;
    const int shown = std::min(n, 16);
    const auto observer = [&](int, Tensor<const float> xs) {
        progress.update(++done);
        require(!interrupted(), "interrupted; nothing was written");
        if (40 * done / settings.steps != 40 * (done - 1) / settings.steps ||
            settings.steps <= 40) {
            frames.push_back(
                image_grid({xs.data(), {shown, model.height, model.width, xs.size(3)}}, 8, 3));
        }
    };
    ancestral_sample<float>(denoiser, model.schedule, times, {.clip = 1.0, .seed = common.seed}, x,
                            observer);
    progress.finish();

    folder.keep_earlier();  // the model may have been trained here
    write_samples(folder, x, settings.save_npy,
                  "drawn from noise in " + std::to_string(settings.steps) + " steps");
    write_gif(folder.path("denoising.gif"), frames, 12);
    folder.picture("denoising.gif", "Noise turns into pictures.");
    folder.setting("drawn", n);
    folder.setting("drawn by", settings.model.string());
    folder.setting("drawn from", settings.noise.empty() ? "seed " + std::to_string(common.seed)
                                                        : settings.noise.string());
    folder.setting("steps", settings.steps);
    folder.finish(seconds_since(start));
    std::printf("drew %d pictures in %.0f s: %s\n", n, seconds_since(start),
                folder.path("samples.png").string().c_str());
}

}  // namespace diffusion
