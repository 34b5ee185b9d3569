// Run folders and the page made from them.
#include <doctest/doctest.h>

#include "io/gallery.hpp"
#include "io/json.hpp"
#include "io/run_folder.hpp"
#include "support/file_checks.hpp"
#include "support/temporary_folder.hpp"

using namespace diffusion;
namespace fs = std::filesystem;

TEST_SUITE_BEGIN("src io");

TEST_CASE("run.json holds what the run said, the later of two entries of one name") {
    const TemporaryFolder folder;
    RunFolder run(folder / "out/01_x", "01_x", "First steps");
    run.picture("a.png", "early");
    run.number("loss", 0.5, "bits");
    run.picture("b.png", "other");
    run.picture("a.png", "late");
    run.number("loss", 0.25);
    run.setting("steps", 1000);
    run.setting("name", "x");
    CHECK(run.path("sub/a.png") == folder / "out/01_x/sub/a.png");
    CHECK(!fs::exists(folder / "out/01_x/run.json"));
    run.finish(12.5);
    CHECK(read_json(folder / "out/01_x/run.json") == nlohmann::json::parse(R"({
        "chapter": "01_x", "title": "First steps", "seconds": 12.5,
        "settings": {"name": "x", "steps": 1000},
        "numbers": [{"name": "loss", "value": 0.25, "note": ""}],
        "pictures": [{"file": "a.png", "caption": "late"}, {"file": "b.png", "caption": "other"}]})"));
}

TEST_CASE("a run with other settings keeps the earlier one's pictures and tables aside") {
    const TemporaryFolder folder;
    const fs::path out = folder / "out";
    const auto run = [&](int seed, bool finishes) {
        RunFolder one(out, "05_x", "X");
        one.setting("seed", seed);
        one.begin();
        put_text(one.path("faults.csv"), std::to_string(seed));
        if (finishes) put_text(one.path("bias.csv"), std::to_string(seed));
        if (finishes) one.finish(1);
    };
    run(1, true);
    put_text(out / "classifier.safetensors", "what it learned");
    put_text(out / "notes.txt", "mine");
    run(1, true);  // the same again
    CHECK(!fs::exists(out / "earlier_1"));
    run(2, false);  // and one that is cut short
    CHECK(get_text(out / "earlier_1" / "faults.csv") == "1");
    CHECK(get_text(out / "earlier_1" / "bias.csv") == "1");
    CHECK(read_json(out / "earlier_1" / "run.json").at("seconds") == 1);
    CHECK(!fs::exists(out / "bias.csv"));
    CHECK(fs::exists(out / "classifier.safetensors"));
    CHECK(fs::exists(out / "notes.txt"));
    run(3, true);
    CHECK(get_text(out / "earlier_2" / "faults.csv") == "2");
    CHECK(get_text(out / "bias.csv") == "3");

    CHECK(contains(error_of([&] { RunFolder(out, "06_y", "Y"); }),
                   out.string() + ": holds a run of \"05_x\"; choose another folder with --out"));
    RunFolder at_work(out, "05_x", "X");
    CHECK(contains(error_of([&] { RunFolder(out, "05_x", "X"); }), "another program is at work"));
}

TEST_CASE("a folder that cannot be made or written is an error at the start") {
    const TemporaryFolder folder;
    put_text(folder / "file", "");
    const auto message = [&](const fs::path& dir) {
        return error_of([&] { RunFolder(dir, "c", "t"); });
    };
    CHECK(contains(message(folder / "file/out"), "file/out: cannot create the output folder: "));
    CHECK(contains(message(folder / "file"), "file"));
    CHECK(message(folder / "file") != "no error");
    if (fs::exists("/proc/self")) CHECK(contains(message("/proc/self"), "/proc/self"));
    CHECK(message(folder / "new") == "no error");
    CHECK(fs::is_empty(folder / "new"));  // the trial file is gone
}

TEST_CASE("the gallery shows the runs in order of their folders, with links that work") {
    const TemporaryFolder folder;
    const auto run = [&](const std::string& name, const std::string& title) {
        return RunFolder(folder / name, "chapter of " + name, title);
    };
    RunFolder second = run("02_b & co", "Second <run>");
    second.picture("two words.png", "a \"caption\" & <more>");
    second.picture("gone.png", "not there");
    second.number("count", 60000);
    second.number("loss", 0.123456789, "nats");
    second.number("broken", -1);
    second.setting("sampler", "<ddim>");
    put_text(folder / "02_b & co/two words.png", "");
    second.finish(3.25);
    std::string text = get_text(folder / "02_b & co/run.json");  // another program's NaN
    text.replace(text.find("-1.0"), 4, "null");
    put_text(folder / "02_b & co/run.json", text);
    run("01_a", "First").finish(1);
    run("03_unfinished", "Never");
    put_text(folder / "notes.txt", "");

    write_gallery(folder.path());
    const std::string page = get_text(folder / "index.html");
    CHECK(page.find("<h2>First</h2>") < page.find("<h2>Second &lt;run&gt;</h2>"));
    CHECK(contains(page, "<h2>Second"));
    CHECK(contains(page, "src=\"02_b%20%26%20co/two%20words.png\""));
    CHECK(contains(page, "alt=\"a &quot;caption&quot; &amp; &lt;more&gt;\""));
    CHECK(contains(page, "(gone.png is missing)"));
    CHECK(contains(page, ">60000<"));
    CHECK(contains(page, ">0.12346<"));
    CHECK(contains(page, ">not a number<"));
    CHECK(contains(page, "<td>&lt;ddim&gt;</td>"));
    CHECK(contains(page, "3.25 seconds"));
    CHECK(!contains(page, "Never"));
    CHECK(!contains(page, "http"));  // needs no network
    CHECK(contains(page, "prefers-color-scheme: dark"));
    CHECK(contains(page, "name=\"viewport\""));
}

TEST_CASE("a run may name a picture that no file can be named after: it is missing") {
    const TemporaryFolder folder;
    fs::create_directory(folder / "01_a");
    put_text(folder / "01_a/run.json",
             R"({"chapter": "c", "title": "t", "seconds": 1, "numbers": [], "settings": {},)"
             R"("pictures": [{"caption": "", "file": ")" +
                 std::string(300, 'x') + "\"}]}");
    write_gallery(folder.path());
    CHECK(contains(get_text(folder / "index.html"), "xxx is missing)"));
}

TEST_CASE("a gallery of nothing, or of a damaged run, is an error that names the place") {
    const TemporaryFolder folder;
    const auto message = [&](const std::string& name) {
        return error_of([&] { write_gallery(folder / name); });
    };
    CHECK(contains(message("missing"), "missing: cannot list the folder"));
    CHECK(contains(message("."), "no finished run here"));
    fs::create_directory(folder / "01_a");
    for (const char* text : {"{", "[]", "{}", "null", R"({"chapter": 1, "title": "t"})",
                             R"({"chapter": "c", "title": "t", "seconds": 1, "pictures": [{}],
                                 "numbers": [], "settings": {}})"}) {
        put_text(folder / "01_a/run.json", text);
        CAPTURE(text);
        CHECK(contains(message("."), "run.json: not "));
    }
    CHECK(!fs::exists(folder / "index.html"));
}
