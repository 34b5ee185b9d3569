// The map from equations to code and tests: docs/equations.md. An equation (n.m) is a \tag of a
// lesson; it is in the code where a comment names it, and tested where the name of a test does.
// "(n.m) to (n.k)" names all between. A line `<!-- nothing to compute: (n.m) -->` in a lesson says
// that an equation is a definition or a step of a proof and needs neither.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "app/app.hpp"
#include "io/files.hpp"
#include "tensor/check.hpp"

namespace diffusion {
namespace {

namespace fs = std::filesystem;
using Number = std::pair<int, int>;

struct Equation {
    std::string lesson;  ///< file
    bool computed = true;
    std::map<std::string, int> code;                           ///< files, and the first line
    std::map<std::string, std::pair<std::string, int>> tests;  ///< file and line, by name
};

std::string text_of(const fs::path& path) {
    const std::vector<std::byte> bytes = read_file(path);
    return std::string(as_text(bytes));
}

/// All numbers in a text, ranges filled in.
std::vector<Number> numbers_in(const std::string& text) {
    static const std::regex pattern(R"(\((\d+)\.(\d+)\)(?:\s+to\s+\((\d+)\.(\d+)\))?)");
    std::vector<Number> numbers;
    for (std::sregex_iterator m(text.begin(), text.end(), pattern), end; m != end; ++m) {
        const Number first{std::stoi((*m)[1]), std::stoi((*m)[2])};
        const bool range = (*m)[3].matched && std::stoi((*m)[3]) == first.first;
        const int last = range ? std::stoi((*m)[4]) : first.second;
        for (int k = first.second; k <= last; ++k) numbers.emplace_back(first.first, k);
    }
    return numbers;
}

template <class Visit>
void for_each_match(const std::string& text, const std::regex& pattern, Visit visit) {
    for (std::sregex_iterator m(text.begin(), text.end(), pattern), end; m != end; ++m) visit(*m);
}

/// The line of a match, from 1.
int line_of(const std::string& text, const std::smatch& m) {
    return 1 + static_cast<int>(std::count(text.begin(), text.begin() + m.position(0), '\n'));
}

std::vector<fs::path> files_below(const std::vector<std::string>& folders,
                                  const std::set<std::string>& extensions) {
    std::vector<fs::path> files;
    for (const std::string& folder : folders) {
        for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder)) {
            if (extensions.contains(entry.path().extension().string()))
                files.push_back(entry.path());
        }
    }
    std::ranges::sort(files);
    return files;
}

std::map<Number, Equation> read_map() {
    std::map<Number, Equation> map;
    static const std::regex tag(R"(\\tag\{(\d+)\.(\d+)\})");
    static const std::regex exempt(R"(<!-- nothing to compute: ([^>]*)-->)");
    for (const fs::path& path : files_below({"chapters"}, {".md"})) {
        const std::string text = text_of(path);
        for_each_match(text, tag, [&](const std::smatch& m) {
            map[{std::stoi(m[1]), std::stoi(m[2])}].lesson = path.generic_string();
        });
        for_each_match(text, exempt, [&](const std::smatch& m) {
            for (const Number& n : numbers_in(m[1])) {
                require(map.contains(n), path.string(), ": marks (", n.first, ".", n.second,
                        ") as nothing to compute, but has no such equation");
                map[n].computed = false;
            }
        });
    }
    static const std::regex comment("//[^\n]*(\n\\s*//[^\n]*)*");
    for (const fs::path& path : files_below({"chapters", "src"}, {".hpp", ".cpp", ".cu"})) {
        const std::string text = text_of(path);
        for_each_match(text, comment, [&](const std::smatch& m) {
            for (const Number& n : numbers_in(m.str())) {
                if (const auto found = map.find(n); found != map.end())
                    found->second.code.emplace(path.generic_string(), line_of(text, m));
            }
        });
    }
    static const std::regex test(R"re(TEST_CASE(?:_TEMPLATE)?\(\s*((?:"(?:[^"\\]|\\.)*"\s*)+))re");
    static const std::regex seam(R"re("\s*"|^"|"\s*$)re");
    for (const fs::path& path : files_below({"tests"}, {".cpp"})) {
        const std::string text = text_of(path);
        for_each_match(text, test, [&](const std::smatch& m) {
            const std::string name = std::regex_replace(m[1].str(), seam, "");
            for (const Number& n : numbers_in(name)) {
                const int line = line_of(text, m);
                const auto found = map.find(n);
                require(found != map.end(), path.string(), ":", line, ": (", n.first, ".", n.second,
                        ") in a test's name is no equation of a lesson");
                found->second.tests.emplace(name, std::pair(path.generic_string(), line));
            }
        });
    }
    return map;
}

std::string page(const std::map<Number, Equation>& map) {
    std::string text =
        "# Equations\n\nWhere each numbered equation of the lessons is computed, and which tests "
        "check it. Written by `build/bin/equations`;\n`make test` fails when it is not up to date, "
        "and when an equation has no code or no test. A dash: a definition or a step of a proof,\n"
        "with nothing to compute.\n\n| equation | code | tests |\n| --- | --- | --- |\n";
    for (const auto& [number, equation] : map) {
        text += "| [(" + std::to_string(number.first) + "." + std::to_string(number.second) +
                ")](../" + equation.lesson + ") | ";
        std::string files, tests;
        for (const auto& [file, line] : equation.code) {
            files += (files.empty() ? "" : ", ") + ("[" + fs::path(file).filename().string()) +
                     "](../" + file + "#L" + std::to_string(line) + ")";
        }
        for (const auto& [name, place] : equation.tests) {
            std::string escaped;
            for (char c : name) escaped += c == '|' ? std::string("\\|") : std::string(1, c);
            tests += (tests.empty() ? "" : "; ") + ("[" + escaped) + "](../" + place.first + "#L" +
                     std::to_string(place.second) + ")";
        }
        text += (files.empty() ? "-" : files) + " | " + (tests.empty() ? "-" : tests) + " |\n";
    }
    return text;
}

}  // namespace
}  // namespace diffusion

int main(int argc, char** argv) {
    using namespace diffusion;
    CLI::App app("Writes docs/equations.md. Run it in the project's folder.", "equations");
    bool check = false;
    app.add_flag("--check", check, "write nothing; fail if the page is not up to date");
    return run_app(app, argc, argv, [&] {
        const auto map = read_map();
        std::string missing;
        for (const auto& [number, equation] : map) {
            if (!equation.computed || (!equation.code.empty() && !equation.tests.empty())) continue;
            missing += " (" + std::to_string(number.first) + "." + std::to_string(number.second) +
                       ") has no " + (equation.code.empty() ? "code" : "test") + ";";
        }
        require(missing.empty(), "equations:", missing, " name it there, or mark it in its lesson");
        const fs::path path = "docs/equations.md";
        const std::string text = page(map);
        if (check) {
            require(fs::exists(path) && text_of(path) == text, path.string(),
                    ": not up to date; run build/bin/equations");
        } else {
            write_file_atomically(path, std::as_bytes(std::span(text)));
        }
        std::printf("%zu equations\n", map.size());
    });
}
