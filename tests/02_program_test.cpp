// Chapter 2: the program, from outside.
#include <doctest/doctest.h>

#include <string>

#include "io/csv.hpp"
#include "io/files.hpp"
#include "support/process.hpp"
#include "support/temporary_folder.hpp"

using namespace diffusion;

TEST_SUITE_BEGIN("ch02 cli");

TEST_CASE("the program checks its gradients and writes its pictures, the same ones each time") {
    const TemporaryFolder folder;
    for (const char* threads : {"1", "2"}) {
        const ProcessResult run = run_program({"02_gradients", "--preset", "smoke", "--threads",
                                               threads, "--out", (folder / threads).string()});
        INFO(run.err);
        REQUIRE(run.exit_code == 0);
        CHECK(run.out.find("cross_entropy") != std::string::npos);
    }
    for (const char* file : {"fit.png", "learning.gif", "loss.csv", "vjps.csv"}) {
        CHECK(read_file(folder / "1" / file) == read_file(folder / "2" / file));
    }
    const CsvTable loss = read_csv(folder / "1" / "loss.csv");
    CHECK(loss.rows.size() == 40);
    CHECK(loss.rows.back()[2] < loss.rows.front()[2]);
    CHECK(run_program({"02_gradients", "--no-such-flag"}).exit_code == 2);
}

TEST_SUITE_END();
