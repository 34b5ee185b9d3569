// data/download.sh, with folders in the place of mirrors.
#include <doctest/doctest.h>

#include <fstream>
#include <iterator>
#include <set>

#include "support/process.hpp"
#include "support/temporary_folder.hpp"

using namespace diffusion;
namespace fs = std::filesystem;

namespace {

const std::string kScript = std::string(DIFFUSION_SOURCE_DIR) + "/data/download.sh";

/// The script accepts file:// addresses through curl only.
bool has_curl() {
    return run_program({"/bin/sh", "-c", "command -v curl"}).exit_code == 0;
}

std::set<std::string> names_in(const fs::path& folder) {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder)) {
        names.insert(entry.path().filename().string());
    }
    return names;
}

std::string content(const fs::path& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

TEST_SUITE_BEGIN("src");

TEST_CASE("download.sh takes a file only with the right checksum, and tries the next mirror") {
    if (!has_curl()) return;
    const TemporaryFolder temp;
    const char* files[] = {"train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz",
                           "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"};
    fs::create_directories(temp / "good");
    fs::create_directories(temp / "bad");
    fs::create_directories(temp / "to");
    for (const char* file : files) {
        std::ofstream(temp / "good/" / file) << "hello";
        std::ofstream(temp / "bad/" / file) << "hullo";
    }
    fs::remove(temp / "bad/" / files[1]);
    std::ofstream(temp / "to/" / files[2]) << "old";
    // The script with the checksum of "hello" in the place of MNIST's.
    const fs::path script = temp / "download.sh";
    std::string text = content(kScript);
    for (const char* md5 :
         {"f68b3c2dcbeaaa9fbdd348bbdeb94873", "d53e105ee54ea40749a09fcbcd1e9432",
          "9fb629c4189551a2d022fa330f9573f3", "ec29112dd5afa0611ce80d1b7f02629c"}) {
        const std::size_t at = text.find(md5);
        REQUIRE(at != std::string::npos);
        text.replace(at, 32, "5d41402abc4b2a76b9719d911017c592");
    }
    std::ofstream(script) << text;
    const auto run = [&](const std::string& mirrors) {
        ProcessOptions options;
        options.environment["DIFFUSION_MIRRORS"] = mirrors;
        return run_program({"/bin/sh", script.string(), "mnist", (temp / "to").string()}, options);
    };
    const std::string bad = "file://" + (temp / "bad").string();
    const std::string good = "file://" + (temp / "good").string();

    ProcessResult r = run("file:///nowhere " + bad);
    CHECK(r.exit_code == 1);
    CHECK(r.err.find("/nowhere: not fetched") != std::string::npos);
    CHECK(r.err.find("wrong checksum") != std::string::npos);
    CHECK(r.err.find("mnist is not complete") != std::string::npos);
    CHECK(names_in(temp / "to") == std::set<std::string>{files[2]});  // and no temporary files
    CHECK(content(temp / "to/" / files[2]) == "old");

    r = run(bad + " " + good);
    CHECK(r.exit_code == 0);
    CHECK(names_in(temp / "to") == std::set<std::string>(std::begin(files), std::end(files)));
    for (const char* file : files) CHECK(content(temp / "to/" / file) == "hello");

    r = run("file:///nowhere");  // everything is there: nothing is fetched
    CHECK(r.exit_code == 0);
    CHECK(r.err == "");
}

TEST_CASE("download.sh refuses unknown sets with a usage line and status 2") {
    for (const char* arguments : {"", " emnist", " mnist a b"}) {
        const ProcessResult r = run_program({"/bin/sh", "-c", "'" + kScript + "'" + arguments});
        CHECK(r.exit_code == 2);
        CHECK(r.err == "usage: data/download.sh mnist|fashion|cifar10 [FOLDER]\n");
    }
}

TEST_SUITE_END();
