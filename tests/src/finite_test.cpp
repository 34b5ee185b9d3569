// What is not finite never goes out: not as a number in a table, not as a picture.
#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <limits>

#include "io/csv.hpp"
#include "io/files.hpp"
#include "io/image.hpp"
#include "io/json.hpp"
#include "io/run_folder.hpp"
#include "support/file_checks.hpp"
#include "support/temporary_folder.hpp"

using namespace diffusion;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

}  // namespace

TEST_SUITE_BEGIN("src io");

TEST_CASE("a table takes no number that is not finite, and names its column") {
    const TemporaryFolder folder;
    CsvWriter table(folder / "x.csv", {"step", "loss"});
    table.row({1, 2});
    CHECK(contains(error_of([&] {
                       table.row({2, kNan});
                   }),
                   (folder / "x.csv").string() + ": the number \"loss\" would be nan; it is not"));
    CHECK(contains(error_of([&] { table.row({-kInfinity, 1}); }), "\"step\" would be -inf"));
    CHECK(read_csv(folder / "x.csv").rows.size() == 1);
}

TEST_CASE("JSON takes none, however deep it lies, and the old file stays") {
    const TemporaryFolder folder;
    write_json(folder / "x.json", {{"a", 1.5}, {"b", nlohmann::json::object()}});
    CHECK(contains(error_of([&] {
                       write_json(folder / "x.json", {{"scores", {{"sure", {1.0, kInfinity}}}}});
                   }),
                   "x.json: the number /scores/sure/1 would be inf; it is not written"));
    CHECK(read_json(folder / "x.json").at("a") == 1.5);
}

TEST_CASE("run.json takes none, and its name is told") {
    const TemporaryFolder folder;
    RunFolder run(folder / "out", "01_x", "x");
    CHECK(contains(error_of([&] { run.number("sure", kNan); }),
                   "run.json: the number 'sure' would be nan; it is not written"));
    run.finish(1);
    CHECK(read_json(folder / "out" / "run.json").at("numbers").empty());
}

TEST_CASE("no picture is drawn of numbers that are not finite; the message counts them from 1") {
    std::array<float, 12> x{};
    const Tensor<const float> pictures(x.data(), {3, 2, 2, 1});
    CHECK(image_grid(pictures, 3).pixels.size() > 0);
    for (const double odd : {kNan, kInfinity, -kInfinity}) {
        x[9] = static_cast<float>(odd);
        const std::string message = error_of([&] { image_grid(pictures, 3); });
        CAPTURE(message);
        CHECK(contains(message, "drawing: picture 3 of 3 would have "));
        CHECK(contains(message, " as number 1; it is not written"));
        CHECK(contains(error_of([&] { to_image(pictures[2]); }), "picture 1 of 1"));
    }
}

TEST_SUITE_END();
