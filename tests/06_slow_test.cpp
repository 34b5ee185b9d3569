// What lesson 5.9 and 6.7 say of chapter 4's `standard` model, from training to score: 10 minutes.
#include <doctest/doctest.h>

#include "data/find.hpp"
#include "io/json.hpp"
#include "support/file_checks.hpp"
#include "support/process.hpp"
#include "support/temporary_folder.hpp"

using namespace diffusion;

TEST_SUITE_BEGIN("ch06 slow");

TEST_CASE("a standard model draws digits that can be read, and finds its way back to given ones") {
    if (find_dataset("mnist", "", true).name != "mnist") {
        MESSAGE("not checked: MNIST is not here");
        return;
    }
    const TemporaryFolder folder;
    const auto run = [&](std::vector<std::string> arguments, const std::string& out) {
        arguments.insert(arguments.end(), {"--out", (folder / out).string()});
        const ProcessResult result = run_program(arguments, {.time_limit = 3600});
        INFO(result.err);
        REQUIRE(result.exit_code == 0);
    };
    run({"04_unet", "train", "--preset", "standard"}, "04_unet");
    run({"06_ddim", "sample", "--sampler", "dpmpp2m", "--steps", "15", "--n", "2000"}, "06_ddim");
    run({"05_measuring", "score", "--samples", (folder / "06_ddim" / "samples.idx").string()},
        "05_measuring");
    const nlohmann::json score = read_json(folder / "05_measuring" / "score.json");
    CHECK(score["scores"]["sure"] > 0.84);  // 0.85 less one standard error
    CHECK(score["scores"]["near_copies"] < 0.02);
    CHECK(score["scores"]["frechet"] < 8 * score["frechet_floor"].get<double>());
    run({"06_ddim", "invert", "--steps", "100"}, "06_ddim");
    for (const nlohmann::json& number : read_json(folder / "06_ddim" / "run.json")["numbers"]) {
        if (number["name"] == "inversion: mean absolute error") CHECK(number["value"] < 0.02);
    }
}

TEST_SUITE_END();
