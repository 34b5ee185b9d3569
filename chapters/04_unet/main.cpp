// Chapter 4's program: trains a UNet, draws with it, or (without a subcommand) both.
#include "04_unet/runs.hpp"
#include "04_unet/train_options.hpp"

namespace diffusion {
namespace {

/// What is learned, and by how large a network.
void add_size_options(CLI::App* command, TrainSettings& settings) {
    command
        ->add_option("--dataset", settings.dataset,
                     "mnist, fashion, cifar10, builtin or folder:PATH")
        ->capture_default_str();
    command->add_option(
        "--from", settings.from,
        "begin with the weights of this model, and with its network, schedule and "
        "prediction: trains it further, or on other data (a network of this program's own "
        "kind; with --resume it may be left out)");
    add_network_options(command, settings);
    add_length_options(command, settings);
}

void add_drawing_options(CLI::App* command, SampleSettings& settings) {
    command->add_option(
        "--model", settings.model,
        "folder of a model: --out of a training, or one of diffusers (otherwise --out)");
    command
        ->add_option("--n", settings.drawing.n,
                     "how many pictures (with --noise: as many as it holds)")
        ->capture_default_str()
        ->transform(at_least(1));
    command->add_option("--steps", settings.steps, "steps from noise to picture")
        ->capture_default_str()
        ->transform(at_least(1));
    command->add_option("--noise", settings.drawing.noise,
                        "start from this .npy file, float32 [N,H,W,C]");
}

/// Draws with the model that was trained just now, in a quarter of the chain to save time.
void draw_with_trained(const CommonOptions& common, SampleSettings settings, const Device& device,
                       RunFolder& folder) {
    settings.model = common.out;
    settings.steps = common.preset == "smoke" ? 10 : 250;
    run_sample(common, settings, device, folder);
}

}  // namespace
}  // namespace diffusion

int main(int argc, char** argv) {
    using namespace diffusion;
    CLI::App app("A UNet learns to remove noise, and then draws.", "04_unet");
    CommonOptions common;
    TrainSettings train;
    SampleSettings sample;
    DeviceOptions where;
    add_common_options(app, common, "04_unet");
    CLI::App* train_command =
        app.add_subcommand("train",
                           "train and write the model, train.csv and sample grids; with "
                           "--resume only --learning-rate, --save-every, --threads and --device "
                           "may be other ones than before");
    add_size_options(train_command, train);
    add_learning_options(train_command, train);
    add_objective_options(train_command, train);
    add_device_options(*train_command, where);
    CLI::App* sample_command = app.add_subcommand("sample", "draw pictures with a trained model");
    add_drawing_options(sample_command, sample);
    add_device_options(*sample_command, where);
    sample_command->add_flag("--save-npy", sample.drawing.save_npy, "write samples.npy too");
    app.require_subcommand(0, 1);

    return run_app(app, argc, argv, [&] {
        pick_threads(common.threads);
        catch_interrupt();
        const Device device = find_device(where);
        RunFolder folder(common.out, "04_unet", "A UNet learns to draw");
        if (*sample_command) {
            no_state_to_resume(common);
            if (sample.model.empty()) sample.model = common.out;
            run_sample(common, sample, device, folder);
        } else if (run_train(common, train, device, folder) && !*train_command) {
            draw_with_trained(common, sample, device, folder);
        }
    });
}
