#pragma once
// What every chapter's program has in common: its options, its way to fail, its first lines.
// Loops that only report progress or watch for Ctrl-C include progress.hpp or interrupt.hpp alone.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <string>
#include <utility>

#include "app/interrupt.hpp"
#include "app/machine.hpp"
#include "app/progress.hpp"

namespace diffusion {

struct CommonOptions {
    std::string preset = "quick";  ///< smoke, quick, standard or long: a fixed amount of work
    bool preset_given = false;     ///< on the command line
    std::uint64_t seed = 1;
    int threads = 0;            ///< 0: all cores
    std::string data;           ///< folder of the data set; empty: search for it
    std::filesystem::path out;  ///< where pictures and numbers go
    bool resume = false;        ///< go on from the state in `out`
};

/// The group of options that serve a program without a subcommand only: `option->group(kAlone)`. A
/// subcommand's --help leaves them out, and run_app refuses them there.
inline constexpr const char* kAlone = "Without a subcommand";

/// Adds --preset, --seed, --threads, --data, --out and --resume. `chapter` is the folder's name;
/// results go to out/<chapter> unless `options.out` is set already. They may stand before or after
/// the name of a subcommand.
void add_common_options(CLI::App& app, CommonOptions& options, const std::string& chapter);

/// Parses the arguments and runs the body. --help of a subcommand lists all options that it takes,
/// those of the program too. Returns main's result: 0; 1 after an error; 2 after
/// wrong arguments; 130 after Ctrl-C. Errors are one line on standard error: "NAME: message".
int run_app(CLI::App& app, int argc, const char* const* argv, const std::function<void()>& body);

/// For --help: a text, and a line for each entry of a table: its name, and what it is.
template <class Table>
std::string with_entries(std::string text, const Table& table) {
    std::size_t width = 0;
    for (const auto& entry : table) width = std::max(width, std::string(entry.name).size());
    for (const auto& entry : table) {
        std::string name = entry.name;
        name.resize(width + 2, ' ');
        text += "\n" + name + entry.what;
    }
    return text;
}

/// For a program whose work is too short to be saved on the way: says so if --resume is given.
void no_state_to_resume(const CommonOptions& options);

/// Prints the title and aligned rows: {"data", "mnist, 60000 images"}. The first row, "machine", is
/// added here.
void banner(const std::string& title,
            std::initializer_list<std::pair<std::string, std::string>> rows);

}  // namespace diffusion
