// The link graph is the table of contents: a chapter includes earlier chapters and src, src
// includes neither chapters nor tests.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <string>
#include <vector>

#include "support/process.hpp"

// This file is compiled with the include path of src and that of the tests.
#if !__has_include("tensor/tensor.hpp") || __has_include("01_forward_noising/README.md")
#error "the include path of src leads to chapters"
#endif

using namespace diffusion;

namespace {

namespace fs = std::filesystem;

/// The two digits of the chapter that an include line names, or an empty string.
std::string included_chapter(const std::string& line) {
    static const std::regex pattern(R"re(^\s*#\s*include\s*["<](?:.*/)?(\d\d)_[a-z_0-9]+/.*)re");
    std::smatch match;
    return std::regex_match(line, match, pattern) ? match[1].str() : "";
}

bool is_source(const fs::path& path) {
    const std::string extension = path.extension().string();
    return extension == ".hpp" || extension == ".cpp" || extension == ".cu" || extension == ".cuh";
}

/// Calls f(file, chapter number) for every include of a chapter below the folder.
template <class F>
int for_each_include(const fs::path& folder, F f) {
    int files = 0;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder)) {
        if (!entry.is_regular_file() || !is_source(entry.path())) continue;
        ++files;
        std::ifstream in(entry.path());
        for (std::string line; std::getline(in, line);) {
            const std::string chapter = included_chapter(line);
            if (!chapter.empty()) f(entry.path().string(), chapter);
        }
    }
    return files;
}

/// The arrays in a kernel's shared memory that no call of uninitialised(..) right after them names.
std::vector<std::string> initialised_arrays(const std::string& source) {
    static const std::regex declaration(R"(__shared__\s+\w+(?:<[^>]*>)?\s+([^;]*);)"),
        name(R"((\w+)(?:\[[^\]]*\])*)"), call(R"(\buninitialised\(([^)]*)\))");
    std::vector<std::string> missed;
    const auto end = std::sregex_iterator();
    for (auto d = std::sregex_iterator(source.begin(), source.end(), declaration); d != end; ++d) {
        const std::string after = d->suffix().str().substr(0, 300), names = d->str(1);
        std::smatch found;
        const std::string named = std::regex_search(after, found, call) ? found.str(1) : "";
        for (auto n = std::sregex_iterator(names.begin(), names.end(), name); n != end; ++n) {
            if (!std::regex_search(named, std::regex("\\b" + n->str(1) + "\\b")))
                missed.push_back(n->str(1));
        }
    }
    return missed;
}

}  // namespace

TEST_SUITE_BEGIN("src layout");

TEST_CASE("an include of a chapter is recognised") {
    CHECK(included_chapter("#include \"04_unet/unet.hpp\"") == "04");
    CHECK(included_chapter("#include <04_unet/unet.hpp>") == "04");
    CHECK(included_chapter("  # include \"../13_noise_to_art/pipeline.hpp\"") == "13");
    CHECK(included_chapter("#include \"tensor/tensor.hpp\"") == "");
    CHECK(included_chapter("// 04_unet/unet.hpp") == "");
}

TEST_CASE("src includes no chapter") {
    const int files = for_each_include(fs::path(DIFFUSION_SOURCE_DIR) / "src",
                                       [](const std::string& file, const std::string& chapter) {
                                           FAIL_CHECK(file << " includes chapter " << chapter);
                                       });
    CHECK(files > 10);
}

TEST_CASE("a chapter includes only itself and earlier chapters") {
    int chapters = 0;
    for (const fs::directory_entry& entry :
         fs::directory_iterator(fs::path(DIFFUSION_SOURCE_DIR) / "chapters")) {
        if (!entry.is_directory()) continue;
        ++chapters;
        const std::string own = entry.path().filename().string().substr(0, 2);
        for_each_include(entry.path(), [&](const std::string& file, const std::string& chapter) {
            if (chapter > own) FAIL_CHECK(file << " includes the later chapter " << chapter);
        });
    }
    CHECK(chapters > 0);
}

// A handout goes by the includes when it leaves out kernels that only later chapters need.
TEST_CASE("every source file of src/kernels has a header of its name") {
    int files = 0;
    for (const fs::directory_entry& entry :
         fs::directory_iterator(fs::path(DIFFUSION_SOURCE_DIR) / "src/kernels")) {
        if (entry.path().extension() != ".cpp") continue;
        ++files;
        fs::path header = entry.path();
        header.replace_extension(".hpp");
        if (!fs::exists(header)) FAIL_CHECK(header.string() << " is missing");
    }
    CHECK(files > 0);
}

TEST_CASE("on the host every kernel's shared memory begins as NaN") {
    CHECK(
        initialised_arrays("__shared__ float a[33], b[2][W + 1];\n uninitialised(a, b);").empty());
    CHECK(initialised_arrays("__shared__ Rows<w> a, b;\n uninitialised(b);") ==
          std::vector<std::string>{"a"});
    for (const fs::directory_entry& entry :
         fs::recursive_directory_iterator(fs::path(DIFFUSION_SOURCE_DIR) / "chapters")) {
        if (!entry.is_regular_file() || !is_source(entry.path())) continue;
        std::ifstream in(entry.path());
        const std::string source{std::istreambuf_iterator<char>(in), {}};
        for (const std::string& name : initialised_arrays(source))
            FAIL_CHECK(entry.path().string() << " does not call uninitialised(" << name << ")");
    }
}

TEST_CASE("lines end in LF in every clone, and pictures stay as they are") {
    const std::string source = DIFFUSION_SOURCE_DIR;
    if (!fs::exists(source + "/.git")) return;  // an archive
    const ProcessResult asked = run_program({"/usr/bin/env", "git", "-C", source, "check-attr",
                                             "eol", "text", "--", "Makefile", "scripts/run.sh",
                                             "chapters/01_forward_noising/figures/filmstrip.png"});
    if (asked.exit_code != 0) return;  // no git, or not its owner's
    CAPTURE(asked.out);
    CHECK(asked.out.find("Makefile: eol: lf") != std::string::npos);
    CHECK(asked.out.find("scripts/run.sh: eol: lf") != std::string::npos);
    CHECK(asked.out.find("filmstrip.png: text: unset") != std::string::npos);
}

TEST_SUITE_END();
