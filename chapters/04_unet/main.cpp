// Chapter 4's program: trains a UNet, draws with it, or (without a subcommand) both.
#include "04_unet/runs.hpp"
#include "app/app.hpp"

int main(int argc, char** argv) {
    using namespace diffusion;
    CLI::App app("A UNet learns to remove noise, and then draws.", "04_unet");
    CommonOptions common;
    add_common_options(app, common, "04_unet");
    TrainSettings train;
    SampleSettings sample;
    std::string device_name = "cpu", precision = "tf32";

    CLI::App* train_command = app.add_subcommand(
        "train", "train and write model.safetensors, train.csv and sample grids");
    train_command
        ->add_option("--dataset", train.dataset, "mnist, fashion, cifar10, builtin or folder:PATH")
        ->capture_default_str();
    train_command->add_option("--base", train.base, "channels of the first level (0: the preset's)")
        ->capture_default_str()
        ->check(CLI::NonNegativeNumber);
    train_command
        ->add_option("--multipliers", train.multipliers,
                     "channels of each level, in units of base: 1,2,2 (none: the preset's)")
        ->delimiter(',')
        ->check(CLI::PositiveNumber);
    train_command->add_option("--images", train.images, "training images (0: the preset's)")
        ->capture_default_str()
        ->check(CLI::NonNegativeNumber);
    train_command->add_option("--batch", train.batch, "images per step (0: the preset's)")
        ->capture_default_str()
        ->check(CLI::NonNegativeNumber);
    train_command
        ->add_option("--optimizer", train.optimizer, "muon (for the weight matrices), or adam")
        ->capture_default_str()
        ->check(CLI::IsMember({"muon", "adam"}));
    train_command->add_option("--learning-rate", train.learning_rate, "at its highest")
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    train_command->add_option("--save-every", train.save_every, "steps between checkpoints")
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    train_command->add_option("--schedule", train.schedule, "how fast noise comes in")
        ->capture_default_str()
        ->check(CLI::IsMember({"linear", "scaled_linear", "cosine", "sigmoid"}));
    train_command->add_option("--prediction", train.prediction, "what the network is asked for")
        ->capture_default_str()
        ->check(CLI::IsMember({"eps", "x0", "v"}));
    train_command
        ->add_option("--time-power", train.time_power,
                     "1: all times equally often; less: more late")
        ->capture_default_str()
        ->check(CLI::Range(0.1, 10.0));

    const auto add_device = [&](CLI::App* command) {
        command->add_option("--device", device_name, "where the network runs: cpu or cuda")
            ->capture_default_str()
            ->check(CLI::IsMember({"cpu", "cuda"}));
        command
            ->add_option("--precision", precision,
                         "of products on a GPU: fp32, or on tensor cores tf32 or bf16")
            ->capture_default_str()
            ->check(CLI::IsMember({"fp32", "tf32", "bf16"}));
    };
    add_device(train_command);

    CLI::App* sample_command = app.add_subcommand("sample", "draw pictures with a trained model");
    sample_command->add_option("--model", sample.model, "model.safetensors")->required();
    sample_command
        ->add_option("--n", sample.drawing.n,
                     "how many pictures (with --noise: as many as it holds)")
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    sample_command->add_option("--steps", sample.steps, "steps from noise to picture")
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    sample_command->add_option("--noise", sample.drawing.noise,
                               "start from this .npy file, float32 [N,H,W,C]");
    add_device(sample_command);
    sample_command->add_flag("--save-npy", sample.drawing.save_npy, "write samples.npy too");
    app.require_subcommand(0, 1);

    return run_app(app, argc, argv, [&] {
        pick_threads(common.threads);
        catch_interrupt();
        const Device device = find_device(device_name, precision);
        RunFolder folder(common.out, "04_unet", "A UNet learns to draw");
        if (*sample_command) {
            no_state_to_resume(common);
            run_sample(common, sample, device, folder);
        } else if (run_train(common, train, device, folder) && !*train_command) {
            sample.model = common.out / "model.safetensors";
            sample.steps =
                common.preset == "smoke" ? 10 : 250;  // a quarter of the chain, to save time
            run_sample(common, sample, device, folder);
        }
    });
}
