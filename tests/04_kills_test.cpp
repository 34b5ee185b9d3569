// Chapter 4: kill -9 at random moments of a training. What is left is gone on with, to the same
// bits as a run that was never killed.
#include <doctest/doctest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "io/csv.hpp"
#include "io/files.hpp"
#include "io/safetensors.hpp"
#include "support/file_checks.hpp"
#include "support/noise_image.hpp"
#include "support/process.hpp"
#include "support/temporary_folder.hpp"
#include "tensor/random.hpp"

using namespace diffusion;

namespace {

namespace fs = std::filesystem;

constexpr int kSteps = 24;
const std::vector<std::string> kFiles = {
    "state.safetensors", "loss_by_t.csv",    "progress.png",
    "model_index.json",  "unet/config.json", "unet/diffusion_pytorch_model.safetensors"};

bool is_writing(const fs::path& out) {
    std::error_code ignored;  // files come and go meanwhile
    for (fs::recursive_directory_iterator it(out, ignored), end; it != end; it.increment(ignored)) {
        if (it->path().extension() == ".tmp") return true;
    }
    return false;
}

/// A training that saves after every step; killed after `seconds`, if that is not 0, or with
/// `in_writing` when the next file is being written.
ProcessResult train(const fs::path& out, const std::string& data, bool resume, double seconds,
                    bool in_writing = false) {
    std::vector<std::string> arguments = {
        "04_unet", "train",      "--preset",  "smoke",    "--batch",
        "4",       "--base",     "8",         "--images", std::to_string(4 * kSteps),
        "--out",   out.string(), "--dataset", data,       "--save-every",
        "1"};
    if (resume) arguments.push_back("--resume");
    ProcessOptions options{.send_signal = seconds > 0 ? SIGKILL : 0, .signal_after = seconds};
    if (in_writing) options.signal_if = [&] { return is_writing(out); };
    return run_program(arguments, options);
}

/// What a kill met: told from what it left.
struct Tally {
    int before_state = 0, writing = 0, between = 0;
};

/// Whole rows of a table whose last one may be cut short.
std::ptrdiff_t rows_of(const fs::path& path) {
    const std::vector<std::byte> bytes = read_file(path);
    return std::ranges::count(as_text(bytes), '\n') - 1;
}

void kill_and_resume(int kills) {
    const TemporaryFolder folder;
    fs::create_directory(folder / "data");
    for (std::uint32_t i = 0; i < 6; ++i)
        write_png(folder / "data" / (std::to_string(i) + ".png"), noise(12, 8, 1, 256, i));
    const std::string data = "folder:" + (folder / "data").string();
    const auto begun = std::chrono::steady_clock::now();
    const ProcessResult whole = train(folder / "whole", data, false, 0);
    INFO(whole.err);
    REQUIRE(whole.exit_code == 0);
    double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
    Random random(1, Purpose::test, 77);
    Tally tally;
    for (int k = 0; k < kills; ++k) {
        CAPTURE(k);
        const fs::path out = folder / ("killed" + std::to_string(k));
        ProcessResult killed;
        for (;;) {  // until the kill comes before the end
            killed = train(out, data, false, seconds * random.uniform(), k % 2 == 1);
            if (killed.ended_by == SIGKILL) break;
            REQUIRE(killed.exit_code == 0);
            seconds *= 0.8;
            fs::remove_all(out);
        }
        if (!fs::exists(out / "state.safetensors")) {
            ++tally.before_state;
        } else {
            ++(is_writing(out) ? tally.writing : tally.between);
            if (rows_of(out / "train.csv") > 1) {  // a checkpoint was written
                const ProcessResult drawn =
                    run_program({"04_unet", "sample", "--model", out.string(), "--n", "1",
                                 "--steps", "1", "--out", (folder / "drawn").string()});
                INFO(drawn.err);
                CHECK(drawn.exit_code == 0);
            }
        }
        const ProcessResult resumed = train(out, data, true, 0);
        INFO(resumed.err);
        REQUIRE(resumed.exit_code == 0);
        for (const std::string& file : kFiles) {
            CAPTURE(file);
            CHECK(read_file(out / file) == read_file(folder / "whole" / file));
        }
        CHECK(read_csv(out / "train.csv").rows.size() == kSteps);
        CHECK(!is_writing(out));
    }
    if (kills >= 50) CHECK(tally.writing >= 5);  // of 25 that aim at it
    MESSAGE(kills, " kills: ", tally.before_state, " before the first state, ", tally.writing,
            " while a file was written, ", tally.between, " at other times");
}

}  // namespace

TEST_SUITE_BEGIN("ch04 cli");

TEST_CASE("killed at random moments, a training goes on to the same bits") {
    kill_and_resume(3);
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("ch04 slow");

TEST_CASE("killed at 50 random moments, a training goes on to the same bits") {
    kill_and_resume(50);
}

TEST_SUITE_END();
