#include "app/app.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <new>
#include <stdexcept>

#include "app/ranges.hpp"
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

/// Messages of libraries may have several lines, and names from files any characters and any
/// length. A message is one line, and moves no cursor.
std::string one_line(std::string message) {
    constexpr std::size_t kLongest = 4000;
    while (!message.empty() && message.back() == '\n') message.pop_back();
    if (message.size() > kLongest) message.replace(kLongest, std::string::npos, "..");
    std::ranges::replace_if(
        message, [](unsigned char c) { return c < ' ' || c == 0x7f; }, ' ');
    return message;
}

/// --help of a subcommand also lists the options of the program, which the subcommand takes as
/// well.
class HelpWithAll : public CLI::Formatter {
    std::string make_subcommands(const CLI::App* app, CLI::AppFormatMode mode) const override {
        const CLI::App* program = app->get_parent();
        if (program == nullptr || mode != CLI::AppFormatMode::Normal)
            return CLI::Formatter::make_subcommands(app, mode);
        std::string text;
        for (const std::string& group : program->get_groups()) {
            const auto options = program->get_options([&](const CLI::Option* option) {
                return option->get_group() == group && option != program->get_help_ptr();
            });
            if (group != kAlone && !options.empty())
                text += make_group(group == "Options" ? "Options of every subcommand" : group,
                                   false, options);
        }
        return text;
    }
};

void set_help(CLI::App& app) {
    const auto help = std::make_shared<HelpWithAll>();
    app.formatter(help);
    for (CLI::App* command : app.get_subcommands({})) command->formatter(help);
}

/// Fails if a subcommand is given an option that is for the program without one.
void refuse_misplaced(const CLI::App& app) {
    const auto misplaced = app.get_options([](const CLI::Option* option) {
        return option->get_group() == kAlone && option->count() > 0;
    });
    if (app.get_subcommands().empty() || misplaced.empty()) return;
    fail(misplaced.front()->get_name(), ": it is for the program without a subcommand; ",
         app.get_subcommands().front()->get_name(), " has no use for it");
}

/// What an option was given, or its default.
std::string text_of(const CLI::Option& option) {
    return option.count() > 0 ? option.results().front() : option.get_default_str();
}

/// What takes less memory, of the options that this program or its subcommand has: those that can
/// be made smaller than they are.
std::string memory_advice(const CLI::App& app) {
    struct Advice {
        const char *option, *text;
        int least;
    };
    constexpr std::array kAdvice{Advice{"--n", "fewer pictures (--n)", 1},
                                 Advice{"--batch", "fewer pictures in a step (--batch)", 1},
                                 Advice{"--base", "fewer channels (--base)", 8},
                                 Advice{"--threads", "fewer threads (--threads)", 1}};
    const auto commands = app.get_subcommands();
    const auto find = [&](const char* name) {
        const CLI::Option* own =
            commands.empty() ? nullptr : commands.front()->get_option_no_throw(name);
        return own != nullptr ? own : app.get_option_no_throw(name);
    };
    std::string advice;
    const auto add = [&](const std::string& text) {
        advice += (advice.empty() ? "; try " : ", ") + text;
    };
    const CLI::Option* preset = find("--preset");
    const bool smallest = preset == nullptr || text_of(*preset) == "smoke";
    for (const Advice& each : kAdvice) {
        const CLI::Option* option = find(each.option);
        if (option == nullptr) continue;
        const bool threads = each.option == std::string("--threads");
        const std::int64_t given = std::atoll(text_of(*option).c_str());
        const std::int64_t value = given > 0 ? given : threads ? pick_threads(0) : 0;
        if (value > each.least || (value == 0 && !(smallest && each.least > 1))) add(each.text);
    }
    const CLI::Option* data = find("--dataset");
    if (data != nullptr && text_of(*data).starts_with("folder:"))
        add("smaller pictures (--dataset)");
    if (commands.empty() && !smallest) add("a smaller preset (--preset)");
    return advice;
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
    app.add_option("--preset", options.preset,
                   "amount of work: seconds, 1-2 minutes, 10 minutes, hours")
        ->check(CLI::IsMember({"smoke", "quick", "standard", "long"}))
        ->each([&options](const std::string&) { options.preset_given = true; })
        ->capture_default_str()
        ->group(group);
    app.add_option("--seed", options.seed, "the same seed gives the same files")
        ->transform(at_least(std::uint64_t{0}))
        ->capture_default_str()
        ->group(group);
    app.add_option("--threads", options.threads, "threads to use, 0 for all cores")
        ->transform(between(0, kMostThreads))
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
        share_cores(argv);
        set_help(app);
        app.parse(argc, argv);
        refuse_misplaced(app);
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
        return report(app, "out of memory" + memory_advice(app), 1);
    } catch (const std::length_error&) {  // more than a vector can ever hold
        return report(app, "out of memory" + memory_advice(app), 1);
    } catch (const std::exception& error) {
        return report(app, error.what(), interrupted() ? 130 : 1);
    }
    std::cout.flush();
    if (!std::cout && !interrupted())  // with the terminal its output may be gone
        return report(app, "standard output: cannot be written (is the disk full?)", 1);
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
