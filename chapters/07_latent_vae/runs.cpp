#include "07_latent_vae/runs.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <numeric>
#include <optional>

#include "02_gradients/ops.hpp"
#include "04_unet/training_loop.hpp"
#include "07_latent_vae/coding.hpp"
#include "07_latent_vae/latent_set.hpp"
#include "07_latent_vae/pieces.hpp"
#include "07_latent_vae/preview.hpp"
#include "07_latent_vae/vae_loss.hpp"
#include "io/csv.hpp"
#include "io/files.hpp"
#include "io/image.hpp"
#include "kernels/threads.hpp"

namespace diffusion {
namespace {

namespace fs = std::filesystem;

constexpr int kShown = 10;           ///< pictures of a row
constexpr int kMostJudged = 500;     ///< that training does not see, for the figures
constexpr int kMostMeasured = 1000;  ///< of the training set, for the scale
constexpr double kGivenUp = 0.01;    ///< nats; what a number of a latent costs that says nothing

bool holds_autoencoder(const fs::path& folder) {
    return fs::exists(folder / kAutoencoderPart / kConfigFile);
}

/// A training from its settings to its files.
class VaeTraining {
public:
    VaeTraining(const CommonOptions& common, const VaeSettings& settings, const Device& device,
                RunFolder& folder)
        : common_(common),
          device_(device),
          folder_(folder),
          files_(folder.dir(), everything()),
          settings_(complete(settings)),
          pictures_(find_pictures(settings_.dataset, common.data, settings_.batch, common.seed)),
          model_(autoencoder_of(settings_, pictures_), pictures_.height, pictures_.width,
                 pictures_.name),
          trainer_(model_.parameters, options_of(settings_, pictures_, common.seed)),
          loop_(common, files_, trainer_,
                {.command = "07_latent_vae train",
                 .save_every = settings_.save_every,
                 .save_model = [this] { save(); },
                 .draw = [this](std::int64_t part) { draw(part); }}) {
        require(settings_.absolute == 0 || !device.is_gpu,
                "--absolute: this term is trained on the CPU only");
        if (saved_) {
            loop_.resume(*saved_);
        } else {
            loop_.begin();
        }
        tell();
    }

    /// Returns whether it came to its end.
    bool run() {
        return loop_.run(*device_.training(
            trainer_, {autoencoder_task(model_.autoencoder, pictures_.train, settings_.weight,
                                        common_.seed, settings_.absolute),
                       autoencoder_on_gpu(model_.autoencoder, pictures_.train, settings_.weight,
                                          settings_.batch, common_.seed)}));
    }

    void report(bool finished) {
        if (finished) {
            show_progress();
            const Array<float> originals = pictures_.held_out(0, judged());
            measure(originals.tensor());
            show_latents();
            show_prior();
            show_walks();
        }
        folder_.number("training images", static_cast<double>(loop_.images()));
        folder_.finish(loop_.seconds());
        std::printf("%s after %lld steps, %.0f s: %s\n", finished ? "trained" : "stopped and saved",
                    static_cast<long long>(trainer_.steps()), loop_.seconds(),
                    files_.place().c_str());
    }

private:
    /// What a run leaves: an autoencoder, and the diffusion that belongs to it.
    static TrainingFiles everything() {
        TrainingFiles files = {
            {"unet", "scheduler", "model_index.json", "state.safetensors", "train.csv"},
            {"reconstructions.png", "latents.png", "prior.png", "walks.png", "latents.csv",
             "progress.png", "samples.png", "samples.idx", "samples.npy", "run.json"},
            holds_autoencoder,
            kAutoencoderPart};
        for (int part = 1; part <= kDrawings; ++part)  // the diffusion's
            files.others.push_back("progress_" + std::to_string(part) + ".png");
        return files;
    }

    /// The settings with what they leave open; on the way to them saved_ is found.
    VaeSettings complete(VaeSettings settings) {
        if (common_.resume && fs::exists(files_.state())) {
            saved_ = look_at_state(files_.state());
            take(settings, *saved_, !common_.preset_given);
        }
        take(settings, common_.preset);
        return settings;
    }

    /// The banner, and the settings in run.json.
    void tell() {
        const Shape latent = model_.autoencoder.latent_shape(
            {1, pictures_.height, pictures_.width, pictures_.channels});
        const std::string shape = std::to_string(latent[1]) + "x" + std::to_string(latent[2]) +
                                  "x" + std::to_string(latent[3]);
        const std::map<std::string, nlohmann::json> told = {
            {"dataset", settings_.dataset},
            {"preset", common_.preset},
            {"data", pictures_.source},
            {"device", device_.name},
            {"seed", common_.seed},
            {"channels", joined(settings_.channels)},
            {"latent", shape},
            {"kl weight", settings_.weight},
            {"absolute", settings_.absolute},
            {"batch", settings_.batch},
            {"optimizer", settings_.optimizer},
            {"learning rate", settings_.learning_rate}};
        for (const auto& [name, value] : told) folder_.setting(name, value);
        if (!trainer_.earlier_rates().empty())
            folder_.setting("earlier learning rates", trainer_.earlier_rates());
        banner("Chapter 7: an autoencoder learns to describe pictures",
               {{"data", pictures_.source},
                {"device", device_.name},
                {"parameters", std::to_string(model_.parameters.count())},
                {"latents", shape},
                {"KL weight", shortest(settings_.weight)},
                {"images", std::to_string(trainer_.options().steps * settings_.batch)},
                {"batch", std::to_string(settings_.batch)},
                {"seed", std::to_string(common_.seed)}});
    }

