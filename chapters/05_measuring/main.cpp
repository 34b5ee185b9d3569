// Chapter 5's program: is a set of pictures good, varied and new?
#include "05_measuring/runs.hpp"
#include "app/app.hpp"
#include "app/ranges.hpp"

int main(int argc, char** argv) {
    using namespace diffusion;
    CLI::App app(
        "Measures pictures. Without a subcommand: what the measures see, on sets with known faults "
        "and on what chapter 4's model draws.",
        "05_measuring");
    CommonOptions common;
    ScoreSettings scored;
    ExperimentSettings experiment;
    const auto add_judge_options = [](CLI::App* command, JudgeSettings& settings) {
        command
            ->add_option("--dataset", settings.dataset,
                         "what pictures are held against: mnist, fashion, cifar10 or builtin")
            ->capture_default_str();
        command->add_option(
            "--judge", settings.judge,
            "the judge's file (otherwise classifier_NAME.safetensors in --out, made "
            "if it is missing)");
    };
    add_judge_options(&app, experiment.judge);
    app.add_option("--model", experiment.model,
                   "folder of the model that draws (otherwise 04_unet beside --out)")
        ->group(kAlone);
    app.add_option("--steps", experiment.steps, "steps from noise to picture (0: the preset's)")
        ->group(kAlone)
        ->transform(at_least(0));
    CLI::App* train_command = app.add_subcommand("train", "train the judge anew and keep it");
    CLI::App* score_command =
        app.add_subcommand("score", "score pictures of any origin: a table, and score.json");
    score_command
        ->add_option("--samples", scored.samples,
                     "a folder of pictures, or a file: IDX, .npy or .npz, [N,H,W] or [N,H,W,C]")
        ->required();
    score_command
        ->add_option("--n", scored.n,
                     "score the first n (0: all, or as many as there are test pictures)")
        ->transform(at_least(0));
    add_common_options(app, common, "05_measuring");
    app.require_subcommand(0, 1);

    return run_app(app, argc, argv, [&] {
        pick_threads(common.threads);
        catch_interrupt();
        scored.judge = experiment.judge;
        if (*train_command) {
            run_train_judge(common, experiment.judge);
        } else if (*score_command) {
            run_score(common, scored);
        } else {
            run_experiment(common, experiment);
        }
    });
}
