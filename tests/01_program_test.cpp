// Chapter 1: the program, from outside.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "01_forward_noising/schedule.hpp"
#include "io/csv.hpp"
#include "io/files.hpp"
#include "io/image.hpp"
#include "io/json.hpp"
#include "support/process.hpp"
#include "support/temporary_folder.hpp"

using namespace diffusion;

TEST_SUITE_BEGIN("ch01 cli");

TEST_CASE("the program writes its pictures and tables, the same ones each time") {
    const TemporaryFolder folder;
    const std::vector<std::string> base = {
        "01_forward_noising", "--preset", "smoke", "--dataset", "builtin", "--steps", "50"};
    for (const char* name : {"a", "b"}) {
        std::vector<std::string> arguments = base;
        arguments.insert(arguments.end(), {"--out", (folder / name).string(), "--threads",
                                           name[0] == 'a' ? "1" : "2"});
        const ProcessResult run = run_program(arguments);
        INFO(run.err);
        REQUIRE(run.exit_code == 0);
        CHECK(run.err.empty());
        CHECK(run.out.find("scaled_linear") != std::string::npos);
    }
    for (const char* file :
         {"filmstrip.png", "mistakes.png", "schedules.csv", "variance.csv", "histogram.csv"})
        CHECK(read_file(folder / "a" / file) == read_file(folder / "b" / file));
    const Image film = read_image(folder / "a" / "filmstrip.png");
    CHECK(film.width > 11 * 3 * 28);
    CHECK(film.height > 4 * 3 * 28);
    const CsvTable table = read_csv(folder / "a" / "schedules.csv");
    REQUIRE(table.rows.size() == 50);
    REQUIRE(table.columns.size() == 13);
    CHECK(table.columns[8] == "cosine_abar");
    CHECK(table.rows[24][8] == make_schedule("cosine", 50).alpha_bar[25]);
    CHECK(read_json(folder / "a" / "run.json").at("pictures").size() == 2);
}

TEST_CASE("wrong arguments end with 2, wrong data with 1, each with one line") {
    const TemporaryFolder folder;
    const auto fails = [&](std::vector<std::string> more, int code) {
        std::vector<std::string> arguments = {"01_forward_noising", "--preset", "smoke", "--out",
                                              (folder / "x").string()};
        arguments.insert(arguments.end(), more.begin(), more.end());
        const ProcessResult run = run_program(arguments);
        CHECK(run.exit_code == code);
        CHECK(std::count(run.err.begin(), run.err.end(), '\n') == 1);
    };
    fails({"--no-such-flag"}, 2);
    fails({"--steps", "many"}, 2);
    fails({"--dataset", "builtin", "--steps", "5"}, 2);
    fails({"--index", "-1"}, 2);
    fails({"--dataset", "builtin", "--index", "99999999"}, 1);
    fails({"--dataset", "folder:/no/such/folder"}, 1);
}

TEST_CASE("a senseless OMP_NUM_THREADS is told in one line") {
    const ProcessResult run = run_program({"01_forward_noising", "--preset", "smoke"},
                                          {.environment = {{"OMP_NUM_THREADS", "100000"}}});
    CHECK(run.exit_code == 1);
    CHECK(run.err ==
          "01_forward_noising: OMP_NUM_THREADS: expected at most 1024 threads, got 100000\n");
}

TEST_CASE("threads that wait give their core away, unless OpenMP's own variables say otherwise") {
    const auto policy = [](std::vector<std::string> variables) {
        std::vector<std::string> arguments = {"/usr/bin/env", "-u", "OMP_WAIT_POLICY"};
        arguments.insert(arguments.end(), variables.begin(), variables.end());
        arguments.insert(arguments.end(),
                         {"OMP_DISPLAY_ENV=true",
                          std::string(DIFFUSION_BIN_DIR) + "/01_forward_noising", "--help"});
        const ProcessResult run = run_program(arguments);
        CHECK(run.exit_code == 0);
        return run.err;
    };
    if (policy({}).empty()) return;  // a build without OpenMP
    CHECK(policy({}).find("OMP_WAIT_POLICY = 'PASSIVE'") != std::string::npos);
    CHECK(policy({"OMP_WAIT_POLICY=active"}).find("'PASSIVE'") == std::string::npos);
}

TEST_SUITE_END();
