// Chapter 7's program: trains an autoencoder, and uses one on the reader's own pictures.
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

void add_train_options(CLI::App* command, VaeSettings& settings) {
    command->add_option("--dataset", settings.dataset, kPictureKinds)->capture_default_str();
    command
        ->add_option("--channels", settings.channels,
                     "of each level, the finest first: 16,32,64,64 (none: the preset's)")
        ->delimiter(',')
        ->transform(at_least(1));
    command->add_option("--latent-channels", settings.latent_channels, "(0: the preset's)")
        ->capture_default_str()
        ->transform(at_least(0));
    command
        ->add_option("--kl-weight", settings.weight,
                     "w of (7.10), beside a sum of squared errors (none: the preset's)")
        ->transform(at_least(0.0));
    add_length_options(command, settings);
    add_learning_options(command, settings);
}

void add_diffuse_options(CLI::App* command, DiffusionSettings& settings) {
    TrainSettings& train = settings.train;
    command->add_flag("--pixels", settings.pixels, "diffusion of the pictures, not of latents");
    command->add_option("--vae", settings.vae, "folder of an autoencoder (otherwise --out)");
    command->add_option("--dataset", settings.dataset,
                        "as of train (none: what the autoencoder learned)");
    command
        ->add_option("--scale-by", settings.scale_by,
                     "an experiment: latents as if the factor of --vae were so much larger (7.15)")
        ->capture_default_str()
        ->transform(above(0));
    command->add_option("--set", settings.set, "pictures to encode (0: the preset's)")
        ->capture_default_str()
        ->transform(at_least(0));
    add_network_options(command, train);
    add_length_options(command, train);
    add_learning_options(command, train);
    add_objective_options(command, train);
}

void add_sample_options(CLI::App* command, LatentDrawSettings& settings) {
    command->add_option("--model", settings.model, "folder of a diffusion (otherwise --out)");
    command->add_option("--sampler", settings.sampler.name, "as of 06_ddim")
        ->capture_default_str()
        ->check(CLI::IsMember(sampler_names()));
    command->add_option("--grid", settings.grid, "as of 06_ddim (none: the sampler's own)");
    command->add_option("--steps", settings.steps, "from noise to picture")
        ->capture_default_str()
        ->transform(at_least(1));
    command->add_option("--n", settings.drawing.n, "how many pictures")
        ->capture_default_str()
        ->transform(at_least(1));
    command->add_option("--noise", settings.drawing.noise,
                        "start from this .npy file, float32 [N,h,w,c]");
    command->add_flag("--save-npy", settings.drawing.save_npy, "write samples.npy too");
}

void add_model_option(CLI::App* command, CodingSettings& settings) {
    command->add_option("--model", settings.model,
                        "folder with an AutoencoderKL or AutoencoderTiny, or a pipeline with one "
                        "(otherwise --out)");
}

void add_image_option(CLI::App* command, CodingSettings& settings) {
    command->add_option("--image", settings.images, "PNG or JPEG files")->required();
}

void add_judge_options(CLI::App* command, JudgingSettings& settings) {
    CLI::Option* vae = command->add_option(
        "--vae", settings.vae,
        "folder of an autoencoder: how much can still be read of what it decodes");
    command
        ->add_option("--samples", settings.samples,
                     "canvases that a model drew (.idx, .npy, or a folder of pictures): how far "
                     "they are from scenes")
        ->excludes(vae);
    command->add_option("--n", settings.n, "canvases")
        ->capture_default_str()
        ->transform(between(50, 20'000));
}

void add_canvas_options(CLI::App* command, CanvasSettings& settings) {
    command->add_option("--dataset", settings.dataset, kPictureKinds)->capture_default_str();
    command->add_option("--n", settings.n, "how many")
        ->capture_default_str()
        ->transform(between(1, 10'000));
}

}  // namespace
}  // namespace diffusion

int main(int argc, char** argv) {
    using namespace diffusion;
    CLI::App app(
        "An autoencoder learns to describe pictures in few numbers, and diffusion draws "
        "descriptions.",
        "07_latent_vae");
    CommonOptions common;
    VaeSettings vae;
    DiffusionSettings diffusion;
    LatentDrawSettings drawing;
    CodingSettings coding;
    DeviceOptions where;
    add_common_options(app, common, "07_latent_vae");
    CLI::App* train = app.add_subcommand("train", "train an autoencoder");
    add_train_options(train, vae);
    add_device_options(*train, where);
    CLI::App* diffuse = app.add_subcommand(
        "diffuse", "train a diffusion of latents: of the autoencoder in --out, or of --vae");
    add_diffuse_options(diffuse, diffusion);
    add_device_options(*diffuse, where);
    CLI::App* sample = app.add_subcommand("sample", "draw with a diffusion of latents");
    add_sample_options(sample, drawing);
    add_device_options(*sample, where);
    CLI::App* encode = app.add_subcommand("encode", "pictures to latents");
    add_model_option(encode, coding);
    add_image_option(encode, coding);
    CLI::App* decode = app.add_subcommand("decode", "latents to pictures");
    add_model_option(decode, coding);
    decode->add_option("--latents", coding.latents, "a .npy file, float32 [N,h,w,c]")->required();
    CLI::App* reconstruct =
        app.add_subcommand("reconstruct", "pictures, and what latents keep of them");
    add_model_option(reconstruct, coding);
    add_image_option(reconstruct, coding);
    CLI::App* judge = app.add_subcommand(
        "judge", "train the judge of canvases, and measure how often it is right");
    JudgingSettings judging;
    add_judge_options(judge, judging);
    CanvasSettings canvases;
    CLI::App* show = app.add_subcommand("canvases", "look at pictures that an autoencoder learns");
    add_canvas_options(show, canvases);
    app.require_subcommand(0, 1);

    return run_app(app, argc, argv, [&] {
        pick_threads(common.threads);
        catch_interrupt();
        const Device device = find_device(where);
        RunFolder folder(common.out, "07_latent_vae", "Pictures in few numbers");
        if (coding.model.empty()) coding.model = common.out;
        if (*encode || *decode || *reconstruct || *judge || *sample || *show)
            no_state_to_resume(common);
        if (drawing.model.empty()) drawing.model = common.out;
        if (*diffuse) {
            run_diffuse(common, diffusion, device, folder);
        } else if (*sample) {
            run_sample(common, drawing, device, folder);
        } else if (*encode) {
            run_encode(common, coding, folder);
        } else if (*decode) {
            run_decode(common, coding, folder);
        } else if (*reconstruct) {
            run_reconstruct(common, coding, folder);
        } else if (*judge) {
            run_judge(common, judging, folder);
        } else if (*show) {
            run_canvases(common, canvases, folder);
        } else if (run_train(common, vae, device, folder) && !*train &&
                   run_diffuse(common, diffusion, device, folder)) {
            drawing.steps = common.preset == "smoke" ? 4 : 25;
            run_sample(common, drawing, device, folder);
        }
    });
}
