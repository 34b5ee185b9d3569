// Chapter 6's program: samplers that need few steps, and what to do with pictures of your own.
#include "06_ddim/experiment.hpp"
#include "06_ddim/grids.hpp"
#include "06_ddim/runs.hpp"
#include "app/app.hpp"
#include "app/ranges.hpp"
#include "tensor/check.hpp"

namespace diffusion {
namespace {

/// All that the command line says.
struct Options {
    CommonOptions common;
    DrawSettings draw;
    DrawingSettings more;
    PictureSettings given;
    DeviceOptions where;
};

void add_draw_options(CLI::App& app, DrawSettings& draw) {
    app.add_option("--model", draw.model,
                   "folder of a model: --out of a 04_unet, or one of diffusers (otherwise 04_unet "
                   "beside --out)");
    app.add_option("--steps", draw.steps,
                   "steps from noise to picture (0: 50; for the experiment's strips 100)")
        ->capture_default_str()
        ->transform(at_least(0));
    app.add_option("--grid", draw.grid,
                   with_entries("which times are visited (otherwise the sampler's own for sample, "
                                "trailing for your own pictures)",
                                kGrids))
        ->check(CLI::IsMember(grid_names()));
}

void add_sampler_options(CLI::App* command, DrawSettings& draw) {
    Sampler& sampler = draw.sampler;
    command
        ->add_option("--sampler", sampler.name,
                     with_entries("how a step is made", kSamplers<float>))
        ->capture_default_str()
        ->check(CLI::IsMember(sampler_names()));
    command
        ->add_option("--eta", sampler.eta, "fresh noise of ddim: 0 for none, 1 for as much as ddpm")
        ->capture_default_str()
        ->transform(between(0.0, 1.0));
    command
        ->add_option("--clip", draw.clip,
                     "keep guesses of the picture in [-clip, clip]; 0: do not clip (otherwise as "
                     "the model's scheduler says)")
        ->transform(at_least(0.0));
}

void add_image_options(CLI::App* command, PictureSettings& given) {
    command->add_option(
        "--image", given.image,
        "a PNG or JPEG, best square with a margin; stretched to fit (none: a test picture)");
    command->add_flag("--negative", given.negative, "it is black on white");
}

void add_number_option(CLI::App* command, PictureSettings& given, int least) {
    command->add_option("--n", given.n, "how many results")
        ->capture_default_str()
        ->transform(between(least, 10'000));
}

void add_rounds_option(CLI::App* command, PictureSettings& given) {
    command->add_option("--rounds", given.rounds, "of substitution in each step backwards")
        ->capture_default_str()
        ->transform(at_least(1));
}

void add_sample(CLI::App& app, DrawSettings& draw, DrawingSettings& more) {
    CLI::App* sample = app.add_subcommand("sample", "draw pictures");
    add_sampler_options(sample, draw);
    sample->add_option("--n", more.n, "how many pictures (with --noise: as many as it holds)")
        ->capture_default_str()
        ->transform(at_least(1));
    sample->add_option("--noise", more.noise, "start from this .npy file, float32 [N,H,W,C]");
    sample->add_flag("--save-npy", more.save_npy, "write samples.npy too");
}

void add_invert(CLI::App& app, PictureSettings& given) {
    CLI::App* invert = app.add_subcommand("invert", "a picture, its noise, and back");
    add_image_options(invert, given);
    add_rounds_option(invert, given);
}

void add_interpolate(CLI::App& app, PictureSettings& given) {
    CLI::App* interpolate =
        app.add_subcommand("interpolate", "a strip between two pictures, or two noises");
    add_image_options(interpolate, given);
    interpolate->add_option("--second", given.second, "the picture at the other end");
    add_number_option(interpolate, given, 2);
    add_rounds_option(interpolate, given);
}

void add_inpaint(CLI::App& app, PictureSettings& given) {
    CLI::App* inpaint = app.add_subcommand("inpaint", "draw what is missing of a picture");
    add_image_options(inpaint, given);
    inpaint->add_option("--mask", given.mask,
                        "a picture, white where --image is kept (none: its upper half)");
    inpaint->add_option("--repeats", given.repeats, "how often each step is walked")
        ->capture_default_str()
        ->transform(at_least(1));
    add_number_option(inpaint, given, 1);
}

void add_edit(CLI::App& app, DrawSettings& draw, PictureSettings& given) {
    CLI::App* edit =
        app.add_subcommand("edit", "noise a picture a part of the way, and denoise it");
    add_image_options(edit, given);
    add_sampler_options(edit, draw);
    edit->add_option("--strength", given.strength,
                     "how far: near 0 hardly anything changes, at 1 everything")
        ->capture_default_str()
        ->transform(between(0.01, 1.0));
    add_number_option(edit, given, 1);
}

void add_options(CLI::App& app, Options& options) {
    add_draw_options(app, options.draw);
    add_device_options(app, options.where);
    add_sample(app, options.draw, options.more);
    add_invert(app, options.given);
    add_interpolate(app, options.given);
    add_inpaint(app, options.given);
    add_edit(app, options.draw, options.given);
    add_common_options(app, options.common, "06_ddim");
    app.require_subcommand(0, 1);
}

/// Fills in what the command line leaves open, and does the job that it names.
void run(const CLI::App& app, Options options) {
    auto& [common, draw, more, given, where] = options;
    pick_threads(common.threads);
    catch_interrupt();
    require(draw.sampler.eta == 0 || sampler_named(draw.sampler.name).takes_eta,
            "--eta: only ddim takes it, ", draw.sampler.name, " does not");
    const std::string job =
        app.get_subcommands().empty() ? "" : app.get_subcommands().front()->get_name();
    if (draw.steps == 0 && !job.empty()) draw.steps = 50;
    if (draw.grid.empty() && (job == "invert" || job == "interpolate" || job == "inpaint"))
        draw.grid = "trailing";
    const Device device = find_device(where);
    if (job == "sample") {
        run_draw(common, draw, more, device);
    } else if (job == "invert") {
        run_invert(common, draw, given, device);
    } else if (job == "interpolate") {
        run_interpolate(common, draw, given, device);
    } else if (job == "inpaint") {
        run_inpaint(common, draw, given, device);
    } else if (job == "edit") {
        run_edit(common, draw, given, device);
    } else {
        run_experiment(common, draw, device);
    }
}

}  // namespace
}  // namespace diffusion

int main(int argc, char** argv) {
    using namespace diffusion;
    CLI::App app(
        "Fast samplers for a trained model. Without a subcommand: orders of convergence, quality "
        "against steps, and a strip of each of the below.",
        "06_ddim");
    Options options;
    add_options(app, options);
    return run_app(app, argc, argv, [&] { run(app, options); });
}
