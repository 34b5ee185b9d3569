// .npy files: good ones, some made by hand, and bad ones of every kind.
#include <doctest/doctest.h>

#include <limits>
#include <span>

#include "io/files.hpp"
#include "io/npy.hpp"
#include "io/zip.hpp"
#include "support/file_checks.hpp"
#include "support/temporary_folder.hpp"
#include "support/zip_file.hpp"
#include "tensor/shape_text.hpp"

using namespace diffusion;

namespace {

/// A .npy file of version 1, 2 or 3 with this dictionary.
std::string npy(const std::string& dictionary, const std::string& data, char version = 1) {
    const auto size = static_cast<std::uint32_t>(dictionary.size());
    const std::string length = bytes_of({size}).substr(0, version == 1 ? 2 : 4);
    return std::string("\x93NUMPY") + version + '\0' + length + dictionary + data;
}

std::string npy_of(const std::string& dtype, const std::string& shape, const std::string& data) {
    return npy("{'descr': '" + dtype + "', 'fortran_order': False, 'shape': " + shape + ", }\n",
               data);
}

}  // namespace

TEST_SUITE_BEGIN("src io");

TEST_CASE("npy: a tensor of any rank comes back bit for bit") {
    const TemporaryFolder folder;
    const std::vector<float> values = {0.1f, -0.0f, 1e-42f, std::numeric_limits<float>::infinity(),
                                       3.0f, 4.0f};
    for (const Shape& shape : {Shape{6}, Shape{2, 3}, Shape{1, 2, 1, 3}, Shape{0, 3}, Shape{}}) {
        write_npy(folder / "x.npy", {values.data(), shape});
        const NpyArray array = read_npy(folder / "x.npy");
        CHECK(array.shape == std::vector<int>(shape.n.begin(), shape.n.begin() + shape.rank));
        REQUIRE(array.values.size() == static_cast<std::size_t>(shape.numel()));
        const std::span<const float> written(values.data(), array.values.size());
        CHECK(as_text(std::as_bytes(std::span(array.values))) == as_text(std::as_bytes(written)));
    }
}

TEST_CASE("npy: the file is the one that numpy.save writes") {
    const TemporaryFolder folder;
    const std::vector<float> values = {1.0f, 2.0f};
    const auto expected = [](const std::string& shape) {
        std::string dictionary =
            "{'descr': '<f4', 'fortran_order': False, 'shape': " + shape + ", }";
        dictionary.resize(128 - 10 - 1, ' ');
        return npy(dictionary + "\n", bytes_of({1.0f, 2.0f}));
    };
    write_npy(folder / "x.npy", {values.data(), {2, 1}});
    CHECK(get_text(folder / "x.npy") == expected("(2, 1)"));
    write_npy(folder / "x.npy", {values.data(), {2}});
    CHECK(get_text(folder / "x.npy") == expected("(2,)"));
}

TEST_CASE("npy: float64, versions 2 and 3, and any spelling of the dictionary are read") {
    const TemporaryFolder folder;
    const auto read = [&](const std::string& file) {
        put_text(folder / "x.npy", file);
        return read_npy(folder / "x.npy");
    };
    CHECK(read(npy_of("<f8", "(2,)", bytes_of({0.5, 1e-3}))).values ==
          std::vector<float>{0.5f, 1e-3f});
    const std::string spelled = "{\"shape\":(1,2),'fortran_order':False , 'descr':\"<f4\"}";
    for (char version : {'\1', '\2', '\3'}) {
        const NpyArray array = read(npy(spelled, bytes_of({7.0f, 8.0f}), version));
        CHECK(array.shape == std::vector<int>{1, 2});
        CHECK(array.values == std::vector<float>{7, 8});
    }
    CHECK(read(npy_of("<f4", "(100000, 100000, 100000, 0)", "")).values.empty());
    const NpyArray bytes = read(npy_of("|u1", "(3,)", std::string("\x00\x7f\xff", 3)));
    CHECK(bytes.values == std::vector<float>{0, 127, 255});
    CHECK(bytes.of_bytes);
    CHECK(!read(npy_of("<f4", "(1,)", bytes_of({1.0f}))).of_bytes);
}

TEST_CASE("npy: shapes are told, and channels that come first are seen") {
    CHECK(shape_text(std::vector<int>{2, 1, 28, 28}) == "[2,1,28,28]");
    CHECK(shape_text(std::vector<int>()) == "[]");
    CHECK(NpyArray{{2, 1, 28, 28}, {}}.has_channels_first());
    CHECK(NpyArray{{2, 3, 32, 32}, {}}.has_channels_first());
    CHECK(!NpyArray{{2, 28, 28, 1}, {}}.has_channels_first());
    CHECK(!NpyArray{{2, 28, 28}, {}}.has_channels_first());
}

TEST_CASE("npz: arr_0, or the only array, stored or packed") {
    const TemporaryFolder folder;
    const std::string pictures = npy_of("|u1", "(2, 2)", "abcd"),
                      labels = npy_of("<f4", "(0,)", "");
    const auto read = [&](const std::string& file) {
        put_text(folder / "x.npz", file);
        return read_npz(folder / "x.npz");
    };
    for (const bool pack : {false, true}) {
        const NpyArray one = read(zip_of({{"samples.npy", pictures}}, pack));
        CHECK(one.shape == std::vector<int>{2, 2});
        CHECK(one.values == std::vector<float>{97, 98, 99, 100});
        CHECK(one.of_bytes);
        CHECK(read(zip_of({{"arr_1.npy", labels}, {"arr_0.npy", pictures}}, pack)).values ==
              one.values);
        CHECK(read(zip_of({{"arr_0.npy", pictures}}, pack) + std::string()).values == one.values);
    }
}

