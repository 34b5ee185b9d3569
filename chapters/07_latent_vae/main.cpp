// Chapter 7's program: trains an autoencoder, and uses one on the reader's own pictures.
#include "07_latent_vae/judging.hpp"
#include "07_latent_vae/runs.hpp"
#include "app/ranges.hpp"

namespace diffusion {
namespace {

void add_train_options(CLI::App* command, VaeSettings& settings) {
    command
        ->add_option("--dataset", settings.dataset,
                     "scenes (canvases with digits), words, free_words, mnist, fashion, cifar10, "
                     "builtin or folder:PATH")
        ->capture_default_str();
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
    command->add_option("--images", settings.images, "training images (0: the preset's)")
        ->capture_default_str()
        ->transform(between(std::int64_t{0}, kMostSteps));
    command->add_option("--batch", settings.batch, "images per step (0: the preset's)")
        ->capture_default_str()
        ->transform(at_least(0));
    command
        ->add_option("--optimizer", settings.optimizer, "muon (for the weight matrices), or adam")
        ->capture_default_str()
        ->check(CLI::IsMember({"muon", "adam"}));
    command
        ->add_option("--learning-rate", settings.learning_rate,
                     "at its highest; with --resume another one counts from there on")
        ->transform(above(0));
    command->add_option("--save-every", settings.save_every, "steps between checkpoints")
        ->capture_default_str()
        ->transform(at_least(1));
}

void add_model_option(CLI::App* command, CodingSettings& settings) {
    command->add_option("--model", settings.model,
                        "folder with an AutoencoderKL or AutoencoderTiny, or a pipeline with one "
                        "(otherwise --out)");
}

void add_image_option(CLI::App* command, CodingSettings& settings) {
    command->add_option("--image", settings.images, "PNG or JPEG files")->required();
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
    CodingSettings coding;
    DeviceOptions where;
    add_common_options(app, common, "07_latent_vae");
    CLI::App* train = app.add_subcommand("train", "train an autoencoder");
    add_train_options(train, vae);
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
    app.require_subcommand(0, 1);

    return run_app(app, argc, argv, [&] {
        pick_threads(common.threads);
        catch_interrupt();
        const Device device = find_device(where);
        RunFolder folder(common.out, "07_latent_vae", "Pictures in few numbers");
        if (coding.model.empty()) coding.model = common.out;
        if (*encode || *decode || *reconstruct || *judge) no_state_to_resume(common);
        if (*encode) {
            run_encode(common, coding, folder);
        } else if (*decode) {
            run_decode(common, coding, folder);
        } else if (*reconstruct) {
            run_reconstruct(common, coding, folder);
        } else if (*judge) {
            run_judge(common, folder);
        } else {
            run_train(common, vae, device, folder);
        }
    });
}
