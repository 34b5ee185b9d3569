// What the lessons say of the code is true: quoted lines are in the tree, and equation numbers in
// the code are in the lesson. A lesson is all pages (.md) of its chapter.
#include <doctest/doctest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;
using Lines = std::vector<std::string>;

/// The lines of a file without the space around them; empty ones and marks of exercises are left
/// out.
Lines lines_of(const fs::path& path) {
    Lines lines;
    std::ifstream in(path);
    for (std::string line; std::getline(in, line);) {
        const std::size_t first = line.find_first_not_of(" \t"),
                          last = line.find_last_not_of(" \t");
        if (first == std::string::npos || line.compare(first, 6, "// >>>") == 0 ||
            line.compare(first, 6, "// <<<") == 0) {
            continue;
        }
        lines.push_back(line.substr(first, last - first + 1));
    }
    return lines;
}

bool is_code(const fs::path& path) {
    return path.extension() == ".hpp" || path.extension() == ".cpp" || path.extension() == ".cu";
}

std::vector<Lines> code_below(const std::vector<fs::path>& folders) {
    std::vector<Lines> files;
    for (const fs::path& folder : folders) {
        for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder)) {
            if (entry.is_regular_file() && is_code(entry.path()))
                files.push_back(lines_of(entry.path()));
        }
    }
    return files;
}

bool contains(const std::vector<Lines>& files, const Lines& quote) {
    return std::any_of(files.begin(), files.end(), [&](const Lines& file) {
        return std::search(file.begin(), file.end(), quote.begin(), quote.end()) != file.end();
    });
}

/// The code blocks of a lesson.
std::vector<Lines> quotes(const Lines& lesson) {
    std::vector<Lines> found;
    bool inside = false;
    for (const std::string& line : lesson) {
        if (line == "```cpp") {
            inside = true;
            found.emplace_back();
        } else if (line == "```") {
            inside = false;
        } else if (inside) {
            found.back().push_back(line);
        }
    }
    return found;
}

/// The pages of a chapter: README.md and what is beside it.
std::vector<fs::path> pages(const fs::path& chapter) {
    std::vector<fs::path> found;
    for (const fs::directory_entry& entry : fs::directory_iterator(chapter)) {
        if (entry.path().extension() == ".md") found.push_back(entry.path());
    }
    std::sort(found.begin(), found.end());
    return found;
}

std::vector<fs::path> chapters() {
    std::vector<fs::path> found;
    for (const fs::directory_entry& entry :
         fs::directory_iterator(fs::path(DIFFUSION_SOURCE_DIR) / "chapters")) {
        if (entry.is_directory()) found.push_back(entry.path());
    }
    std::sort(found.begin(), found.end());
    return found;
}

/// What a link to a heading ends with: "## 5.9 Chapter 4, measured" is #59-chapter-4-measured.
std::string anchor(const std::string& heading) {
    std::string text;
    for (char c : heading.substr(heading.find(' ') + 1)) {
        const auto sign = static_cast<unsigned char>(c);
        if (std::isalnum(sign) != 0 || c == '-' || c == '_')
            text += static_cast<char>(std::tolower(sign));
        else if (c == ' ')
            text += '-';
    }
    return text;
}

std::set<std::string> headings(const fs::path& page) {
    std::set<std::string> found;
    for (const std::string& line : lines_of(page)) {
        if (line.front() == '#') found.insert(anchor(line));
    }
    return found;
}

}  // namespace

TEST_SUITE_BEGIN("src layout");

TEST_CASE("code that a lesson quotes is in the tree, line by line") {
    const fs::path root = DIFFUSION_SOURCE_DIR;
    int count = 0;
    for (const fs::path& chapter : chapters()) {
        const std::vector<Lines> code = code_below({chapter, root / "src", root / "tests"});
        for (const fs::path& page : pages(chapter)) {
            for (const Lines& quote : quotes(lines_of(page))) {
                ++count;
                if (!contains(code, quote)) {
                    FAIL_CHECK(page.string() << ": not in the code: " << quote.front());
                }
            }
        }
    }
    CHECK(count > 20);
    CHECK_FALSE(contains({{"a", "b", "c"}}, {"a", "c"}));
}

TEST_CASE("equation numbers in a chapter's code are tags of its lesson") {
    const std::regex number(R"((?:^|[^\w])\((\d\d?)\.(\d\d?)\))"), tag(R"(\\tag\{(\d+\.\d+)\})");
    for (const fs::path& chapter : chapters()) {
        const std::string own = std::to_string(std::stoi(chapter.filename().string().substr(0, 2)));
        std::set<std::string> tags;
        for (const fs::path& page : pages(chapter)) {
            for (const std::string& line : lines_of(page)) {
                for (std::sregex_iterator m(line.begin(), line.end(), tag), end; m != end; ++m) {
                    INFO(page.string() << " (" << (*m)[1].str() << ") is given twice");
                    CHECK(tags.insert((*m)[1].str()).second);
                }
            }
        }
        CHECK(tags.size() > 10);
        for (const Lines& file : code_below({chapter})) {
            for (const std::string& line : file) {
                for (std::sregex_iterator m(line.begin(), line.end(), number), end; m != end; ++m) {
                    if ((*m)[1].str() != own) continue;  // of another chapter, or no equation
                    INFO(chapter.filename().string() << ": " << line);
                    CHECK(tags.count(own + "." + (*m)[2].str()) == 1);
                }
            }
        }
    }
}

TEST_CASE("links of the lessons lead to files and headings that are there") {
    const std::regex link(R"(\]\(([^)#:\s]*)(?:#([^)\s]+))?\))");
    int count = 0;
    for (const fs::path& chapter : chapters()) {
        for (const fs::path& page : pages(chapter)) {
            for (const std::string& line : lines_of(page)) {
                for (std::sregex_iterator m(line.begin(), line.end(), link), end; m != end; ++m) {
                    const std::string file = (*m)[1], heading = (*m)[2];
                    const fs::path target = file.empty() ? page : chapter / file;
                    INFO(page.string() << ": " << m->str());
                    CHECK(fs::exists(target));
                    CHECK((heading.empty() || headings(target).count(heading) == 1));
                    ++count;
                }
            }
        }
    }
    CHECK(count > 100);
    CHECK(anchor("## 5.9 Chapter 4, measured") == "59-chapter-4-measured");
}

TEST_SUITE_END();