TEST_CASE("ZIP: an empty file comes back, stored or packed") {
    const TemporaryFolder folder;
    for (const bool pack : {false, true}) {
        put_text(folder / "x.zip", zip_of({{"a", "1"}, {"empty", ""}}, pack));
        const ZipFile archive(folder / "x.zip");
        CHECK(archive.names() == std::vector<std::string>{"a", "empty"});
        CHECK(archive.read("empty").empty());
        CHECK(as_text(archive.read("a")) == "1");
    }
}

TEST_CASE("npz: what cannot be read is named") {
    const TemporaryFolder folder;
    const auto message = [&](const std::string& file) {
        put_text(folder / "x.npz", file);
        return error_of([&] { read_npz(folder / "x.npz"); });
    };
    const std::string array = npy_of("|u1", "(4,)", "abcd");
    CHECK(contains(message(zip_of({{"a.npy", array}, {"b.npy", array}}, false)),
                   "x.npz: holds \"a.npy\", \"b.npy\", expected arr_0.npy, or one array only"));
    CHECK(contains(message(zip_of({}, false)), "holds nothing"));
    std::vector<std::pair<std::string, std::string>> many;
    for (int i = 0; i < 500; ++i) many.emplace_back("x" + std::to_string(i), "");
    CHECK(contains(message(zip_of(many, false)), "\"x7\" and 492 more, expected arr_0.npy"));
    CHECK(contains(message(zip_of({{"two\nlines", array}, {"b", array}}, false)),
                   "x.npz: holds \"two\\nlines\", \"b\", expected"));
    std::string odd = zip_of({{"two\nlines", array}}, false);
    odd[odd.find("abcd")] = 'x';
    CHECK(contains(message(odd), "x.npz: \"two\\nlines\" is damaged"));
    CHECK(contains(message("not an archive"), "not a ZIP archive"));
    CHECK(contains(message(zip_of({{"arr_0.npy", "text"}}, true)),
                   "x.npz: \"arr_0.npy\": not a .npy file"));
    for (const bool pack : {false, true}) {
        const std::string whole = zip_of({{"arr_0.npy", array}}, pack);
        REQUIRE(message(whole) == "no error");
        for (std::size_t size = 0; size < whole.size(); ++size) {
            CAPTURE(size);
            CHECK(contains(message(whole.substr(0, size)), "x.npz: "));
        }
        for (std::size_t at = 0; at < whole.size(); ++at) {  // an error or the array, and no crash
            std::string damaged = whole;
            damaged[at] = static_cast<char>(damaged[at] ^ 0x55);
            const std::string said = message(damaged);
            CHECK((said == "no error" || contains(said, "x.npz: ")));
        }
    }
    std::string other = zip_of({{"arr_0.npy", array}}, false);
    const std::size_t in_directory = other.find("PK\x01\x02");
    other[in_directory + 10] = 9;  // the method
    CHECK(contains(message(other), "packed by method 9"));
    std::string spoiled = zip_of({{"arr_0.npy", array}}, false);
    spoiled[spoiled.find("abcd")] = 'x';
    CHECK(contains(message(spoiled), "\"arr_0.npy\" is damaged: its checksum is wrong"));
}

TEST_CASE("npy: what cannot be read is named") {
    const TemporaryFolder folder;
    const auto message = [&](const std::string& file) {
        put_text(folder / "x.npy", file);
        return error_of([&] { read_npy(folder / "x.npy"); });
    };
    const std::string two = bytes_of({1.0f, 2.0f});
    CHECK(message(npy_of("<f4", "(2,)", two)) == "no error");
    for (const char* dtype : {"<f2", ">f4", "<i4", "|O", "<c8"}) {
        CHECK(contains(message(npy_of(dtype, "(2,)", two)), dtype));
    }
    CHECK(contains(
        message(npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}", two)),
        "structured"));
    CHECK(contains(message(npy("{'descr': '<f4', 'fortran_order': True, 'shape': (1, 2)}", two)),
                   "Fortran order"));
    CHECK(contains(message(npy_of("<f4", "(1,)", two)), "4 bytes of data, but 8 follow"));
    CHECK(contains(message(npy_of("<f4", "(3,)", two)), "truncated"));
    CHECK(contains(message(npy_of("<f4", "(2, 2)", two)), "truncated"));
    CHECK(contains(message(npy_of("<f4", "(65536, 65536, 65536, 65536)", two)), "truncated"));
    CHECK(contains(message(npy_of("<f4", "(4294967296,)", two)), "expected a size"));
    CHECK(contains(message(npy_of("<f4", "(-1,)", two)), "expected a size"));
    CHECK(contains(message(npy_of("<f4", "2", two)), "expected '('"));
    CHECK(contains(message(npy("{'descr': '<f4', 'shape': (2,)}", two)), "is missing"));
    CHECK(contains(message(npy("{'descr': '<f4', 'x': 1}", two)), "unknown key \"x\""));
    CHECK(contains(message(npy("{'descr': '<f4}", two)), "a string does not end"));
    CHECK(contains(message(npy("{'fortran_order': Maybe}", two)), "expected True or False"));
    CHECK(contains(message(npy("{} x", two)), "text after"));
    CHECK(contains(message(npy("{}", two, 4)), "version 4"));
    CHECK(contains(message("PK\x03\x04 a zip file, as numpy.savez writes"), "not a .npy file"));
    CHECK(contains(error_of([&] { read_npy(folder / "no.npy"); }), "no.npy: cannot read"));
    const std::string whole = npy_of("<f4", "(2,)", two);
    for (std::size_t size = 0; size < whole.size(); ++size) {
        CAPTURE(size);
        CHECK(contains(message(whole.substr(0, size)), "x.npy: "));
    }
}
