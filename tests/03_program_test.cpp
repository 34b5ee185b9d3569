// Chapter 3: the program, from outside.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "io/csv.hpp"
#include "io/files.hpp"
#include "io/json.hpp"
#include "support/process.hpp"
#include "support/temporary_folder.hpp"

using namespace diffusion;

TEST_SUITE_BEGIN("ch03 cli");

TEST_CASE("the program writes its pictures and tables, the same ones each time") {
    const TemporaryFolder folder;
    std::filesystem::create_directory(folder / "data");
    for (const char* threads : {"1", "2"}) {
        const ProcessResult run =
            run_program({"03_reverse_process", "--preset", "smoke", "--threads", threads, "--out",
                         (folder / threads).string()},
                        {.folder = folder.path(),
                         .environment = {{"DIFFUSION_DATA", (folder / "data").string()}}});
        INFO(run.err);
        REQUIRE(run.exit_code == 0);
        CHECK(run.err.empty());
        CHECK(run.out.find("swiss_roll") != std::string::npos);
    }
    for (const char* file : {"flow.png", "flow.gif", "memory.png", "fields.csv", "densities.csv"})
        CHECK(read_file(folder / "1" / file) == read_file(folder / "2" / file));
    CHECK(read_csv(folder / "1" / "fields.csv").rows.size() == 4 * 2 * 16 * 16);
    const CsvTable densities = read_csv(folder / "1" / "densities.csv");
    REQUIRE(densities.rows.size() == 4);
    for (const std::vector<double>& row : densities.rows) {
        CHECK(row[2] > row[1] - 0.5);  // the exact score ends on the shape
        CHECK(row[3] < row[2]);        // 20 steps of learning do not
    }
    const nlohmann::json run = read_json(folder / "1" / "run.json");
    CHECK(run.at("pictures").size() == 3);
    const nlohmann::json& numbers = run.at("numbers");
    const auto number = [&](const std::string& name) {
        const auto found = std::ranges::find_if(
            numbers, [&](const nlohmann::json& n) { return n.at("name") == name; });
        REQUIRE(found != numbers.end());
        return found->at("value").get<double>();
    };
    CHECK(number("distance to the nearest training picture") < 0.02);  // memorised
    CHECK(number("bits a pixel, remembered digits") < 1);
    CHECK(number("bits a pixel, other digits") > 8);  // worse than the bytes as they are
}

TEST_CASE("wrong arguments end with 2, wrong data with 1, each with one line") {
    const TemporaryFolder folder;
    const auto fails = [&](std::vector<std::string> more, int code, const std::string& text) {
        std::vector<std::string> arguments = {"03_reverse_process", "--preset", "smoke", "--out",
                                              (folder / "x").string()};
        arguments.insert(arguments.end(), more.begin(), more.end());
        const ProcessResult run = run_program(arguments);
        CAPTURE(run.err);
        CHECK(run.exit_code == code);
        CHECK(std::count(run.err.begin(), run.err.end(), '\n') == 1);
        CHECK(run.err.find(text) != std::string::npos);
    };
    fails({"--no-such-flag"}, 2, "--no-such-flag");
    fails({"--seed", "-1"}, 2, "--seed");
    fails({"--data", (folder / "nothing").string()}, 1, "--data names this folder");
}

TEST_SUITE_END();
