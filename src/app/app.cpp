#include "app/app.hpp"

#include <algorithm>
#include <iostream>
#include <new>

#include "tensor/check.hpp"

namespace diffusion {

namespace {

std::string program_name(const CLI::App& app) {
    return std::filesystem::path(app.get_name()).filename().string();
}

/// What the reader should know about a build on one core.
std::string without_openmp() {
#ifdef _OPENMP
    return "";
#else
    return " (built without OpenMP)";
#endif
}

/// Messages of libraries may have several lines; ours are one.
std::string one_line(std::string message) {
    while (!message.empty() && message.back() == '\n') message.pop_back();
    std::replace(message.begin(), message.end(), '\n', ' ');
    return message;
}

int report(const CLI::App& app, const std::string& message, int result) {
    std::cout.flush();
    std::cerr << program_name(app) << ": " << one_line(message) << std::endl;
    return result;
}

}  // namespace

void add_common_options(CLI::App& app, CommonOptions& options, const std::string& chapter) {
    if (options.out.empty()) options.out = std::filesystem::path("out") / chapter;
    app.fallthrough();
    for (CLI::App* command : app.get_subcommands({})) command->fallthrough();
    const std::string group = "Common options";
    const auto not_negative = [](const std::string& text) {  // CLI11 would wrap -1 around
        return text.starts_with('-') ? text + " is negative" : std::string();
    };
    app.add_option("--preset", options.preset,
                   "amount of work: seconds, 1-2 minutes, 10 minutes, hours")
        ->check(CLI::IsMember({"smoke", "quick", "standard", "long"}))
        ->capture_default_str()
        ->group(group);
    app.add_option("--seed", options.seed, "the same seed gives the same files")
        ->check(not_negative)
        ->capture_default_str()
        ->group(group);
    app.add_option("--threads", options.threads, "threads to use, 0 for all cores")
        ->check(not_negative)
        ->check(CLI::Range(0, 4096))
        ->capture_default_str()
        ->group(group);
    app.add_option("--data", options.data, "folder of the data set (otherwise searched for)")
        ->group(group);
    app.add_option("--out", options.out, "folder for pictures and numbers")
        ->capture_default_str()
        ->group(group);
    app.add_flag("--resume", options.resume, "go on from the state in the --out folder")
        ->group(group);
}

int run_app(CLI::App& app, int argc, const char* const* argv, const std::function<void()>& body) {
    try {
        require_processor();
        app.parse(argc, argv);
    } catch (const CLI::Success& help) {  // --help and --version
        return app.exit(help);
    } catch (const CLI::ParseError& error) {
        return report(app,
                      one_line(error.what()) + " (" + program_name(app) + " --help tells more)", 2);
    } catch (const Error& error) {
        return report(app, error.what(), 1);
    }
    try {
        body();
    } catch (const std::bad_alloc&) {
        return report(app, "out of memory; try a smaller preset or fewer samples", 1);
    } catch (const std::exception& error) {
        return report(app, error.what(), interrupted() ? 130 : 1);
    }
    std::cout.flush();
    if (!std::cout) return report(app, "standard output: cannot be written (is the disk full?)", 1);
    return interrupted() ? 130 : 0;
}

void no_state_to_resume(const CommonOptions& options) {
    if (options.resume) std::cout << "--resume: nothing is saved on the way here; starting anew\n";
}

void banner(const std::string& title,
            std::initializer_list<std::pair<std::string, std::string>> rows) {
    const int threads = pick_threads(0);
    std::size_t width = std::string("machine").size();
    for (const auto& [name, value] : rows) width = std::max(width, name.size());
    const auto print = [&](const std::string& name, const std::string& value) {
        std::cout << "  " << name << std::string(width + 2 - name.size(), ' ') << value << "\n";
    };
    std::cout << title << "\n";
    print("machine", simd_description() + ", " + std::to_string(threads) +
                         (threads == 1 ? " thread" : " threads") + without_openmp());
    for (const auto& [name, value] : rows) print(name, value);
    std::cout << std::flush;
}

}  // namespace diffusion
