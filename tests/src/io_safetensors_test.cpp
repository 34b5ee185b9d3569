// Safetensors: good files, some made by hand, and bad ones of every kind.
#include <doctest/doctest.h>

#include "io/safetensors.hpp"
#include "support/file_checks.hpp"
#include "support/temporary_folder.hpp"

using namespace diffusion;
namespace fs = std::filesystem;

namespace {

std::size_t product(const std::vector<int>& shape) {
    std::size_t count = 1;
    for (int size : shape) count *= static_cast<std::size_t>(size);
    return count;
}

}  // namespace

TEST_SUITE_BEGIN("src io");

TEST_CASE("safetensors: names, shapes, values and metadata come back, in order") {
    const TemporaryFolder folder;
    const Safetensors content{{{"z.weight", {2, 1, 3}, {1, 2, 3, 4, 5, 0.1f}},
                               {"a \"quoted\"\n\xC3\xA9", {}, {7}},
                               {"empty", {0, 5}, {}},
                               {"b", {1}, {-0.5f}}},
                              {{"config", "{\"width\": 32}"}, {"", "empty key"}}};
    write_safetensors(folder / "m.safetensors", content);
    const Safetensors back = read_safetensors(folder / "m.safetensors");
    CHECK(back.metadata == content.metadata);
    REQUIRE(back.arrays.size() == content.arrays.size());
    for (std::size_t i = 0; i < back.arrays.size(); ++i) {
        CHECK(back.arrays[i].name == content.arrays[i].name);
        CHECK(back.arrays[i].shape == content.arrays[i].shape);
        CHECK(back.arrays[i].values == content.arrays[i].values);
    }

    write_safetensors(folder / "none.safetensors", {});
    CHECK(get_text(folder / "none.safetensors") == safetensors("{}      ", ""));
    CHECK(read_safetensors(folder / "none.safetensors").arrays.empty());
}

TEST_CASE("safetensors: the file has the published layout") {
    const TemporaryFolder folder;
    write_safetensors(folder / "m", {{{"w", {2}, {1, 2}}}, {{"k", "v"}}});
    std::string header =
        R"({"__metadata__":{"k":"v"},"w":{"data_offsets":[0,8],"dtype":"F32","shape":[2]}})";
    header.append((8 - header.size() % 8) % 8, ' ');
    CHECK(get_text(folder / "m") == safetensors(header, bytes_of({1.0f, 2.0f})));

    put_text(folder / "d", safetensors(R"({"b":{"dtype":"F64","shape":[1],"data_offsets":[4,12]},)"
                                       R"("a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})",
                                       bytes_of({3.0f}) + bytes_of({0.1})));
    const Safetensors mixed = read_safetensors(folder / "d");
    CHECK(mixed.arrays[0].name == "a");
    CHECK(mixed.arrays[1].values == std::vector<float>{0.1f});
}

