// Chapter 6's program: samplers that need few steps, and what to do with pictures of your own.
#include "06_ddim/experiment.hpp"
#include "06_ddim/grids.hpp"
#include "06_ddim/runs.hpp"
#include "app/app.hpp"
#include "tensor/check.hpp"

int main(int argc, char** argv) {
    using namespace diffusion;
    CLI::App app(
        "Fast samplers for a trained model. Without a subcommand: orders of convergence, quality "
        "against steps, and a strip of each of the below.",
        "06_ddim");
    CommonOptions common;
    DrawSettings draw;
    DrawingSettings more;
    std::string device_name = "cpu", precision = "tf32";
    PictureSettings given;
    app.add_option("--model", draw.model,
                   "model.safetensors (otherwise 04_unet/model.safetensors beside --out)");
    app.add_option("--steps", draw.steps,
                   "steps from noise to picture (0: 50; for the experiment's strips 100)")
        ->capture_default_str()
        ->check(CLI::NonNegativeNumber);
    app.add_option("--grid", draw.grid,
                   "which times are visited (none: for sample the sampler's own, for pictures of "
                   "yours trailing; in the experiment: by its strips)")
        ->check(CLI::IsMember(grid_names()));

    app.add_option("--device", device_name, "where the network runs: cpu or cuda")
        ->capture_default_str()
        ->check(CLI::IsMember({"cpu", "cuda"}));
    app.add_option("--precision", precision,
                   "of products on a GPU: fp32, or on tensor cores tf32 or bf16")
        ->capture_default_str()
        ->check(CLI::IsMember({"fp32", "tf32", "bf16"}));

    const auto add_sampler = [&](CLI::App* command) {
        command
            ->add_option("--sampler", draw.sampler.name,
                         "how a step is made (k-diffusion's Euler is ddim)")
            ->capture_default_str()
            ->check(CLI::IsMember(sampler_names()));
        command
            ->add_option("--eta", draw.sampler.eta,
                         "fresh noise of ddim: 0 for none, 1 for as much as ddpm")
            ->capture_default_str()
            ->check(CLI::Range(0.0, 1.0));
        command
            ->add_option("--clip", draw.sampler.clip,
                         "keep guesses of the picture in [-clip, clip]; 0: do not clip")
            ->capture_default_str()
            ->check(CLI::NonNegativeNumber);
    };
    const auto add_image = [&](CLI::App* command) {
        command->add_option(
            "--image", given.image,
            "a PNG or JPEG, best square with a margin; stretched to fit (none: a test picture)");
        command->add_flag("--negative", given.negative, "it is black on white");
    };
    const auto add_n = [&](CLI::App* command, int least) {
        command->add_option("--n", given.n, "how many results")
            ->capture_default_str()
            ->check(CLI::Range(least, 10'000));
    };
    const auto add_rounds = [&](CLI::App* command) {
        command->add_option("--rounds", given.rounds, "of substitution in each step backwards")
            ->capture_default_str()
            ->check(CLI::PositiveNumber);
    };

    CLI::App* sample = app.add_subcommand("sample", "draw pictures");
    add_sampler(sample);
    sample->add_option("--n", more.n, "how many pictures (with --noise: as many as it holds)")
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    sample->add_option("--noise", more.noise, "start from this .npy file, float32 [N,H,W,C]");
    sample->add_flag("--save-npy", more.save_npy, "write samples.npy too");
    CLI::App* invert = app.add_subcommand("invert", "a picture, its noise, and back");
    add_image(invert);
    add_rounds(invert);
    CLI::App* interpolate =
        app.add_subcommand("interpolate", "a strip between two pictures, or two noises");
    add_image(interpolate);
    interpolate->add_option("--second", given.second, "the picture at the other end");
    add_n(interpolate, 2);
    add_rounds(interpolate);
    CLI::App* inpaint = app.add_subcommand("inpaint", "draw what is missing of a picture");
    add_image(inpaint);
    inpaint->add_option("--mask", given.mask,
                        "a picture, white where --image is kept (none: its upper half)");
    inpaint->add_option("--repeats", given.repeats, "how often each step is walked")
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    add_n(inpaint, 1);
    CLI::App* edit =
        app.add_subcommand("edit", "noise a picture a part of the way, and denoise it");
    add_image(edit);
    add_sampler(edit);
    edit->add_option("--strength", given.strength,
                     "how far: near 0 hardly anything changes, at 1 everything")
        ->capture_default_str()
        ->check(CLI::Range(0.01, 1.0));
    add_n(edit, 1);
    add_common_options(app, common, "06_ddim");
    app.require_subcommand(0, 1);

    return run_app(app, argc, argv, [&] {
        pick_threads(common.threads);
        catch_interrupt();
        require(draw.sampler.eta == 0 || draw.sampler.name == "ddim", "--eta: only ddim takes it, ",
                draw.sampler.name, " does not");
        if (draw.steps == 0 && !app.get_subcommands().empty()) draw.steps = 50;
        if (draw.grid.empty() && (*invert || *interpolate || *inpaint)) draw.grid = "trailing";
        const Device device = find_device(device_name, precision);
        if (*sample) {
            run_draw(common, draw, more, device);
        } else if (*invert) {
            run_invert(common, draw, given, device);
        } else if (*interpolate) {
            run_interpolate(common, draw, given, device);
        } else if (*inpaint) {
            run_inpaint(common, draw, given, device);
        } else if (*edit) {
            run_edit(common, draw, given, device);
        } else {
            run_experiment(common, draw, device);
        }
    });
}
