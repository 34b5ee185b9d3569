#include "07_latent_vae/diffusion_runs.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <optional>

#include "04_unet/training_loop.hpp"
#include "06_ddim/grids.hpp"
#include "07_latent_vae/coding.hpp"
#include "07_latent_vae/latent_set.hpp"
#include "07_latent_vae/pictures.hpp"
#include "io/csv.hpp"
#include "io/files.hpp"
#include "io/image.hpp"
#include "io/json.hpp"

namespace diffusion {
namespace {

namespace fs = std::filesystem;

constexpr const char *kScaleFactor = "scaling_factor", *kScaleShift = "shift_factor";
constexpr int kGrid = 10, kGridSteps = 25;

/// How much work a preset is. Networks of latents and of pixels have about as many parameters.
struct Preset {
    int base;
    std::vector<int> multipliers;
    int batch;
    std::int64_t images;
    int set;
};
const std::map<std::string, Preset> kOfLatents = {
    {"smoke", {16, {1, 2}, 16, 64, 64}},
    {"quick", {48, {1, 2, 2}, 64, 12'800, 4'000}},
    {"standard", {48, {1, 2, 2}, 64, 320'000, 30'000}},
    {"long", {48, {1, 2, 2}, 64, 3'000'000, 50'000}}};
const std::map<std::string, Preset> kOfPixels = {{"smoke", {8, {1, 2, 2, 2}, 16, 64, 0}},
                                                 {"quick", {16, {1, 2, 4, 8}, 64, 960, 0}},
                                                 {"standard", {16, {1, 2, 4, 8}, 64, 40'000, 0}},
                                                 {"long", {16, {1, 2, 4, 8}, 64, 240'000, 0}}};

void take_preset(DiffusionSettings& settings, const std::string& preset) {
    const Preset& of = (settings.pixels ? kOfPixels : kOfLatents).at(preset);
    TrainSettings& train = settings.train;
    if (train.base == 0) train.base = of.base;
    if (train.multipliers.empty()) train.multipliers = of.multipliers;
    if (train.batch == 0) train.batch = of.batch;
    if (train.images == 0) train.images = of.images;
    if (settings.set == 0) settings.set = of.set;
    take(train, preset);
}

/// Attention where pictures are small: on the coarsest level, and of latents on the finest, too.
UNetConfig network_of(const DiffusionSettings& settings, int channels) {
    UNetConfig config = unet_config(channels, settings.train.base, settings.train.multipliers);
    config.attention.assign(static_cast<std::size_t>(config.levels()), false);
    config.attention.back() = true;
    if (!settings.pixels) config.attention.front() = true;
    config.heads.clear();  // of one width, base / 2
    for (const int multiplier : settings.train.multipliers) config.heads.push_back(2 * multiplier);
    return config;
}

/// What the weights say of the latents that they draw.
std::map<std::string, std::string> told_of(const LatentScale& scale) {
    return {{kScaleFactor, shortest(scale.factor)}, {kScaleShift, shortest(scale.shift)}};
}

/// Fails, naming what differs, if the network's latents are not the autoencoder's.
void require_same_latents(const LoadedModel& loaded, const AutoencoderModel& vae,
                          const std::string& path) {
    const int channels = loaded.model.unet.config().in_channels,
              latent = vae.autoencoder.config().latent_channels;
    require(channels == latent, path, ": its network draws ", channels,
            " channels, its autoencoder has latents of ", latent);
    const Shape size = vae.autoencoder.latent_shape(
        {1, vae.height, vae.width, vae.autoencoder.config().in_channels});
    require(loaded.model.height == size[1] && loaded.model.width == size[2], path,
            ": its network draws latents of ", loaded.model.height, " x ", loaded.model.width,
            ", its autoencoder makes ", size[1], " x ", size[2], " of ", vae.height, " x ",
            vae.width, " pixels");
    for (const auto& [name, value] : told_of(vae.scale)) {
        const auto learned = loaded.metadata.find(name);
        require(learned == loaded.metadata.end() || learned->second == value, path,
                ": its network learned latents with ", name, " ", learned->second,
                ", its autoencoder's have ", value);
    }
}

/// Whether a folder's pipeline names an autoencoder, and it is there. (One of pixels may have been
/// trained beside an autoencoder that it does not name.)
bool has_autoencoder(const fs::path& folder) {
    const fs::path index = folder / "model_index.json";
    if (!fs::exists(index)) return false;
    const nlohmann::json pipeline = read_json(index);
    return std::ranges::any_of(std::array{kAutoencoderPart, "vae"}, [&](const char* part) {
        return pipeline.contains(part) && fs::exists(folder / part / kConfigFile);
    });
}

/// A diffusion model ready to draw, with the autoencoder where it draws latents.
struct Drawer {
    LoadedModel loaded;
    std::optional<LoadedAutoencoder> vae;

    /// A pipeline whose autoencoder is not there is refused: its latents are no pictures.
    explicit Drawer(const fs::path& path) : loaded(load_model(path, has_autoencoder(path))) {
        if (!has_autoencoder(path)) return;
        vae.emplace(load_autoencoder(path));
        require_same_latents(loaded, vae->model, path.string());
    }
    Array<float> decoded(Array<float> x) {
        return vae ? coder_of(vae->model, vae->model.scale, vae->values).decode(x.tensor())
                   : std::move(x);
    }
};

/// A training from its settings to its files.
class DiffusionTraining {
public:
    DiffusionTraining(const CommonOptions& common, const DiffusionSettings& settings,
                      const Device& device, RunFolder& folder)
        : common_(common),
          device_(device),
          folder_(folder),
          files_(folder.dir(), {{"unet", "scheduler", "model_index.json"},
                                {"progress.png", "samples.png", "samples.idx", "samples.npy"},
                                holds_model,
                                "",
                                kAutoencoderPart}),
          settings_(complete(settings)),
          vae_(find_vae()),
          pictures_(find_pictures(dataset(), common.data, train().batch, common.seed)),
          set_size_(pictures_.count > 0 ? std::min(settings_.set, pictures_.count) : settings_.set),
          model_(network_of(settings_, vae_ ? latent_shape()[3] : pictures_.channels),
                 make_schedule(train().schedule, kT), prediction_from_name(train().prediction),
                 vae_ ? latent_shape()[1] : pictures_.height,
                 vae_ ? latent_shape()[2] : pictures_.width, pictures_.name),
          trainer_(model_.parameters, options()),
          loop_(common, files_, trainer_,
                {.command = "07_latent_vae diffuse",
                 .save_every = train().save_every,
                 .save_model = [this] { save(); },
                 .draw = [this](std::int64_t part) { draw_grid(part); }}) {
        if (saved_) {
            loop_.resume(*saved_);
        } else {
            loop_.begin();
        }
        folder_.keep_earlier();  // the autoencoder may have been trained here
        if (vae_ && !fs::exists(folder_.path(kAutoencoderPart) / kConfigFile))
            vae_->model.save(folder_.path(kAutoencoderPart), vae_->values);
        tell();
    }

    /// Returns whether it came to its end.
    bool run() {
        Source source = pictures_.train;
        if (vae_) {
            encode_set();
            source = latent_source(set_, train().batch, common_.seed);
        }
        return loop_.run(*device_.training(
            trainer_, denoising_task(model_.network(), source, model_.objective(train().time_power),
                                     train().batch, common_.seed)));
    }

    void report(bool finished) {
        if (finished && loop_.stack_grids(folder_.path("progress.png")))
            folder_.picture("progress.png",
                            "The same noise, drawn after each eighth of the training (" +
                                std::to_string(kGridSteps) + " steps each).");
        folder_.number("training images", static_cast<double>(loop_.images()));
        folder_.finish(loop_.seconds());
        std::printf("%s after %lld steps, %.0f s: %s\n", finished ? "trained" : "stopped and saved",
                    static_cast<long long>(trainer_.steps()), loop_.seconds(),
                    folder_.dir().c_str());
    }

private:
    const TrainSettings& train() const { return settings_.train; }

    DiffusionSettings complete(DiffusionSettings settings) {
        if (common_.resume && fs::exists(files_.state())) {
            saved_ = look_at_state(files_.state());
            const bool all = !common_.preset_given;
            take(settings.train, *saved_, all);
            const auto latents = saved_->metadata.find("latents");
            if (all && latents != saved_->metadata.end()) {
                const std::vector<int> set = parted(latents->second);
                if (set.empty()) settings.pixels = true;
                if (settings.set == 0 && set.size() == 1) settings.set = set[0];
            }
        }
        take_preset(settings, common_.preset);
        return settings;
    }

    std::optional<LoadedAutoencoder> find_vae() const {
        if (settings_.pixels) return {};
        require(settings_.scale_by == 1 || !settings_.vae.empty(),
                "--scale-by: give the autoencoder's folder with --vae, and another --out");
        if (settings_.vae.empty()) return load_autoencoder(folder_.dir());
        const fs::path own = folder_.path(kAutoencoderPart),
                       other = autoencoder_folder(settings_.vae);
        std::error_code ignored;
        require(
            !fs::exists(own / kConfigFile) || fs::equivalent(own, other, ignored) || common_.resume,
            own.string(), ": holds an autoencoder already; give another --out for one of ",
            other.string());
        LoadedAutoencoder loaded = load_autoencoder(settings_.vae);
        loaded.model.scale.factor *= settings_.scale_by;
        return loaded;
    }
    /// What the autoencoder learned, unless another one is asked for.
    std::string dataset() const {
        if (!settings_.dataset.empty()) return settings_.dataset;
        require(!vae_ || vae_->model.data != "folder",
                "the autoencoder learned a folder of pictures: name it with --dataset folder:PATH");
        return vae_ && !vae_->model.data.empty() ? vae_->model.data : "scenes";
    }
    Shape latent_shape() const {
        return vae_->model.autoencoder.latent_shape(
            {1, pictures_.height, pictures_.width, pictures_.channels});
    }

    TrainOptions options() const {
        const std::int64_t steps = std::max<std::int64_t>(1, train().images / train().batch);
        TrainOptions options{
            .batch = train().batch,
            .lane = pictures_at_a_time(model_.height * model_.width, default_lane(train().batch)),
            .steps = steps,
            .learning_rate = train().learning_rate,
            .warmup = std::min<std::int64_t>(200, steps / 5),
            .muon = train().optimizer == "muon",
            .seed = common_.seed,
            .task = {{"base", std::to_string(train().base)},
                     {"multipliers", joined(train().multipliers)},
                     {"schedule", train().schedule},
                     {"prediction", train().prediction},
                     {"time_power", shortest(train().time_power)},
                     {"latents", vae_ ? std::to_string(set_size_) : "none"}}};
        options.task.insert(pictures_.identity.begin(), pictures_.identity.end());
        if (vae_) options.task.merge(told_of(vae_->model.scale));
        return options;
    }

    void tell() {
        const std::string what = vae_ ? "latents" : "pixels",
                          shape = std::to_string(model_.height) + "x" +
                                  std::to_string(model_.width) + "x" +
                                  std::to_string(model_.unet.config().in_channels);
        const std::map<std::string, nlohmann::json> told = {
            {"dataset", dataset()},
            {"diffusion of", what + " " + shape},
            {"preset", common_.preset},
            {"data", pictures_.source},
            {"device", device_.name},
            {"seed", common_.seed},
            {"base", train().base},
            {"batch", train().batch},
            {"multipliers", joined(train().multipliers)},
            {"learning rate", train().learning_rate}};
        for (const auto& [name, value] : told) folder_.setting(name, value);
        const std::string snr = shortest(snr_factor(settings_.scale_by));
        if (settings_.scale_by != 1) folder_.setting("signal-to-noise times", snr);  // (7.15)
        banner("Chapter 7: diffusion of " + what,
               {{"data", pictures_.source},
                {"device", device_.name},
                {"parameters", std::to_string(model_.parameters.count())},
                {what, shape},
                {"images", std::to_string(trainer_.options().steps * train().batch)},
                {"batch", std::to_string(train().batch)},
                {"predicts", train().prediction + ", " + train().schedule + " schedule"},
                {"seed", std::to_string(common_.seed)}});
    }

    /// The training set, encoded: the pictures of its first steps.
    void encode_set() {
        Shape shape = latent_shape();
        shape.n[0] = set_size_;
        set_ = {Array<float>(shape), Array<float>(shape)};
        Progress progress("encode", set_size_, "pictures");
        Arena arena;
        for (int first = 0; first < set_size_; first += train().batch) {
            require(!interrupted(),
                    "stopped while encoding the training set; the training is as it was");
            const int count = std::min(train().batch, set_size_ - first);
            arena.reset();
            const Tensor<float> x = pictures_.train(arena, first / train().batch, 0, count).x0;
            const LatentSet part =
                encode_posteriors(vae_->model, vae_->model.scale, vae_->values, x);
            std::ranges::copy(part.mean, set_.mean.tensor()[first].data());
            std::ranges::copy(part.deviation, set_.deviation.tensor()[first].data());
            progress.update(first + count);
        }
        progress.finish();
    }

    void save() {
        if (!vae_) return model_.save(folder_.dir(), trainer_.average());
        model_.save(
            folder_.dir(), trainer_.average(),
            {"LDMPipeline", {{kAutoencoderPart, kAutoencoderKL}}, told_of(vae_->model.scale)});
    }

    /// Draws with the averaged weights from noise that depends on the seed alone. Gives up when the
    /// program is asked to stop.
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
            run_sampler({.name = "ddim", .clip = vae_ ? 0.0 : 1.0}, denoiser,
                        model_.path(even_times(kT, kGridSteps)), x.tensor(), observer);
        } catch (const Stopped&) {
            return;
        }
        if (vae_) x = coder_of(vae_->model, vae_->model.scale, vae_->values).decode(x.tensor());
        write_png(files_.grid(part), image_grid(x.tensor(), kGrid, 2));
    }

    const CommonOptions& common_;
    const Device& device_;
    RunFolder& folder_;
    TrainingFolder files_;
    std::optional<SavedState> saved_;  ///< that it goes on from
    DiffusionSettings settings_;
    std::optional<LoadedAutoencoder> vae_;  ///< of latents
    Pictures pictures_;
    int set_size_;  ///< of the pictures that are encoded: no more than there are
    LatentSet set_;
    DenoisingModel model_;
    Trainer trainer_;
    TrainingLoop loop_;
};

}  // namespace

bool run_diffuse(const CommonOptions& common, const DiffusionSettings& settings,
                 const Device& device, RunFolder& folder) {
    DiffusionTraining training(common, settings, device, folder);
    const bool finished = training.run();
    training.report(finished);
    return finished;
}

void run_sample(const CommonOptions& common, const LatentDrawSettings& settings,
                const Device& device, RunFolder& folder) {
    require_file(settings.model, "07_latent_vae diffuse makes one");
    Drawer drawer(settings.model);
    const auto start = Clock::now();
    const DenoisingModel& model = drawer.loaded.model;
    Array<float> x = find_noise(settings.drawing.noise, model, settings.drawing.n, common.seed);
    const int n = x.shape()[0], T = model.schedule.steps();
    const std::string grid =
        settings.grid.empty() ? own_grid(settings.sampler.name, settings.steps, T) : settings.grid;
    const std::vector<Moment> path = model.path(step_grid(grid, model.schedule, settings.steps));
    Sampler sampler = settings.sampler;
    sampler.seed = common.seed;
    sampler.clip = drawer.vae ? 0 : drawer.loaded.clip;
    banner("Chapter 7: drawing", {{"model", settings.model.string()},
                                  {"device", device.name},
                                  {"draws", drawer.vae ? "latents" : "pixels"},
                                  {"pictures", std::to_string(n)},
                                  {"sampler", sampler.name},
                                  {"steps", std::to_string(settings.steps)}});
    const Denoiser<float> denoiser =
        device.denoiser(model.network(), model.prediction, drawer.loaded.values, {});
    Progress progress("draw", std::ssize(path) - 1, "steps");
    std::int64_t done = 0;
    const auto observer = [&](const Moment&, Tensor<const float>) {
        progress.update(++done);
        require(!interrupted(), "interrupted; nothing was written");
    };
    run_sampler(sampler, denoiser, path, x.tensor(), observer);
    progress.finish();
    const double drawn = seconds_since(start);
    const Array<float> pictures = drawer.decoded(std::move(x));
    const double decoded = seconds_since(start) - drawn;
    folder.keep_earlier();
    write_samples(folder, pictures.tensor(), settings.drawing.save_npy,
                  "drawn from noise in " + std::to_string(settings.steps) + " steps");
    folder.number("seconds a picture, drawing", drawn / n);
    if (drawer.vae) folder.number("seconds a picture, decoding", decoded / n);
    folder.setting("drawn by", settings.model.string());
    folder.finish(seconds_since(start));
    std::printf("drew %d pictures in %.1f s, decoded in %.1f s: %s\n", n, drawn, decoded,
                folder.path("samples.png").c_str());
}

}  // namespace diffusion