TEST_CASE("safetensors: every length, offset and shape is checked, and the tensor is named") {
    const TemporaryFolder folder;
    const auto raw = [&](const std::string& file) {
        put_text(folder / "m", file);
        return error_of([&] { read_safetensors(folder / "m"); });
    };
    const auto message = [&](const std::string& header) {  // with eight bytes of data
        return raw(safetensors(header, bytes_of({1.0f, 2.0f})));
    };
    const auto tensor = [](const std::string& dtype, const std::string& shape,
                           const std::string& offsets) {
        return R"({"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets +
               "}";
    };
    const auto one = [&](const char* dtype, const char* shape, const char* offsets) {
        return message("{\"t\":" + tensor(dtype, shape, offsets) + "}");
    };
    CHECK(one("F32", "[2]", "[0,8]") == "no error");
    for (const char* dtype : {"F8_E4M3", "I32", "BOOL", "f32", ""}) {
        CHECK(contains(one(dtype, "[2]", "[0,8]"),
                       "m: tensor \"t\": dtype \"" + std::string(dtype) + "\" cannot be read"));
    }
    for (const char* dtype : {"F16", "BF16"}) {
        CHECK(one(dtype, "[2,2]", "[0,8]") == "no error");
        CHECK(contains(one(dtype, "[2]", "[0,8]"), "does not fit"));
    }
    for (const char* dtype : {"F64", "I64"}) {
        CHECK(one(dtype, "[]", "[0,8]") == "no error");
        CHECK(contains(one(dtype, "[0]", "[0,8]"), "does not fit"));
    }
    CHECK(contains(one("F32", "[3]", "[0,8]"), "does not fit the 8 bytes"));
    CHECK(contains(one("F64", "[2]", "[0,8]"), "does not fit"));
    CHECK(contains(one("F32", "[0]", "[0,8]"), "does not fit"));
    CHECK(contains(one("F32", "[2147483647,2147483647,2147483647]", "[0,8]"), "does not fit"));
    // 4 bytes times this product are 2^65 + 8, which 64 bits hold as 8.
    CHECK(contains(one("F32", "[10,5581,8681,49477,384773]", "[0,8]"), "does not fit"));
    for (const char* size : {"-2", "2.0", "\"2\"", "2147483648", "18446744073709551615", "[2]"}) {
        CHECK(contains(one("F32", ("[" + std::string(size) + "]").c_str(), "[0,8]"),
                       "a size in shape"));
    }
    CHECK(contains(one("F32", "2", "[0,8]"), "shape must be a list"));
    CHECK(contains(one("F32", "[3]", "[0,12]"), "truncated or damaged"));
    CHECK(contains(one("F32", "[2]", "[18446744073709551608,18446744073709551615]"), "truncated"));
    CHECK(contains(one("F32", "[2]", "[8,0]"), "backwards"));
    for (const char* offsets :
         {"[-8,0]", "[0]", "[0,8,8]", "[0,8.0]", "8", "[0,18446744073709551624]"}) {
        CHECK(contains(one("F32", "[2]", offsets), "data_offsets must be two whole numbers"));
    }
    CHECK(contains(one("F32", "[1]", "[0,4]"), "4 unused bytes after \"t\""));
    CHECK(contains(one("F32", "[1]", "[4,8]"), "4 unused bytes between it and the header"));
    const auto two = [&](const char* a, const char* b) {
        return message("{\"a\":" + tensor("F32", "[1]", a) + ",\"b\":" + tensor("F32", "[1]", b) +
                       "}");
    };
    CHECK(two("[4,8]", "[0,4]") == "no error");
    CHECK(contains(two("[0,4]", "[2,6]"), "tensor \"b\": overlaps \"a\""));
    CHECK(contains(two("[0,4]", "[0,4]"), "overlaps"));
    CHECK(contains(message("{\"t\":{\"dtype\":\"F32\"}}"), "expected an object with"));
    CHECK(contains(message("{\"t\":7}"), "expected an object with"));
    CHECK(contains(message("{\"__metadata__\":{\"a\":1}}"), "\"a\" must be a string"));
    CHECK(contains(message("{\"__metadata__\":[]}"), "must be an object of strings"));
    CHECK(contains(message("{\"t\":1,\"t\":1}"), "occurs twice"));
    CHECK(contains(message("[]"), "must be a JSON object"));
    CHECK(contains(message("{"), "m: header: not valid JSON"));
    CHECK(contains(message(""), "not valid JSON"));
    CHECK(contains(raw("shor\x01"), "only 5 bytes"));
    CHECK(contains(raw(bytes_of<std::uint64_t>({99}) + "{}"), "99 bytes, but only 2 follow"));
    CHECK(contains(raw(bytes_of<std::uint64_t>({100'000'001})), "at most 100000000"));
    CHECK(contains(raw(std::string(8, '\xFF')), "at most 100000000"));
}

TEST_CASE(
    "safetensors: a file cut anywhere is an error; with any bit flipped it is one or is sound") {
    const TemporaryFolder folder;
    const fs::path path = folder / "m";
    write_safetensors(path, {{{"a", {2, 2}, {1, 2, 3, 4}}, {"b", {1}, {5}}}, {{"k", "v"}}});
    const std::string whole = get_text(path);
    for (std::size_t size = 0; size < whole.size(); ++size) {
        put_text(path, whole.substr(0, size));
        CHECK(contains(error_of([&] { read_safetensors(path); }), path.string() + ": "));
    }
    for (std::size_t bit = 0; bit < 8 * whole.size(); ++bit) {
        std::string damaged = whole;
        damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
        put_text(path, damaged);
        try {
            for (const NamedArray& array : read_safetensors(path).arrays) {
                CHECK(product(array.shape) == array.values.size());
            }
        } catch (const Error& error) {
            CHECK(contains(error.what(), path.string() + ": "));
        }
    }
}

TEST_CASE("safetensors: what cannot be written is named, and the old file stays") {
    const TemporaryFolder folder;
    const fs::path path = folder / "m";
    put_text(path, "old");
    const auto message = [&](const std::vector<NamedArray>& arrays, const std::string& note = "") {
        return error_of([&] { write_safetensors(path, {arrays, {{"note", note}}}); });
    };
    CHECK(contains(message({{"a", {2}, {1}}}), "tensor \"a\": 1 values do not fit its shape [2]"));
    CHECK(contains(message({{"a", {-1}, {}}}), "do not fit its shape [-1]"));
    CHECK(contains(message({{"a", {0, -1}, {}}}), "do not fit its shape [0,-1]"));
    CHECK(contains(message({{"a", {1 << 16, 1 << 16, 1 << 16, 1 << 16}, {}}}), "do not fit"));
    CHECK(contains(message({{"a", {1}, {1}}, {"a", {1}, {1}}}), "occurs twice"));
    CHECK(contains(message({{"__metadata__", {1}, {1}}}), "reserved"));
    CHECK(contains(message({{"\xFF", {1}, {1}}}), "not UTF-8"));
    CHECK(contains(message({}, "\xFF"), "not UTF-8"));
    CHECK(get_text(path) == "old");
    CHECK(contains(error_of([&] { write_safetensors(path / "below", {}); }), "Not a directory"));
}