    /// How many pictures the figures and the scale are of: no more than it has learned from.
    int judged() const { return at_most(kMostJudged); }
    int measured() const { return at_most(kMostMeasured); }
    int at_most(int most) const {
        return static_cast<int>(
            std::min<std::int64_t>(most, trainer_.options().steps * settings_.batch));
    }

    Coder coder() { return coder_of(model_, model_.scale, trainer_.average()); }

    /// The model, with its scale as it is now.
    void save() {
        const Array<float> x = pictures_.learned(0, measured());
        const LatentSet set = encode_posteriors(model_, kUnscaled, trainer_.average(), x.tensor());
        Array<float> z(set.mean.shape());  // what diffusion sees are draws
        for (int n = 0; n < x.shape()[0]; ++n)
            draw_latent(set, n,
                        Random(common_.seed, Purpose::other, 0, static_cast<std::uint32_t>(n)),
                        z.tensor()[n]);
        model_.scale = measure_scale(z.tensor(), false);
        model_.save(files_.place(), trainer_.average());
    }

    /// A row of reconstructions.
    void draw(std::int64_t part) {
        if (interrupted()) return;
        const Array<float> x = pictures_.held_out(0, kShown);
        const Coder now =
            coder_of(model_, kUnscaled, trainer_.average());  // as there is no scale yet
        const Array<float> y = now.decode(now.encode(x.tensor()).tensor());
        write_png(files_.grid(part), image_grid(y.tensor(), kShown, 2));
    }

    void show_progress() {
        const Array<float> x = pictures_.held_out(0, kShown);
        std::vector<Image> rows{image_grid(x.tensor(), kShown, 2)};
        for (int part = 1; part <= kDrawings; ++part) {
            if (fs::exists(files_.grid(part))) rows.push_back(read_image(files_.grid(part)));
        }
        write_png(folder_.path("reconstructions.png"), stack_rows(rows));
        folder_.picture("reconstructions.png",
                        "Above " + pictures_.others +
                            ", below what is left of them after each eighth of the training.");
    }

    /// What is lost, what it costs, and how latents are distributed.
    void measure(Tensor<const float> originals) {
        const Coder now = coder();
        const Array<float> z = now.encode(originals);
        const Array<float> y = now.decode(z.tensor());
        const double psnr = mean_psnr(originals, y.tensor());
        folder_.number("PSNR", psnr, "dB, " + std::to_string(judged()) + " " + pictures_.others);
        if (pictures_.unseen) {
            const Array<float> unseen = pictures_.unseen(0, judged()),
                               back = now.decode(now.encode(unseen.tensor()).tensor());
            folder_.number("PSNR of unseen emoji", mean_psnr(unseen.tensor(), back.tensor()), "dB");
        }
        folder_.number("scaling factor", model_.scale.factor,
                       "1 / root mean square of the latents");
        const Array<double> price = prices(originals);
        const double kl = std::accumulate(price.begin(), price.end(), 0.0);
        const auto given_up = std::ranges::count_if(price, [](double k) { return k < kGivenUp; });
        folder_.number("KL", kl, "nats a picture");
        folder_.number("given up", static_cast<double>(given_up),
                       "of " + std::to_string(price.size()) + " numbers of a latent, with a KL " +
                           "below " + shortest(kGivenUp));
        std::printf(
            "PSNR %.2f dB, KL %.0f nats a picture, %td of %zu numbers given up, scaling factor "
            "%.4f\n",
            psnr, kl, given_up, price.size(), model_.scale.factor);
        CsvWriter table(folder_.path("latents.csv"), {"channel", "mean", "deviation", "kl"});
        const Tensor<const float> rows = z.tensor().rows();
        for (int c = 0; c < rows.size(1); ++c) {
            double sum = 0, square = 0, nats = 0;
            for (int p = 0; p < rows.size(0); ++p) {
                const double v = static_cast<double>(rows(p, c));
                sum += v;
                square += v * v;
            }
            for (std::size_t i = static_cast<std::size_t>(c); i < price.size();
                 i += static_cast<std::size_t>(rows.size(1)))
                nats += price.data()[i];
            const double mean = sum / rows.size(0);
            table.row({static_cast<double>(c), mean,
                       std::sqrt(std::max(0.0, square / rows.size(0) - mean * mean)), nats});
        }
    }

