#include "04_unet/runs.hpp"

#include <algorithm>
#include <cstdio>
#include <map>
#include <optional>

#include "02_gradients/tape_pool.hpp"
#include "04_unet/training_folder.hpp"
#include "04_unet/unet_file.hpp"
#include "data/find.hpp"
#include "io/csv.hpp"
#include "io/files.hpp"
#include "io/image.hpp"
#include "kernels/threads.hpp"

namespace diffusion {
namespace {

const std::vector<std::string> kLogColumns = {"step", "images", "seconds", "loss", "grad_norm"};

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

/// A training from its settings to its files.
class TrainingRun {
public:
    TrainingRun(const CommonOptions& common, const TrainSettings& settings, const Device& device,
                RunFolder& folder)
        : common_(common),
          device_(device),
          folder_(folder),
          files_(folder),
          data_(find_dataset(settings.dataset, common.data, true)),
          settings_(complete(settings)),
          model_(unet_config(data_.channels, settings_.base, settings_.multipliers),
                 make_schedule(settings_.schedule, kT), prediction_from_name(settings_.prediction),
                 data_.height, data_.width, data_.name),
          trainer_(model_.parameters, options_of(settings_, data_, common.seed)) {
        if (saved_) {
            resume();
        } else {
            begin();
        }
        tell();
        const Source source = picture_source(data_, {.batch = settings_.batch,
                                                     .flip = settings_.dataset == "cifar10",
                                                     .seed = common.seed});
        training_ = device.training(trainer_, denoising_task(model_.network(), source,
                                                             model_.objective(settings_.time_power),
                                                             settings_.batch, common.seed));
    }

    /// Steps until the last one or Ctrl-C, with checkpoints. Returns whether it was the last.
    bool loop() {
        CsvWriter log(files_.log(), kLogColumns, trainer_.steps() > 0);
        Progress progress("train", images_at(steps()), "images", images_at(trainer_.steps()));
        try {
            if (due_grid() > 0 && !std::filesystem::exists(files_.grid(due_grid())))
                draw_grid(due_grid());  // the stop came while it was drawn
            while (trainer_.steps() < steps() && !interrupted()) {
                const Trainer::Report report = training_->step();
                const std::int64_t done = trainer_.steps();
                log.row({static_cast<double>(done), static_cast<double>(images_at(done)), seconds(),
                         report.loss, report.gradient_norm});
                char text[32];
                std::snprintf(text, sizeof text, "loss %.4f", report.loss);
                progress.update(images_at(done), text);
                if (due_grid() > 0) draw_grid(due_grid());
                if (done % settings_.save_every == 0) save();
            }
            progress.finish();
            save();
        } catch (const NotFinite& error) {
            fail(error.what(), "; ", lower_rate_advice());
        }
        return trainer_.steps() == steps();
    }

    /// Pictures and tables.
    void report(bool finished) {
        if (finished) {
            show_grids();
            write_loss_by_time(model_, data_, trainer_.steps(), trainer_.average(), common_.seed,
                               folder_.path("loss_by_t.csv"));
        }
        folder_.number("training images", static_cast<double>(images_at(trainer_.steps())));
        folder_.finish(seconds());
        std::printf("%s after %lld steps, %.0f s: %s\n", finished ? "trained" : "stopped and saved",
                    static_cast<long long>(trainer_.steps()), seconds(), folder_.dir().c_str());
    }

private:
    std::int64_t steps() const { return trainer_.options().steps; }
    std::int64_t images_at(std::int64_t step) const { return step * settings_.batch; }
    double seconds() const { return earlier_ + seconds_since(start_); }

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

    /// Goes on from a saved state.
    void resume() {
        try {
            trainer_.load(files_.state());
        } catch (const Error& error) {
            const bool further = saved_->step == saved_->steps && saved_->steps != steps() &&
                                 holds_model(folder_.dir());
            fail(error.what(), further
                                   ? "; to train its model further, leave out --resume, and add "
                                     "--from " +
                                         folder_.dir().string()
                                   : "; start with the same options, or without --resume (what "
                                     "is there is then kept)");
        }
        if (!trainer_.earlier_rates().empty())
            std::printf("learning rate: %s; from there on %s\n", trainer_.earlier_rates().c_str(),
                        shortest(settings_.learning_rate).c_str());
        try {
            earlier_ = seconds_logged();
        } catch (const Error& error) {  // the state decides, not its log
            const std::string name = files_.log().filename().string();
            const std::filesystem::path aside = set_aside(folder_.dir(), std::span(&name, 1));
            std::printf(
                "note: %s; %sa new log begins\n", error.what(),
                aside.empty() ? "" : ("it is kept in " + aside.string() + ", and ").c_str());
            const CsvWriter anew(files_.log(), kLogColumns, false);
        }
    }

