// Files, JSON and CSV: what is written comes back, and what goes wrong harms nothing.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "io/csv.hpp"
#include "io/files.hpp"
#include "io/json.hpp"
#include "support/file_checks.hpp"
#include "support/temporary_folder.hpp"
#include "tensor/random.hpp"

using namespace diffusion;
namespace fs = std::filesystem;

namespace {

/// While it lives, no file can grow beyond `bytes`: a disk that fills up in the middle of a write.
class FileSizeLimit {
public:
    explicit FileSizeLimit(rlim_t bytes) : handler_(signal(SIGXFSZ, SIG_IGN)) {
        getrlimit(RLIMIT_FSIZE, &old_);
        const rlimit limit{bytes, old_.rlim_max};
        setrlimit(RLIMIT_FSIZE, &limit);
    }
    ~FileSizeLimit() {
        setrlimit(RLIMIT_FSIZE, &old_);
        signal(SIGXFSZ, handler_);
    }
    FileSizeLimit(const FileSizeLimit&) = delete;
    FileSizeLimit& operator=(const FileSizeLimit&) = delete;

private:
    void (*handler_)(int);
    rlimit old_{};
};

void write_text(const fs::path& path, std::string_view text) {
    write_file_atomically(path, std::as_bytes(std::span(text)));
}

std::ptrdiff_t files_in(const fs::path& folder) {
    return std::distance(fs::directory_iterator(folder), fs::directory_iterator());
}

}  // namespace

TEST_SUITE_BEGIN("src io");

TEST_CASE("a file is replaced as a whole and reads back byte for byte") {
    const TemporaryFolder folder;
    const fs::path path = folder / "a file \xC3\xA9.bin";
    const std::string all_bytes = [] {
        std::string text;
        for (int i = 0; i < 70000; ++i) text += static_cast<char>(i * i);
        return text;
    }();
    for (const std::string& text :
         {std::string("first"), all_bytes, std::string("x"), std::string()}) {
        write_text(path, text);
        CHECK(get_text(path) == text);
        CHECK(as_text(read_file(path)) == text);
        CHECK(files_in(folder.path()) == 1);  // no temporary file stays behind
    }
}

TEST_CASE("a write that fails half-way keeps the old file and removes the temporary one") {
    const TemporaryFolder folder;
    const fs::path path = folder / "model.bin";
    write_text(path, "old");
    std::string message;
    {
        const FileSizeLimit limit(4096);
        message = error_of([&] { write_text(path, std::string(100000, 'n')); });
    }
    CHECK(contains(message, path.string() + ": cannot write 100000 bytes: "));
    CHECK(contains(message, "the old file is unchanged"));
    CHECK(get_text(path) == "old");
    CHECK(files_in(folder.path()) == 1);
    write_text(path, "new");
    CHECK(get_text(path) == "new");
}

TEST_CASE("a path that cannot be written is named, with the system's reason") {
    const TemporaryFolder folder;
    put_text(folder / "file", "kept");
    const auto message = [&](const std::string& name) {
        return error_of([&] { write_text(folder / name, "x"); });
    };
    CHECK(contains(message("file/below"), "Not a directory"));  // fails for root as well
    CHECK(contains(message("missing/below"), "missing: No such file or directory"));
    CHECK(contains(message("."), "a folder or device has this name"));
    CHECK(contains(message(std::string(300, 'n')), "File name too long"));
    CHECK(contains(error_of([] { write_text("/dev/null", "x"); }), "/dev/null: cannot write"));
    CHECK(get_text(folder / "file") == "kept");
    CHECK(files_in(folder.path()) == 1);
}

TEST_CASE("a symbolic link is followed to its file and stays a link") {
    const TemporaryFolder folder;
    fs::create_directory(folder / "disk");
    put_text(folder / "disk/model", "old");
    fs::create_symlink("disk/model", folder / "model");
    write_text(folder / "model", "new");
    CHECK(fs::is_symlink(folder / "model"));
    CHECK(get_text(folder / "disk/model") == "new");
}

TEST_CASE("a path that cannot be read is named") {
    const TemporaryFolder folder;
    REQUIRE(mkfifo((folder / "pipe").c_str(), 0600) == 0);
    const auto message = [&](const std::string& name) {
        return error_of([&] { read_file(folder / name); });
    };
    CHECK(contains(message("missing"), "missing: cannot read: No such file or directory"));
    CHECK(contains(message("."), "not a regular file"));
    CHECK(contains(message("pipe"), "not a regular file"));  // and does not wait for a writer
}

TEST_CASE("JSON: damaged, ambiguous or endless input is one line that names the file") {
    const TemporaryFolder folder;
    const auto message = [&](const std::string& text) {
        put_text(folder / "x.json", text);
        return error_of([&] { read_json(folder / "x.json"); });
    };
    CHECK(message(R"({"a": {"b": 1}, "c": {"b": 2}})") == "no error");
    CHECK(contains(message(R"({"a": 1, "a": 2})"), "x.json: key \"a\" occurs twice"));
    CHECK(contains(message(R"({"o": {"\n": 1, "\n": 2}})"), R"(key "\n" occurs twice)"));
    for (const char* text : {"", "{", "{\"a\": }", "{\"a\": 1}\n x", "\"\xFF\"", "nul"}) {
        CAPTURE(text);
        CHECK(contains(message(text), "x.json: not valid JSON"));
    }
    CHECK(contains(message(std::string(100000, '[')), "nested more than 64 deep"));
    CHECK(message("\"" + std::string(100000, 'a')).size() < 400);
    CHECK(
        contains(error_of([&] { write_json(folder / "y.json", "\xFF"); }), "y.json: cannot write"));
    CHECK(in_quotes("a\nb\xFF") == "\"a\\nb\xEF\xBF\xBD\"");
    CHECK(in_quotes(std::string(81, 'a')) == '"' + std::string(80, 'a') + "..\"");
}