    /// (7.8) for each number of a latent by itself, the mean over the pictures.
    Array<double> prices(Tensor<const float> originals) {
        const int pictures = originals.size(0);
        const auto numbers =
            static_cast<int>(model_.autoencoder.latent_shape(originals.shape()).numel() / pictures);
        Array<float> each({pictures, numbers});
        in_pieces(trainer_.average(), originals, pixels_of(originals.shape()),
                  [&](int first, Var<float> x) {
                      const Posterior<float> q = model_.autoencoder.encode(x);
                      const Shape apart{x.size(0) * numbers, 1, 1, 1};
                      const Tensor<float> kl =
                          latent_kl<float>({reshape(q.mean, apart), reshape(q.log_variance, apart)})
                              .value();
                      std::ranges::copy(kl, each.tensor()[first].data());
                  });
        Array<double> price(numbers);
        for (int n = 0; n < pictures; ++n)
            for (int i = 0; i < numbers; ++i)
                price.data()[i] += static_cast<double>(each.tensor()(n, i)) / pictures;
        return price;
    }

    /// Pictures, the channels of their latents as grey pictures, a preview, and reconstructions.
    void show_latents() {
        const Coder now = coder();
        const Array<float> learned = pictures_.learned(0, measured());
        const Preview preview =
            fit_preview(now.encode(learned.tensor()).tensor(), learned.tensor());
        const Array<float> x = pictures_.held_out(0, kShown), z = now.encode(x.tensor()),
                           y = now.decode(z.tensor());
        const int zoom = 2 * now.factor, channels = now.latent_channels;
        std::vector<Image> rows{image_grid(x.tensor(), kShown, 2)};
        for (int c = 0; c < std::min(channels, 4); ++c) {
            Array<float> grey({kShown, z.shape()[1], z.shape()[2], x.shape()[3]});
            const Tensor<const float> from = z.tensor().rows();
            const Tensor<float> to = grey.tensor().rows();
            for (int p = 0; p < from.size(0); ++p)
                for (int k = 0; k < to.size(1); ++k) to(p, k) = from(p, c) / 3;  // 3 deviations
            rows.push_back(image_grid(grey.tensor(), kShown, zoom));
        }
        rows.push_back(image_grid(preview(z.tensor()).tensor(), kShown, zoom));
        rows.push_back(image_grid(y.tensor(), kShown, 2));
        write_png(folder_.path("latents.png"), stack_rows(rows));
        folder_.picture("latents.png",
                        "Pictures; channels of their latents, black to white from -3 to 3 "
                        "deviations; a linear map from latents to colours; reconstructions.");
    }

    /// Pictures decoded from the prior, which is where a VAE alone would draw from.
    void show_prior() {
        const Coder now = coder();
        Array<float> z(model_.autoencoder.latent_shape(
            {kShown, pictures_.height, pictures_.width, pictures_.channels}));
        for (int n = 0; n < kShown; ++n)
            fill_normal(z.tensor()[n], Random(common_.seed, Purpose::start_noise, 0,
                                              static_cast<std::uint32_t>(n)));
        model_.scale.apply(z.tensor());  // the prior is that of latents before they are scaled
        write_png(folder_.path("prior.png"),
                  image_grid(now.decode(z.tensor()).tensor(), kShown, 2));
        folder_.picture("prior.png", "Latents drawn from the prior, decoded.");
    }

    /// From one picture to another, through latents and by cross-fading.
    void show_walks() {
        constexpr int kWalks = 3;
        const Coder now = coder();
        std::vector<Image> rows;
        for (int walk = 0; walk < kWalks; ++walk) {
            const Array<float> ends = pictures_.held_out(2 * walk, 2),
                               latents = now.encode(ends.tensor());
            const auto between = [](const Array<float>& both) {
                const Tensor<const float> a = both.tensor()[0], b = both.tensor()[1];
                Shape shape = both.shape();
                shape.n[0] = kShown;
                Array<float> x(shape);
                for (int k = 0; k < kShown; ++k) {
                    const float part = static_cast<float>(k) / (kShown - 1);
                    for (std::ptrdiff_t i = 0; i < a.numel(); ++i)
                        x.tensor()[k].data()[i] = a.data()[i] + part * (b.data()[i] - a.data()[i]);
                }
                return x;
            };
            const Array<float> path = now.decode(between(latents).tensor()), faded = between(ends);
            rows.push_back(image_grid(path.tensor(), kShown, 2));
            rows.push_back(image_grid(faded.tensor(), kShown, 2));
        }
        write_png(folder_.path("walks.png"), stack_rows(rows));
        folder_.picture("walks.png",
                        "From one picture to another: through latents, decoded, and below it by "
                        "cross-fading the pixels.");
    }

    const CommonOptions& common_;
    const Device& device_;
    RunFolder& folder_;
    TrainingFolder files_;
    std::optional<SavedState> saved_;  ///< that it goes on from
    VaeSettings settings_;
    Pictures pictures_;
    AutoencoderModel model_;
    Trainer trainer_;
    TrainingLoop loop_;
};

}  // namespace

bool run_train(const CommonOptions& common, const VaeSettings& settings, const Device& device,
               RunFolder& folder) {
    if (common.resume) folder.keep_earlier();
    VaeTraining training(common, settings, device, folder);
    const bool finished = training.run();
    training.report(finished);
    return finished;
}

}  // namespace diffusion