    /// Brings the log to the state's step. How long the training took up to there.
    double seconds_logged() const {
        require(std::filesystem::exists(files_.log()), files_.log().string(), ": is not there");
        keep_csv_rows(files_.log(), 0, static_cast<double>(trainer_.steps()));
        const CsvTable log = read_csv(files_.log());
        require(log.columns == kLogColumns, files_.log().string(),
                ": not the log of a training: its columns are others");
        return log.rows.empty() ? 0 : log.rows.back()[2];
    }

    /// Begins anew, in a folder that may hold another run.
    void begin() {
        if (common_.resume)
            std::printf("nothing is saved in %s: starting from the beginning\n",
                        common_.out.string().c_str());
        files_.make_room();
        if (from_) {
            std::printf("begins with the weights of %s\n", settings_.from.c_str());
            std::ranges::copy(from_->values, trainer_.values().begin());
            std::ranges::copy(from_->values, trainer_.average().begin());
            from_.reset();
        }
        const CsvWriter anew(files_.log(), kLogColumns, false);
        trainer_.save(
            files_.state());  // now, so that a later --resume never meets the state of another run
    }

    /// What to do when a number is not finite.
    std::string lower_rate_advice() const {
        const std::string rate = " --learning-rate " + shortest(settings_.learning_rate / 4),
                          now = " (now " + shortest(settings_.learning_rate) + ")";
        const std::int64_t step = look_at_state(files_.state()).step;
        const bool no_step = saved_ && saved_->step == trainer_.steps();  // it was bad already
        if (step == 0 || no_step)
            return "begin again with 04_unet train, the same options without --resume, and" + rate +
                   now;
        return "the checkpoint of step " + std::to_string(step) +
               " is kept: 04_unet train with the same options, --resume and" + rate + now +
               " goes on from there, without --resume it begins again";
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
                {"images", std::to_string(images_at(steps()))},
                {"batch", std::to_string(settings_.batch)},
                {"predicts", settings_.prediction + ", " + settings_.schedule + " schedule"},
                {"seed", std::to_string(common_.seed)}});
        if (!takes_size(model_.unet.config(), model_.height, model_.width))
            std::printf(
                "note: %d x %d pixels cannot be halved evenly %d times; this book's programs run "
                "such a model, diffusers cannot\n",
                model_.height, model_.width, model_.unet.config().levels() - 1);
    }

    /// A state to go on from, and a model to draw with.
    void save() {
        training_->fetch();
        trainer_.save(files_.state());
        model_.save(folder_.dir(), trainer_.average());
    }

    /// The grid to be drawn after the step that was made last; 0: none.
    std::int64_t due_grid() const {
        const std::int64_t done = trainer_.steps(), part = kGrids * done / steps();
        return done > 0 && part != kGrids * (done - 1) / steps() ? part : 0;
    }

    /// Draws with the averaged weights from noise that depends on the seed alone, so that the grids
    /// of one run can be compared. Gives up when the program is asked to stop.
    void draw_grid(std::int64_t part) {
        struct Stopped {};
        training_->fetch();
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

    void show_grids() {
        std::vector<Image> grids;
        for (int part = 1; part <= kGrids; ++part) {
            if (std::filesystem::exists(files_.grid(part)))
                grids.push_back(read_image(files_.grid(part)));
        }
        if (grids.empty()) return;
        write_png(folder_.path("progress.png"), stack_rows(grids));
        folder_.picture("progress.png",
                        "The same noise, drawn after each eighth of the training (50 steps each).");
    }

    Clock::time_point start_ = Clock::now();
    double earlier_ = 0;  ///< seconds of the runs before this one
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
    std::unique_ptr<Training> training_;
};

}  // namespace

bool run_train(const CommonOptions& common, const TrainSettings& settings, const Device& device,
               RunFolder& folder) {
    TrainingRun run(common, settings, device, folder);
    const bool finished = run.loop();
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
