// Chapter 1: a picture turns into noise under four schedules, and the chain is held against its
// closed form.
#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "01_forward_noising/chain.hpp"
#include "01_forward_noising/pictures.hpp"
#include "app/app.hpp"
#include "app/ranges.hpp"
#include "data/find.hpp"
#include "tensor/arena.hpp"
#include "tensor/random.hpp"

namespace diffusion {
namespace {

/// What each schedule leaves of the picture: the table of the lesson.
void tabulate(RunFolder& folder, const std::vector<Schedule>& schedules, Tensor<const float> x0) {
    std::printf("\n%-14s%10s%11s%11s%11s%11s%11s%13s\n", "schedule", "half gone", "abar_T", "a(T)",
                "exp(-sum)", "logSNR(1)", "logSNR(T)", "KL, nats/px");
    for (const Schedule& schedule : schedules) {
        const int T = schedule.steps();
        double sum = 0.0;
        int half = 0;  // the first t at which noise has at least the power of the signal
        for (double beta : schedule.beta) sum += beta;
        while (schedule.alpha_bar[schedule.at(half)] > 0.5) ++half;
        const double kl = kl_from_noise(x0.flat(), schedule, T) / static_cast<double>(x0.numel());
        std::printf("%-14s%10d%11.3e%11.3e%11.3e%11.3f%11.3f%13.3e\n", schedule.name.c_str(), half,
                    schedule.alpha_bar.back(), schedule.signal(T), std::exp(-sum),  // (1.15)
                    schedule.log_snr(1), schedule.log_snr(T), kl);
        folder.number(schedule.name + ": abar_T", schedule.alpha_bar.back(), "signal power left");
        folder.number(schedule.name + ": KL", kl, "nats per pixel between q(x_T | x_0) and noise");
    }
}

void print_checks(const std::vector<ChainCheck>& checks, const Schedule& schedule, int count) {
    std::printf("\n%d pixels that start at 1, schedule %s\n%6s%30s%36s\n%6s", count,
                schedule.name.c_str(), "", "mean", "standard deviation", "t");
    for (int i = 0; i < 2; ++i) std::printf("%12s%12s%12s", "chain", "jump", "exact");
    std::printf("\n");
    for (const ChainCheck& c : checks)
        std::printf("%6d%12.5f%12.5f%12.5f%12.5f%12.5f%12.5f\n", c.t, c.chain_mean, c.jump_mean,
                    c.exact_mean, c.chain_deviation, c.jump_deviation, c.exact_deviation);
}

struct Options : CommonOptions {
    std::string dataset = "mnist";
    int index = 0;
    int steps = 1000;
};

void experiment(const Options& options) {
    const std::map<std::string, int> counts = {
        {"smoke", 2'000}, {"quick", 100'000}, {"standard", 1'000'000}, {"long", 4'000'000}};
    const auto start = Clock::now();
    pick_threads(options.threads);
    RunFolder folder(options.out, "01_forward_noising", "Noise goes in");
    const Dataset data = find_dataset(options.dataset, options.data, false);
    const int count = counts.at(options.preset);
    const double expected =  // 70 ns for each draw
        7e-8 * count * options.steps / pick_threads(0);
    no_state_to_resume(options);
    banner("Chapter 1: noise goes in", {{"data", data.source},
                                        {"picture", std::to_string(options.index)},
                                        {"steps", std::to_string(options.steps)},
                                        {"chained pixels", std::to_string(count)},
                                        {"seed", std::to_string(options.seed)},
                                        {"expected time", about(expected)}});
    folder.setting("preset", options.preset);
    folder.setting("seed", options.seed);
    folder.setting("steps", options.steps);
    folder.setting("data", data.source);
    folder.setting("picture", options.index);
    folder.begin();

    Arena arena;
    Tensor<float> x0 = arena.make<float>({data.height, data.width, data.channels});
    Tensor<float> eps = arena.make<float>(x0.shape());
    decode(data, options.index, false, x0);
    fill_normal(eps, Random(options.seed, Purpose::noise));
    std::vector<Schedule> schedules;
    for (const char* name : kScheduleNames) schedules.push_back(make_schedule(name, options.steps));

    draw_schedules(folder, schedules, x0, eps);
    draw_mistakes(folder, schedules[0], x0, eps);
    tabulate(folder, schedules, x0);
    print_checks(compare_chain(folder, schedules[0], count, options.seed), schedules[0], count);
    const double seconds = seconds_since(start);
    folder.finish(seconds);
    std::printf("\nPictures and tables are in %s (%.1f s)\n", options.out.string().c_str(),
                seconds);
}

}  // namespace
}  // namespace diffusion

int main(int argc, char** argv) {
    using namespace diffusion;
    CLI::App app(
        "A picture turns into noise: schedules, filmstrips, and the chain against its closed form.",
        "01_forward_noising");
    Options options;
    add_common_options(app, options, "01_forward_noising");
    app.add_option("--dataset", options.dataset, "mnist, fashion, cifar10, builtin or folder:PATH")
        ->capture_default_str();
    app.add_option("--index", options.index, "which picture of the test set")
        ->capture_default_str()
        ->transform(at_least(0));
    app.add_option("--steps", options.steps, "T, the number of steps; at least 20")
        ->capture_default_str()
        ->transform(at_least(20));
    return run_app(app, argc, argv, [&] { experiment(options); });
}
