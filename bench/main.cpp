// Times the kernels and the whole network on this machine, beside the most that it can do: make
// bench.
#include <cstdio>

#include "app/app.hpp"
#include "app/ranges.hpp"
#include "bench.hpp"

int main(int argc, char** argv) {
    using namespace diffusion;
    CLI::App app("Times the kernels and the UNet against this machine's peak.", "bench");
    app.require_subcommand(0, 1);
    int threads = 0;
    std::filesystem::path out = "out/bench";
    NetworkOptions network;
    app.add_option("--threads", threads, "0: all cores")->transform(between(0, kMostThreads));
    app.add_option("--out", out, "folder of the tables")->capture_default_str();
    app.fallthrough();
    CLI::App* versions = app.add_subcommand("versions", "one convolution in seven ways");
    CLI::App* kernels = app.add_subcommand("kernels", "every kernel on the UNet's shapes");
    CLI::App* sizes = app.add_subcommand("sizes", "operations at the sizes of Stable Diffusion");
    CLI::App* whole = app.add_subcommand("network", "training, a call, drawing");
    CLI::App* growth =
        app.add_subcommand("growth", "time against network, batch, picture, threads");
    CLI::App* open = app.add_subcommand(
        "open", "a model of 1 GiB from its file, in --out meanwhile; only if asked for");
    CLI::App* stable = app.add_subcommand(
        "stable-diffusion", "calls of its networks, random weights: 5 GB; only if asked for");
    whole->add_option("--base", network.base, "channels of the first level")->capture_default_str();
    whole
        ->add_option("--multipliers", network.multipliers,
                     "channels of each level, in units of base")
        ->delimiter(',');
    whole->add_option("--batch", network.batch, "pictures")
        ->capture_default_str()
        ->transform(at_least(1));
    whole->add_option("--pixels", network.pixels, "width and height")
        ->capture_default_str()
        ->transform(at_least(1));
    whole->add_option("--channels", network.channels, "of the pictures")
        ->capture_default_str()
        ->transform(at_least(1));
    whole->add_option("--optimizer", network.optimizer, "adam or muon")
        ->capture_default_str()
        ->check(CLI::IsMember({"adam", "muon"}));
    whole->add_option("--rounds", network.rounds, "steps to take the median of")
        ->capture_default_str()
        ->transform(at_least(1));
    return run_app(app, argc, argv, [&] {
        threads = pick_threads(threads);
        std::filesystem::create_directories(out);
        const bool all = app.get_subcommands().empty();
        const auto wants = [&](const CLI::App* part) { return all || part->parsed(); };
        std::printf("%s, %d threads\n", simd_description().c_str(), threads);
        if (wants(versions) || wants(kernels) || wants(sizes)) {
            const Machine machine = measure_machine(threads);
            std::printf(
                "multiply-add peak: %.0f GFLOP/s with 1 thread, %.0f with %d; main memory: reads "
                "%.0f GB/s, copies %.0f GB/s\n\n",
                machine.flops_one, machine.flops_all, threads, machine.read, machine.copy);
            if (wants(versions)) {
                pick_threads(1);
                bench_versions(machine, out);
                pick_threads(threads);
            }
            if (wants(kernels)) bench_kernels(machine, out);
            if (wants(sizes)) bench_sizes(machine, out);
        }
        if (wants(whole)) bench_network(network, threads, out);
        if (wants(growth)) bench_growth(threads, out);
        if (stable->parsed()) bench_stable_diffusion(out);
        if (open->parsed()) bench_open(threads, out);
        std::printf("tables: %s\n", out.string().c_str());
    });
}
