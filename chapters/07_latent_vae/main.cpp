// Chapter 7's program: trains an autoencoder and a diffusion of its latents, draws with them, codes
// the reader's own pictures, and judges canvases.
#include "04_unet/train_options.hpp"
#include "07_latent_vae/canvases.hpp"
#include "07_latent_vae/diffusion_runs.hpp"
#include "07_latent_vae/judging.hpp"
#include "07_latent_vae/runs.hpp"

namespace diffusion {
namespace {

constexpr const char* kPictureKinds =
    "scenes (canvases with digits), emoji, words, free_words, mnist, fashion, cifar10, builtin or "
    "folder:PATH";

struct Options {
    CommonOptions common;
    VaeSettings vae;
    DiffusionSettings diffusion;
    LatentDrawSettings drawing;
    CodingSettings coding;
    JudgingSettings judging;
    CanvasSettings canvases;
    DeviceOptions where;
};

void add_train(CLI::App& app, VaeSettings& settings, DeviceOptions& where) {
    CLI::App* train = app.add_subcommand("train", "train an autoencoder");
    train->add_option("--dataset", settings.dataset, kPictureKinds)->capture_default_str();
    train
        ->add_option("--channels", settings.channels,
                     "of each level, the finest first: 16,32,64,64 (none: the preset's)")
        ->delimiter(',')
        ->transform(at_least(1));
    train->add_option("--latent-channels", settings.latent_channels, "(0: the preset's)")
        ->capture_default_str()
        ->transform(at_least(0));
    train
        ->add_option("--kl-weight", settings.weight,
                     "w of (7.10), beside a sum of squared errors (none: the preset's)")
        ->transform(at_least(0.0));
    train
        ->add_option("--absolute", settings.absolute,
                     "an experiment: what the mean absolute error (7.18) counts, too (none: 0)")
        ->transform(at_least(0.0));
    add_length_options(train, settings);
    add_learning_options(train, settings);
    add_device_options(*train, where);
}

void add_diffuse(CLI::App& app, DiffusionSettings& settings, DeviceOptions& where) {
    CLI::App* diffuse = app.add_subcommand(
        "diffuse", "train a diffusion of latents: of the autoencoder in --out, or of --vae");
    TrainSettings& train = settings.train;
    diffuse->add_flag("--pixels", settings.pixels, "diffusion of the pictures, not of latents");
    diffuse->add_option("--vae", settings.vae, "folder of an autoencoder (otherwise --out)");
    diffuse->add_option("--dataset", settings.dataset,
                        "as of train (none: what the autoencoder learned)");
    diffuse
        ->add_option("--scale-by", settings.scale_by,
                     "an experiment: latents as if the factor of --vae were so much larger (7.15)")
        ->capture_default_str()
        ->transform(above(0));
    diffuse->add_option("--set", settings.set, "pictures to encode (0: the preset's)")
        ->capture_default_str()
        ->transform(at_least(0));
    add_network_options(diffuse, train);
    add_length_options(diffuse, train);
    add_learning_options(diffuse, train);
    add_objective_options(diffuse, train);
    add_device_options(*diffuse, where);
}

void add_sample(CLI::App& app, LatentDrawSettings& settings, DeviceOptions& where) {
    CLI::App* sample = app.add_subcommand("sample", "draw with a diffusion of latents");
    sample->add_option("--model", settings.model, "folder of a diffusion (otherwise --out)");
    sample->add_option("--sampler", settings.sampler.name, "as of 06_ddim")
        ->capture_default_str()
        ->check(CLI::IsMember(sampler_names()));
    sample->add_option("--grid", settings.grid, "as of 06_ddim (none: the sampler's own)");
    sample->add_option("--steps", settings.steps, "from noise to picture")
        ->capture_default_str()
        ->transform(at_least(1));
    sample->add_option("--n", settings.drawing.n, "how many pictures")
        ->capture_default_str()
        ->transform(at_least(1));
    sample->add_option("--noise", settings.drawing.noise,
                       "start from this .npy file, float32 [N,h,w,c]");
    sample->add_flag("--save-npy", settings.drawing.save_npy, "write samples.npy too");
    add_device_options(*sample, where);
}

void add_coding(CLI::App& app, CodingSettings& settings) {
    const auto add = [&](const char* name, const char* what) {
        CLI::App* command = app.add_subcommand(name, what);
        command->add_option("--model", settings.model,
                            "folder with an AutoencoderKL or AutoencoderTiny, or a pipeline with "
                            "one (otherwise --out)");
        return command;
    };
    CLI::App *encode = add("encode", "pictures to latents"),
             *decode = add("decode", "latents to pictures"),
             *reconstruct = add("reconstruct", "pictures, and what latents keep of them");
    for (CLI::App* command : {encode, reconstruct})
        command->add_option("--image", settings.images, "PNG or JPEG files")->required();
    decode->add_option("--latents", settings.latents, "a .npy file, float32 [N,h,w,c]")->required();
}

void add_judge(CLI::App& app, JudgingSettings& settings) {
    CLI::App* judge = app.add_subcommand(
        "judge", "train the judge of canvases, and measure how often it is right");
    CLI::Option* vae = judge->add_option(
        "--vae", settings.vae,
        "folder of an autoencoder: how much can still be read of what it decodes");
    judge
        ->add_option("--samples", settings.samples,
                     "canvases that a model drew (.idx, .npy, or a folder of pictures): how far "
                     "they are from scenes")
        ->excludes(vae);
    judge->add_option("--n", settings.n, "canvases")
        ->capture_default_str()
        ->transform(between(50, 20'000));
}

void add_canvases(CLI::App& app, CanvasSettings& settings) {
    CLI::App* canvases =
        app.add_subcommand("canvases", "look at pictures that an autoencoder learns");
    canvases->add_option("--dataset", settings.dataset, kPictureKinds)->capture_default_str();
    canvases->add_option("--n", settings.n, "how many")
        ->capture_default_str()
        ->transform(between(1, 10'000));
}

void add_options(CLI::App& app, Options& options) {
    add_common_options(app, options.common, "07_latent_vae");
    add_train(app, options.vae, options.where);
    add_diffuse(app, options.diffusion, options.where);
    add_sample(app, options.drawing, options.where);
    add_coding(app, options.coding);
    add_judge(app, options.judging);
    add_canvases(app, options.canvases);
    app.require_subcommand(0, 1);
}

/// An autoencoder, a diffusion of its latents, and a few pictures.
void run_all(Options& options, const Device& device, RunFolder& folder) {
    const CommonOptions& common = options.common;
    if (!run_train(common, options.vae, device, folder)) return;
    if (!run_diffuse(common, options.diffusion, device, folder)) return;
    options.drawing.steps = common.preset == "smoke" ? 4 : 25;
    run_sample(common, options.drawing, device, folder);
}

/// Fills in what the command line leaves open, and does the job that it names.
void run(const CLI::App& app, Options options) {
    auto& [common, vae, diffusion, drawing, coding, judging, canvases, where] = options;
    pick_threads(common.threads);
    catch_interrupt();
    const std::string job =
        app.get_subcommands().empty() ? "" : app.get_subcommands().front()->get_name();
    if (!job.empty() && job != "train" && job != "diffuse") no_state_to_resume(common);
    if (coding.model.empty()) coding.model = common.out;
    if (drawing.model.empty()) drawing.model = common.out;
    const Device device = find_device(where);
    RunFolder folder(common.out, "07_latent_vae", "Pictures in few numbers");
    if (job == "train") {
        run_train(common, vae, device, folder);
    } else if (job == "diffuse") {
        run_diffuse(common, diffusion, device, folder);
    } else if (job == "sample") {
        run_sample(common, drawing, device, folder);
    } else if (job == "encode") {
        run_encode(common, coding, folder);
    } else if (job == "decode") {
        run_decode(common, coding, folder);
    } else if (job == "reconstruct") {
        run_reconstruct(common, coding, folder);
    } else if (job == "judge") {
        run_judge(common, judging, folder);
    } else if (job == "canvases") {
        run_canvases(common, canvases, folder);
    } else {
        run_all(options, device, folder);
    }
}

}  // namespace
}  // namespace diffusion

int main(int argc, char** argv) {
    using namespace diffusion;
    CLI::App app(
        "An autoencoder learns to describe pictures in few numbers, and diffusion draws "
        "descriptions.",
        "07_latent_vae");
    Options options;
    add_options(app, options);
    return run_app(app, argc, argv, [&] { run(app, options); });
}
