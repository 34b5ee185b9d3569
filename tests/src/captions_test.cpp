// Captions of a folder's pictures.
#include "data/captions.hpp"

#include <doctest/doctest.h>

#include "data/image_folder.hpp"
#include "io/image.hpp"
#include "support/file_checks.hpp"
#include "support/temporary_folder.hpp"

using namespace diffusion;
namespace fs = std::filesystem;

namespace {

/// A folder with a.png, b.png and so on, all alike.
struct Pictures {
    TemporaryFolder folder;
    std::vector<fs::path> paths;

    explicit Pictures(int count) {
        for (int i = 0; i < count; ++i) {
            paths.push_back(folder / (std::string(1, static_cast<char>('a' + i)) + ".png"));
            write_png(paths.back(), {1, 1, 1, {7}});
        }
    }
    std::vector<std::string> captions() const { return read_captions(folder.path(), paths); }
    std::string error() const {
        return error_of([&] { captions(); });
    }
};

std::vector<std::vector<std::string>> fields_of(std::string_view text) {
    std::vector<std::vector<std::string>> fields;
    for (TextRow& row : split_texts(text, "x")) fields.push_back(std::move(row.fields));
    return fields;
}

}  // namespace

TEST_SUITE_BEGIN("src io");

TEST_CASE("a table of texts is split as RFC 4180 says") {
    using Rows = std::vector<std::vector<std::string>>;
    CHECK(fields_of("") == Rows{});
    CHECK(fields_of("a,b\n1,2") == Rows{{"a", "b"}, {"1", "2"}});
    CHECK(fields_of("a,b\r\n1,2\r\n") == Rows{{"a", "b"}, {"1", "2"}});
    CHECK(fields_of("\"a,b\",\"say \"\"no\"\"\"\n\"two\nlines\",\n") ==
          Rows{{"a,b", "say \"no\""}, {"two\nlines", ""}});
    CHECK(fields_of("a,\n\n,b\n,") == Rows{{"a", ""}, {"", "b"}, {"", ""}});
    CHECK(fields_of("5\" wide,\"\"\r\n") == Rows{{"5\" wide", ""}});
    CHECK(split_texts("a\n\"b\nc\"\nd", "x").back().line == 4);
    for (const std::string text : {"plain", "a,b", "\"", "two\nlines", ""})
        CHECK(fields_of(as_field(text) + ",x") == Rows{{text, "x"}});
    CHECK(error_of([] { split_texts("a\n\"b\nc", "x"); }) == "x: line 2: quotes that do not end");
    CHECK(error_of([] { split_texts("\"a\"b", "x"); }) ==
          "x: line 1: quotes end before the field does");
}

TEST_CASE("captions come from a table or from texts, each to its picture") {
    const Pictures two(2);
    CHECK(two.captions().empty());
    put_text(two.folder / "a.txt", " a red seven \n");
    put_text(two.folder / "b.txt", "\xEF\xBB\xBFr\xC3\xA9sum\xC3\xA9");
    CHECK(two.captions() == std::vector<std::string>{"a red seven", "r\xC3\xA9sum\xC3\xA9"});
    put_text(two.folder / "captions.csv",
             "\xEF\xBB\xBFkeywords,caption,file\r\nx|y,\"one, two\",b.png\r\n,three,a.png\r\n");
    CHECK(two.captions() == std::vector<std::string>{"three", "one, two"});
    const Dataset set = read_image_folder(two.folder.path());
    CHECK(set.captions == two.captions());
    CHECK(contains(set.source, "2 pictures with captions from the folder"));
}

TEST_CASE("captions that are missing, double, empty or of no picture are refused by name") {
    const Pictures two(2);
    const fs::path table = two.folder / "captions.csv";
    put_text(two.folder / "b.txt", "only one");
    CHECK(contains(two.error(), "a.png: has no caption, but other pictures have; expected a.txt"));
    put_text(two.folder / "a.txt", " \n");
    CHECK(two.error() == (two.folder / "a.txt").string() + ": the caption is empty");
    const auto refused = [&](const char* text) {
        put_text(table, text);
        const std::string message = two.error();
        REQUIRE(message.starts_with(table.string()));
        return message.substr(table.string().size());
    };
    CHECK(refused("") == ": is empty, expected lines of file,caption");
    CHECK(refused("file,text\na.png,x\n") ==
          ": has no column \"caption\"; its first line must name its columns: file,caption");
    CHECK(refused("file,caption\na.png\n") == ": line 2: 1 fields, expected 2");
    CHECK(refused("file,caption\na.png,x\n") == ": says nothing of b.png");
    CHECK(refused("file,caption\na.png,x\nb.png,\" \"\n") == ": line 3: the caption is empty");
    CHECK(refused("file,caption\na.png,x\na.png,y\n") == ": line 3: a second caption of \"a.png\"");
    for (const char* other : {"", "captions.csv", "../a.png"})
        CHECK(contains(refused(("file,caption\n" + std::string(other) + ",x\n").c_str()),
                       ": line 2: there is no picture"));
    CHECK(refused("file,caption\nc.png,x\n") == ": line 2: there is no picture \"c.png\"");
}
