// What an earlier run left is kept when another one begins, whenever that is killed.
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <string>

#include "io/files.hpp"
#include "io/set_aside.hpp"
#include "support/file_checks.hpp"
#include "support/process.hpp"
#include "support/temporary_folder.hpp"

using namespace diffusion;
namespace fs = std::filesystem;

namespace {

const std::array<std::string, 4> kNames = {"state", "unet", "log", "missing"};

/// A run's files, and one that is no run's.
void put_run(const fs::path& folder, const std::string& text) {
    fs::create_directories(folder / "unet");
    put_text(folder / "state", text);
    put_text(folder / "unet" / "weights", text);
    put_text(folder / "log", text);
    put_text(folder / "mine", "mine");
}

void check_run(const fs::path& folder, const std::string& text) {
    CHECK(get_text(folder / "state") == text);
    CHECK(get_text(folder / "unet" / "weights") == text);
    CHECK(get_text(folder / "log") == text);
}

}  // namespace

TEST_SUITE_BEGIN("src io");

TEST_CASE(
    "an earlier run's files move into earlier_1, the next one's into earlier_2, others stay") {
    const TemporaryFolder folder;
    CHECK(set_aside(folder.path(), kNames).empty());
    for (const std::string count : {"1", "2"}) {
        put_run(folder.path(), count);
        CHECK(set_aside(folder.path(), kNames) == folder / ("earlier_" + count));
    }
    check_run(folder / "earlier_1", "1");
    check_run(folder / "earlier_2", "2");
    CHECK(get_text(folder / "mine") == "mine");
    for (const std::string& name : kNames) CHECK(!fs::exists(folder / name));
    CHECK(!fs::exists(folder / "earlier_3"));
}

TEST_CASE("a move that was cut short is undone, whatever was moved already") {
    for (std::size_t moved = 0; moved <= 3; ++moved) {
        CAPTURE(moved);
        const TemporaryFolder folder;
        put_run(folder.path(), "x");
        fs::create_directories(folder / "earlier_1");
        fs::create_directories(folder / "earlier_2.part");
        for (std::size_t i = 0; i < moved; ++i)
            fs::rename(folder / kNames[i], folder / "earlier_2.part" / kNames[i]);
        put_back(folder.path());
        check_run(folder.path(), "x");
        CHECK(!fs::exists(folder / "earlier_2.part"));
        CHECK(set_aside(folder.path(), kNames) == folder / "earlier_2");
        check_run(folder / "earlier_2", "x");
    }
}

TEST_CASE(
    "a move that was cut short is completed where files of the same names were written since") {
    const TemporaryFolder folder;
    put_run(folder / "earlier_1.part", "old");
    put_run(folder.path(), "new");
    put_back(folder.path());
    check_run(folder.path(), "new");
    CHECK(!fs::exists(folder / "earlier_1.part"));
    bool found = false;
    for (const std::string name : {"earlier_1", "earlier_2"}) {
        if (!fs::exists(folder / name)) continue;
        check_run(folder / name, "old");
        found = true;
    }
    CHECK(found);
}

TEST_CASE("a folder is locked for one program at a time, until that ends") {
    const TemporaryFolder folder;
    const auto other = [&] {  // another process: it gets the lock, or says why not
        return run_child([&] {
            const FolderLock lock(folder.path());
            return 0;
        });
    };
    {
        const FolderLock lock(folder.path());
        const ProcessResult refused = other();
        CHECK(refused.exit_code != 0);
        CHECK(contains(refused.err, folder.path().string() +
                                        ": another program is at work here; wait for it, or "
                                        "choose another folder with --out"));
    }
    CHECK(other().exit_code == 0);
}

TEST_CASE("temporary files of killed programs are removed, those of living ones and others stay") {
    const TemporaryFolder folder;
    const pid_t dead = fork();
    if (dead == 0) _exit(0);
    waitpid(dead, nullptr, 0);
    const std::string left = ".write-" + std::to_string(dead) + "-3.tmp",
                      living = ".write-" + std::to_string(getpid()) + "-3.tmp";
    for (const std::string& name : {left, living, std::string("notes.tmp")})
        put_text(folder / name, "x");
    remove_leftovers(folder.path());
    CHECK(!fs::exists(folder / left));
    CHECK(fs::exists(folder / living));
    CHECK(fs::exists(folder / "notes.tmp"));
    remove_leftovers(folder / "no folder");
}

TEST_SUITE_END();