TEST_CASE("numbers are written with the fewest digits that read back as the same double") {
    CHECK(shortest(0.1) == "0.1");
    CHECK(shortest(60000) == "60000");
    CHECK(shortest(1e6) == "1000000");
    CHECK(shortest(-3) == "-3");
    CHECK(shortest(0) == "0");
    CHECK(shortest(1e-5) == "1e-05");
    CHECK(shortest(1e300) == "1e+300");
    CHECK(shortest(std::nan("")) == "nan");
    CHECK(shortest(-std::numeric_limits<double>::infinity()) == "-inf");
    Random random(1, Purpose::test);
    for (int i = 0; i < 10000; ++i) {
        std::uint64_t bits = random.bits();
        bits = bits << 32 | random.bits();
        double x, back;
        std::memcpy(&x, &bits, 8);
        if (std::isnan(x)) continue;
        back = std::strtod(shortest(x).c_str(), nullptr);
        CHECK(std::memcmp(&x, &back, 8) == 0);
    }
}

TEST_CASE("CSV: rows come back, and a log can be continued") {
    const TemporaryFolder folder;
    const fs::path path = folder / "train.csv";
    {
        CsvWriter log(path, {"step", "loss"});
        log.row({1, 0.5});
        CHECK(get_text(path) == "step,loss\n1,0.5\n");  // flushed while the writer lives
    }
    CsvWriter(path, {"step", "loss"}, true).row({2, 0.25});
    CHECK(get_text(path) == "step,loss\n1,0.5\n2,0.25\n");
    put_text(path, "step,loss\n1,0.5\n2,0.2");  // killed in the middle of a row
    CsvWriter(path, {"step", "loss"}, true).row(std::vector<double>{2, 0.125});
    const CsvTable table = read_csv(path);
    CHECK(table.columns == std::vector<std::string>{"step", "loss"});
    CHECK(table.rows == std::vector<std::vector<double>>{{1, 0.5}, {2, 0.125}});
    CsvWriter(folder / "new.csv", {"x"}, true).row({7});
    CHECK(get_text(folder / "new.csv") == "x\n7\n");
    CsvWriter(path, {"only"});
    CHECK(get_text(path) == "only\n");
}

TEST_CASE("CSV: rows after the step to resume from are dropped, earlier ones kept as they are") {
    const TemporaryFolder folder;
    const fs::path path = folder / "train.csv";
    put_text(path, "images,step\r\n10,1\n20,2.0\n30,3\n15,nan\n40,4");
    keep_csv_rows(path, 1, 2);
    CHECK(get_text(path) == "images,step\r\n10,1\n20,2.0\n15,nan\n");
    const auto before = fs::last_write_time(path);
    keep_csv_rows(path, 1, 2);
    CHECK(fs::last_write_time(path) == before);  // nothing to drop, nothing written
    keep_csv_rows(folder / "missing.csv", 0, 1);
    CHECK(!fs::exists(folder / "missing.csv"));
    CHECK(contains(error_of([&] { keep_csv_rows(path, 2, 1); }), "train.csv: line 1: 2 fields"));
    CHECK(contains(error_of([&] { keep_csv_rows(path, -1, 1); }), "column -1"));
    put_text(path, "step\none\n");
    CHECK(contains(error_of([&] { keep_csv_rows(path, 0, 1); }), "line 2: expected a number"));
}

TEST_CASE("CSV: bad tables and bad rows are named with their line") {
    const TemporaryFolder folder;
    const fs::path path = folder / "t.csv";
    const auto read = [&](const std::string& text) {
        put_text(path, text);
        return error_of([&] { read_csv(path); });
    };
    CHECK(read("a,b\r\n1,-inf\r\n") == "no error");
    CHECK(contains(read(""), "t.csv: empty"));
    CHECK(contains(read("a,b\n1,2\n3\n"), "line 3: 1 fields, but there are 2 columns"));
    CHECK(contains(read("a,b\n1,\n"), "line 2: expected a number, found \"\""));
    CHECK(contains(read("a,b\n1,2x\n"), "found \"2x\""));
    CHECK(contains(error_of([&] {
                       CsvWriter(path, {"a"}).row({1, 2});
                   }),
                   "2 numbers for 1 columns"));
    CHECK(contains(error_of([&] { CsvWriter(path, {"a,b"}); }), "column name"));
    CHECK(contains(error_of([&] { CsvWriter(path, {}); }), "at least one column"));
    put_text(path, "a,b\n1,2\n");
    CHECK(contains(error_of([&] { CsvWriter(path, {"a", "c"}, true); }), "expected \"a,c\""));
    CHECK(get_text(path) == "a,b\n1,2\n");
    CHECK(contains(error_of([&] { CsvWriter(path / "below", {"a"}); }), "Not a directory"));
}

TEST_CASE("CSV: a full disk is an error, and the complete rows stay readable") {
    const TemporaryFolder folder;
    const fs::path path = folder / "t.csv";
    std::string message;
    {
        const FileSizeLimit limit(1000);
        CsvWriter log(path, {"step"});
        message = error_of([&] {
            for (int i = 0; i < 1000; ++i) log.row({100.0 + i});
        });
    }
    CHECK(contains(message, "t.csv: cannot write a row: "));
    keep_csv_rows(path, 0, 1e9);
    CHECK(read_csv(path).rows.size() == (1000 - 5) / 4);
}
