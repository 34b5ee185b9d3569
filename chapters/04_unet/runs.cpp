#include "04_unet/runs.hpp"

#include <algorithm>
#include <cstdio>
#include <map>
#include <optional>

#include "02_gradients/tape_pool.hpp"
#include "04_unet/training_loop.hpp"
#include "04_unet/unet_file.hpp"
#include "data/find.hpp"
#include "io/csv.hpp"
#include "io/files.hpp"
#include "io/image.hpp"
#include "kernels/threads.hpp"

namespace diffusion {
namespace {

constexpr int kGrid = 16, kGridSteps = 50;

/// Mean squared error of the predictions on 1,280 noised images, by time, into loss_by_t.csv. The
/// noise is that of steps which the training has not seen.
void write_loss_by_time(const DenoisingModel& model, const Dataset& data, std::int64_t steps,
                        std::span<float> values, std::uint64_t seed,
                        const std::filesystem::path& path) {
    constexpr int kBatch = 64, kBatches = 20, kBins = 10;
    const int part = pictures_at_a_time(data.height * data.width, 4);
    std::vector<double> sum(kBins), count(kBins);
    TapePool<float> tapes;
    for (int batch = 0; batch < kBatches; ++batch) {
        SampleErrors samples(kBatch);
        const Trainer::Loss loss = denoising_loss(
            model.network().on_cpu, picture_source(data, {.batch = kBatch, .seed = seed}),
            model.objective(1), kBatch, seed, &samples);
        parallel_for(kBatch / part, thread_count(), [&](int i) {
            const TapePool<float>::Lent lent(tapes);
            lent.tape().bind(values.data());
            loss(lent.tape(), steps + batch, i * part, part);
        });
        for (std::size_t k = 0; k < samples.t.size(); ++k) {
            const auto bin = static_cast<std::size_t>(kBins * samples.t[k] / kT);
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

/// What a training leaves besides its state, its log and its drawings.
TrainingFiles training_files() {
    return {{"unet", "scheduler", "model_index.json",
             "model.safetensors"},  // as the model was called once
            {"loss_by_t.csv", "progress.png", "loss.png", "samples.png", "samples.idx",
             "samples.npy", "denoising.gif", "run.json"},
            holds_model};
}

/// A training from its settings to its files.
class TrainingRun {
public:
    TrainingRun(const CommonOptions& common, const TrainSettings& settings, const Device& device,
                RunFolder& folder)
        : common_(common),
          device_(device),
          folder_(folder),
          files_(folder.dir(), training_files()),
          data_(find_dataset(settings.dataset, common.data, true)),
          settings_(complete(settings)),
          model_(unet_config(data_.channels, settings_.base, settings_.multipliers),
                 make_schedule(settings_.schedule, kT), prediction_from_name(settings_.prediction),
                 data_.height, data_.width, data_.name),
          trainer_(model_.parameters, options_of(settings_, data_, common.seed)),
          loop_(common, files_, trainer_,
                {.command = "04_unet train",
                 .save_every = settings_.save_every,
                 .has_from = true,
                 .save_model = [this] { model_.save(folder_.dir(), trainer_.average()); },
                 .draw = [this](std::int64_t part) { draw_grid(part); }}) {
        if (saved_) {
            loop_.resume(*saved_);
        } else if (from_) {
            loop_.begin(from_->values, settings_.from.string());
            from_.reset();
        } else {
            loop_.begin();
        }
        tell();
    }

    /// Returns whether it came to its end.
    bool run() {
        const Source source = picture_source(data_, {.batch = settings_.batch,
                                                     .flip = settings_.dataset == "cifar10",
                                                     .seed = common_.seed});
        return loop_.run(*device_.training(
            trainer_,
            denoising_task(model_.network(), source, model_.objective(settings_.time_power),
                           settings_.batch, common_.seed)));
    }

    /// Pictures and tables.
    void report(bool finished) {
        if (finished) {
            if (loop_.stack_grids(folder_.path("progress.png")))
                folder_.picture("progress.png",
                                "The same noise, drawn after each eighth of the training (50 "
                                "steps each).");
            write_loss_by_time(model_, data_, trainer_.steps(), trainer_.average(), common_.seed,
                               folder_.path("loss_by_t.csv"));
        }
        folder_.number("training images", static_cast<double>(loop_.images()));
        folder_.finish(loop_.seconds());
        std::printf("%s after %lld steps, %.0f s: %s\n", finished ? "trained" : "stopped and saved",
                    static_cast<long long>(trainer_.steps()), loop_.seconds(),
                    folder_.dir().c_str());
    }

private:
    /// The settings with what they leave open; on the way to them saved_ and from_ are found.
    TrainSettings complete(TrainSettings settings) {
        if (common_.resume && std::filesystem::exists(files_.state())) {
            saved_ = look_at_state(files_.state());
            take(settings, *saved_, !common_.preset_given);
        } else if (!settings.from.empty()) {
            require_file(settings.from, "04_unet train makes a model");
            from_.emplace(load_model(settings.from));
            take(settings, from_->model, data_);
        }
        take(settings, common_.preset);
        return settings;
    }

    /// The banner, and the settings in run.json.
    void tell() {
        const std::map<std::string, nlohmann::json> told = {
            {"dataset", settings_.dataset},
            {"preset", common_.preset},
            {"data", data_.source},
            {"schedule", settings_.schedule},
            {"prediction", settings_.prediction},
            {"device", device_.name},
            {"seed", common_.seed},
            {"base", settings_.base},
            {"batch", settings_.batch},
            {"multipliers", joined(settings_.multipliers)},
            {"optimizer", settings_.optimizer},
            {"learning rate", settings_.learning_rate},
            {"time power", settings_.time_power}};
        for (const auto& [name, value] : told) folder_.setting(name, value);
        if (!settings_.from.empty()) folder_.setting("from", settings_.from.string());
        if (!trainer_.earlier_rates().empty())
            folder_.setting("earlier learning rates", trainer_.earlier_rates());
        banner("Chapter 4: a UNet learns to draw",
               {{"data", data_.source},
                {"device", device_.name},
                {"parameters", std::to_string(model_.parameters.count())},
                {"images", std::to_string(trainer_.options().steps * settings_.batch)},
                {"batch", std::to_string(settings_.batch)},
                {"predicts", settings_.prediction + ", " + settings_.schedule + " schedule"},
                {"seed", std::to_string(common_.seed)}});
        if (!takes_size(model_.unet.config(), model_.height, model_.width))
            std::printf(
                "note: %d x %d pixels cannot be halved evenly %d times; this book's programs run "
                "such a model, diffusers cannot\n",
                model_.height, model_.width, model_.unet.config().levels() - 1);
    }

    /// Draws with the averaged weights from noise that depends on the seed alone, so that the grids
    /// of one run can be compared. Gives up when the program is asked to stop.
    void draw_grid(std::int64_t part) {
        struct Stopped {};
        const Denoiser<float> denoiser =
            device_.denoiser(model_.network(), model_.prediction, trainer_.average(), {});
        Array<float> x(model_.shape(kGrid));
        start_noise<float>(common_.seed, x.tensor());
        const auto observer = [](const Moment&, Tensor<const float>) {
            if (interrupted()) throw Stopped();
        };
        try {
            ancestral_sample<float>(
                denoiser, model_.path(even_times(kT, kGridSteps)),
                {.clip = 1.0, .noise = fresh_noise<float>(common_.seed), .observer = observer}, x);
        } catch (const Stopped&) {
            return;
        }
        write_png(files_.grid(part), image_grid(x.tensor(), kGrid, 1));
    }

    const CommonOptions& common_;
    const Device& device_;
    RunFolder& folder_;
    TrainingFolder files_;
    Dataset data_;
    std::optional<SavedState> saved_;  ///< that it goes on from
    std::optional<LoadedModel> from_;  ///< that it begins with
    TrainSettings settings_;
    DenoisingModel model_;
    Trainer trainer_;
    TrainingLoop loop_;
};

}  // namespace

bool run_train(const CommonOptions& common, const TrainSettings& settings, const Device& device,
               RunFolder& folder) {
    TrainingRun run(common, settings, device, folder);
    const bool finished = run.run();
    run.report(finished);
    return finished;
}

void run_sample(const CommonOptions& common, const SampleSettings& settings, const Device& device,
                RunFolder& folder) {
    const auto start = Clock::now();
    require_file(settings.model, "04_unet train makes one");
    LoadedModel loaded = load_model(settings.model);
    if (!loaded.note.empty()) std::printf("note: %s\n", loaded.note.c_str());
    const DenoisingModel& model = loaded.model;
    const DrawingSettings& drawing = settings.drawing;
    Array<float> pictures = find_noise(drawing.noise, model, drawing.n, common.seed);
    const Tensor<float> x = pictures.tensor();
    const int n = x.size(0), shown = std::min(n, 16);
    const std::vector<Moment> path = model.path(even_times(model.schedule.steps(), settings.steps));
    const Denoiser<float> denoiser =
        device.denoiser(model.network(), model.prediction, loaded.values, {});
    const std::string from =
        drawing.noise.empty() ? "seed " + std::to_string(common.seed) : drawing.noise.string();
    banner(
        "Chapter 4: drawing",
        {{"model", settings.model.string()},
         {"device", device.name},
         {"parameters", std::to_string(model.parameters.count())},
         {"pictures", std::to_string(n)},
         {"steps", std::to_string(settings.steps)},
         {"noise", from},
         {"expected time", about(settings.steps * n * seconds_per_picture(model, denoiser, n))}});
    Progress progress("draw", settings.steps, "steps");
    std::vector<Image> frames;
    std::int64_t done = 0;
    const auto observer = [&](const Moment&, Tensor<const float> xs) {
        progress.update(++done);
        require(!interrupted(), "interrupted; nothing was written");
        if (40 * done / settings.steps != 40 * (done - 1) / settings.steps ||
            settings.steps <= 40) {
            frames.push_back(image_grid({xs.data(), model.shape(shown)}, 8, 3));
        }
    };
    ancestral_sample<float>(denoiser, path,
                            {.clip = loaded.clip,
                             .variance = loaded.variance,
                             .noise = fresh_noise<float>(common.seed),
                             .observer = observer},
                            x);
    progress.finish();

    folder.keep_earlier();  // the model may have been trained here
    write_samples(folder, x, drawing.save_npy,
                  "drawn from noise in " + std::to_string(settings.steps) + " steps");
    write_gif(folder.path("denoising.gif"), frames, 12);
    folder.picture("denoising.gif", "Noise turns into pictures.");
    folder.setting("drawn", n);
    folder.setting("drawn by", settings.model.string());
    folder.setting("drawn from", from);
    folder.setting("steps", settings.steps);
    folder.finish(seconds_since(start));
    std::printf("drew %d pictures in %.0f s: %s\n", n, seconds_since(start),
                folder.path("samples.png").string().c_str());
}

}  // namespace diffusion
