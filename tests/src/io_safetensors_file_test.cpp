// Safetensors as peers hand them over: every dtype at every address, shards, files in parts, and
// what is no safetensors file at all.
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <limits>
#include <numeric>

#include "io/safetensors.hpp"
#include "support/file_checks.hpp"
#include "support/temporary_folder.hpp"
#include "tensor/dtype.hpp"

using namespace diffusion;
namespace fs = std::filesystem;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// One tensor "t" with all the bytes.
std::string with_tensor(const std::string& dtype, std::size_t count, const std::string& bytes) {
    return safetensors(R"({"t":{"dtype":")" + dtype + R"(","shape":[)" + std::to_string(count) +
                           R"(],"data_offsets":[0,)" + std::to_string(bytes.size()) + "]}}",
                       bytes);
}

/// What a half or a bfloat16 stands for, by its definition. Not for infinities and NaN.
double value_of(int bits, int exponent_bits, int mantissa_bits) {
    const int sign = bits >> 15, mantissa = bits & ((1 << mantissa_bits) - 1),
              exponent = (bits >> mantissa_bits) & ((1 << exponent_bits) - 1),
              bias = (1 << (exponent_bits - 1)) - 1;
    const double ones = exponent > 0 ? 1 + std::ldexp(mantissa, -mantissa_bits)
                                     : std::ldexp(mantissa, -mantissa_bits);
    return (sign ? -1 : 1) * std::ldexp(ones, std::max(exponent, 1) - bias);
}

/// All 65,536 numbers of two bytes, checked one by one, as float and as double.
void check_all_of_two_bytes(const char* dtype, int exponent_bits, int mantissa_bits) {
    std::string bytes(2 * 65536, '\0');
    for (int i = 0; i < 65536; ++i) {
        const auto bits = static_cast<std::uint16_t>(i);
        std::memcpy(bytes.data() + 2 * i, &bits, 2);
    }
    const TemporaryFolder folder;
    put_text(folder / "m", with_tensor(dtype, 65536, bytes));
    const SafetensorsFile file(folder / "m");
    std::vector<float> values(65536);
    std::vector<double> wide(65536);
    file.read<float>(file.tensors().front(), 0, values);
    file.read<double>(file.tensors().front(), 0, wide);
    int wrong = 0;
    const int largest = (1 << exponent_bits) - 1;
    for (int i = 0; i < 65536; ++i) {
        const auto k = static_cast<std::size_t>(i);
        const auto bits = std::bit_cast<std::uint32_t>(values[k]);
        if (((i >> mantissa_bits) & largest) == largest) {  // infinities, and NaN's mantissa
            const auto mantissa = static_cast<std::uint32_t>(i & ((1 << mantissa_bits) - 1));
            const std::uint32_t expected =
                (i >= 32768 ? 0xFF800000u : 0x7F800000u) | mantissa << (23 - mantissa_bits);
            wrong += bits != expected || std::isnan(wide[k]) != (mantissa != 0);
        } else {
            const double expected = value_of(i, exponent_bits, mantissa_bits);
            wrong += static_cast<double>(values[k]) != expected || wide[k] != expected ||
                     std::signbit(values[k]) != (i >= 32768);
        }
    }
    CHECK(wrong == 0);
}

}  // namespace

TEST_SUITE_BEGIN("src io");

TEST_CASE("safetensors: every half and every bfloat16 is widened exactly") {
    check_all_of_two_bytes("F16", 5, 10);
    check_all_of_two_bytes("BF16", 8, 7);
}

TEST_CASE("numbers are rounded to the nearest half, between two to the even one") {
    // All halves in order, and what lies between each and the next: exactly in the middle the even
    // one is nearest, and a little beside it the nearer one.
    for (int i = 0; i < 0x7c00; ++i) {
        const double low = value_of(i, 5, 10),
                     high = i + 1 < 0x7c00 ? value_of(i + 1, 5, 10) : 65536.0;
        const auto middle = static_cast<float>((low + high) / 2);
        for (const float sign : {1.0f, -1.0f}) {
            const int bit = sign < 0 ? 0x8000 : 0;
            REQUIRE(to_half(sign * static_cast<float>(low)) == (i | bit));
            REQUIRE(to_half(sign * middle) == ((i % 2 == 0 ? i : i + 1) | bit));
            REQUIRE(to_half(sign * std::nextafter(middle, 0.0f)) == (i | bit));
            REQUIRE(to_half(sign * std::nextafter(middle, kInfinity)) == ((i + 1) | bit));
        }
    }
    CHECK(to_half(kInfinity) == 0x7c00);
    CHECK(to_half(-1e30f) == 0xfc00);
    CHECK((to_half(std::numeric_limits<float>::quiet_NaN()) & 0x7fff) == 0x7e00);
}

TEST_CASE("safetensors: written as halves, and what is too large is refused by name") {
    const TemporaryFolder folder;
    const std::vector<float> numbers = {1.0f, -0.1f, 65504.0f};
    const std::vector<ArrayView> arrays = {{"a", {3}, numbers}};
    write_halves(folder / "m", arrays, {{"data", "scenes"}});
    const SafetensorsFile file(folder / "m");
    CHECK(file.tensors().front().dtype == Dtype::f16);
    CHECK(file.metadata().at("data") == "scenes");
    std::vector<float> read(3);
    file.read<float>(file.tensors().front(), 0, read);
    CHECK(read[0] == 1);
    CHECK(std::abs(read[1] + 0.1f) < 0.1f / 2048);
    CHECK(read[2] == 65504);
    const std::vector<float> large = {65520.0f};
    CHECK(
        error_of([&] {
            write_halves(folder / "n", std::vector<ArrayView>{{"b", {1}, large}}, {});
        }) ==
        (folder / "n").string() +
            ": tensor \"b\": holds 65520, expected numbers up to 65504, where half precision ends");
    CHECK(!fs::exists(folder / "n"));
}

TEST_CASE("safetensors: floats keep every bit, doubles and integers are rounded to nearest") {
    const TemporaryFolder folder;
    const std::uint32_t bits[] = {0x00000001, 0x80000000, 0x7F800000, 0xFF800000,
                                  0x7FC00001, 0x7FA00000, 0x3F800001};
    std::string bytes(sizeof bits, '\0');
    std::memcpy(bytes.data(), bits, sizeof bits);
    put_text(folder / "f32", with_tensor("F32", std::size(bits), bytes));
    const std::vector<float> floats = read_safetensors(folder / "f32").arrays[0].values;
    CHECK(std::memcmp(floats.data(), bits, sizeof bits) == 0);

    put_text(folder / "f64", with_tensor("F64", 6,
                                         bytes_of({0.1, 1e300, -1e300, 1e-45, 1e-300,
                                                   std::numeric_limits<double>::quiet_NaN()})));
    const std::vector<float> rounded = read_safetensors(folder / "f64").arrays[0].values;
    CHECK(std::vector<float>(rounded.begin(), rounded.end() - 1) ==
          std::vector<float>{0.1f, kInfinity, -kInfinity, 1e-45f, 0.0f});
    CHECK(std::isnan(rounded.back()));

    constexpr std::int64_t kLarge = (std::int64_t{1} << 53) + 1;
    put_text(folder / "i64", with_tensor("I64", 3, bytes_of<std::int64_t>({-7, 49407, kLarge})));
    const SafetensorsFile file(folder / "i64");
    const StoredTensor& tensor = file.tensors().front();
    std::vector<std::int64_t> whole(3);
    file.read<std::int64_t>(tensor, 0, whole);
    CHECK(whole == std::vector<std::int64_t>{-7, 49407, kLarge});
    std::vector<float> nearest(3);
    file.read<float>(tensor, 0, nearest);
    CHECK(nearest == std::vector<float>{-7, 49407, 0x1p53f});
    const SafetensorsFile fractions(folder / "f64");
    CHECK(contains(
        error_of([&] { fractions.read<std::int64_t>(fractions.tensors().front(), 0, whole); }),
        "f64: tensor \"t\": expected whole numbers, as I64"));
}

TEST_CASE("safetensors: numbers may begin at any byte, and are read in any part") {
    const TemporaryFolder folder;
    for (std::size_t shift = 0; shift < 8; ++shift) {
        // A header as peers write it: spaces inside, a name with escapes, tensors not in order.
        std::string header =
            R"({"b \u00e9\n": {"dtype": "F32", "shape": [2, 2], "data_offsets": [2, 18]},)"
            R"( "a": {"dtype": "BF16", "shape": [], "data_offsets": [0, 2]},)"
            R"( "c": {"dtype": "F64", "shape": [2], "data_offsets": [18, 34]}})";
        header.append(shift, ' ');
        put_text(folder / "m", safetensors(header, bytes_of<std::uint16_t>({0x3FC0}) +
                                                       bytes_of({1.0f, 2.0f, 3.0f, 4.0f}) +
                                                       bytes_of({0.5, -0.25})));
        for (const auto access : {FileReader::Access::mapped, FileReader::Access::plain}) {
            const SafetensorsFile file(folder / "m", access);
            REQUIRE(file.tensors().size() == 3);
            CHECK(file.find("b") == nullptr);
            const StoredTensor *a = file.find("a"), *b = file.find("b \xC3\xA9\n"),
                               *c = file.find("c");
            REQUIRE((a != nullptr && b != nullptr && c != nullptr));
            CHECK(a->shape.empty());
            CHECK(b->shape == std::vector<int>{2, 2});
            std::vector<float> one(1), middle(2), two(2);
            file.read<float>(*a, 0, one);
            file.read<float>(*b, 1, middle);
            file.read<float>(*c, 0, two);
            CHECK(one[0] == 1.5f);
            CHECK(middle == std::vector<float>{2, 3});
            CHECK(two == std::vector<float>{0.5f, -0.25f});
            file.read<float>(*b, 4, std::span<float>());
            const std::string error = error_of([&] { file.read<float>(*b, 3, middle); });
            CHECK(contains(error, "m: tensor \"b "));
            CHECK(contains(error, "has 4 numbers, cannot read 2 from number 3 on"));
        }
    }
}

TEST_CASE("safetensors: large tensors are read whole, by all threads, of every width") {
    const TemporaryFolder folder;
    constexpr std::size_t kCount = 700'001;  // more than two threads take at a time, and odd
    std::vector<float> values(kCount);
    for (std::size_t i = 0; i < kCount; ++i) values[i] = static_cast<float>(i % 2039) - 1000;
    std::string f32(4 * kCount, '\0'), bf16(2 * kCount, '\0'), f64(8 * kCount, '\0');
    for (std::size_t i = 0; i < kCount; ++i) {
        const auto half = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(values[i]) >> 16);
        const auto wide = static_cast<double>(values[i]);
        std::memcpy(&f32[4 * i], &values[i], 4);
        std::memcpy(&bf16[2 * i], &half, 2);
        std::memcpy(&f64[8 * i], &wide, 8);
    }
    std::vector<float> short_ones = values;  // what a bfloat16 keeps
    for (float& v : short_ones)
        v = std::bit_cast<float>(std::bit_cast<std::uint32_t>(v) & 0xFFFF0000u);
    for (const auto& [dtype, bytes] : {std::pair("F32", f32), {"BF16", bf16}, {"F64", f64}}) {
        put_text(folder / dtype, with_tensor(dtype, kCount, bytes));
        for (const auto access : {FileReader::Access::mapped, FileReader::Access::plain}) {
            const SafetensorsFile file(folder / dtype, access);
            std::vector<float> back(kCount);
            file.read<float>(file.tensors().front(), 0, back);
            CHECK(back == (dtype == std::string("BF16") ? short_ones : values));
        }
    }
}

TEST_CASE("safetensors: a file that is cut after it was opened is an error, not an end") {
    const TemporaryFolder folder;
    write_safetensors(folder / "m", {{{"t", {1000}, std::vector<float>(1000)}}, {}});
    const SafetensorsFile file(folder / "m", FileReader::Access::plain);
    fs::resize_file(folder / "m", 1000);
    std::vector<float> values(1000);
    CHECK(contains(error_of([&] { file.read<float>(file.tensors().front(), 0, values); }),
                   "m: cannot read: it became shorter meanwhile"));
}

TEST_CASE("safetensors: views are written as arrays are") {
    const TemporaryFolder folder;
    std::vector<float> numbers(12);
    std::iota(numbers.begin(), numbers.end(), 0.0f);
    const std::vector<ArrayView> views = {{"b", {2, 3}, std::span(numbers).first(6)},
                                          {"a", {4}, std::span(numbers).subspan(5, 4)},
                                          {"none", {0}, {}}};
    write_safetensors(folder / "views", views, {{"k", "v"}});
    write_safetensors(
        folder / "arrays",
        {{{"b", {2, 3}, {0, 1, 2, 3, 4, 5}}, {"a", {4}, {5, 6, 7, 8}}, {"none", {0}, {}}},
         {{"k", "v"}}});
    CHECK(get_text(folder / "views") == get_text(folder / "arrays"));
}

TEST_CASE("safetensors: shards are read as one file, and must hold what their index says") {
    const TemporaryFolder folder;
    const fs::path index = folder / "m.safetensors.index.json";
    write_safetensors(folder / "m-00001-of-00002.safetensors",
                      {{{"a", {2}, {1, 2}}, {"b", {1}, {3}}}, {{"format", "pt"}}});
    write_safetensors(folder / "m-00002-of-00002.safetensors",
                      {{{"c", {1}, {4}}}, {{"format", "pt"}}});
    const auto map = [](const std::string& entries) {
        return R"({"metadata":{"total_size":16},"weight_map":{)" + entries + "}}";
    };
    const std::string a = R"("a":"m-00001-of-00002.safetensors")",
                      b = R"(,"b":"m-00001-of-00002.safetensors")",
                      c = R"(,"c":"m-00002-of-00002.safetensors")";
    put_text(index, map(a + b + c));
    for (const fs::path& path : {index, folder / "m.safetensors"}) {  // or by what it stands for
        const SafetensorsFile file(path);
        CHECK(file.path() == index);
        CHECK(file.metadata().at("format") == "pt");
        const Safetensors all = read_safetensors(path);
        REQUIRE(all.arrays.size() == 3);
        CHECK(all.arrays[0].values == std::vector<float>{1, 2});
        CHECK(all.arrays[2].name == "c");
        CHECK(all.arrays[2].values == std::vector<float>{4});
        CHECK(file.place_of(*file.find("c")) ==
              (folder / "m-00002-of-00002.safetensors").string() + ": tensor \"c\"");
    }

    const fs::path half = folder / "m.safetensors.index.fp16.json";  // as diffusers names it
    fs::copy_file(index, half);
    CHECK(SafetensorsFile(half).tensors().size() == 3);

    const auto message = [&](const std::string& text) {
        put_text(index, text);
        return error_of([&] { SafetensorsFile file(index); });
    };
    CHECK(contains(message(map(a + c)),
                   "m-00001-of-00002.safetensors: tensor \"b\": the index m.safetensors.index.json "
                   "does not say that it is in this file"));
    CHECK(contains(message(map(a + R"(,"b":"m-00002-of-00002.safetensors")" + c)),
                   "m-00001-of-00002.safetensors: tensor \"b\": the index"));
    CHECK(contains(message(map(a + b + c + R"(,"d":"m-00002-of-00002.safetensors")")),
                   "index.json: tensor \"d\": is not in \"m-00002-of-00002.safetensors\""));
    CHECK(contains(message(map(a + b + R"(,"c":"m-00003-of-00003.safetensors")")),
                   "index.json: the shard \"m-00003-of-00003.safetensors\" is not beside it"));
    for (const char* shard : {R"("../m")", R"("/m")", R"("sub/m")", R"("..")", R"(".")", R"("")",
                              "7", "null", R"(["m"])"}) {
        CHECK(contains(message(map(a + b + R"(,"c":)" + shard)),
                       "index.json: tensor \"c\": its shard must be the name of a file beside"));
    }
    for (const char* text : {"{}", "[]", R"({"weight_map":[]})", R"({"weight_map":7})"})
        CHECK(contains(message(text), "index.json: not an index of shards"));
    CHECK(contains(message("{"), "index.json: not valid JSON"));
    CHECK(contains(message(map(a + b + R"(,"a":"m-00002-of-00002.safetensors")" + c)), "twice"));
    CHECK(contains(message("version https://git-lfs.github.com/spec/v1\n"), "a Git LFS pointer"));
    put_text(folder / "m-00002-of-00002.safetensors", "version https://git-lfs.github.com/spec/v1");
    CHECK(contains(message(map(a + b + c)), "m-00002-of-00002.safetensors: a Git LFS pointer"));
}

TEST_CASE("safetensors: what often bears a model's name is told by what it is") {
    const TemporaryFolder folder;
    const auto message = [&](const std::string& text) {
        put_text(folder / "m.safetensors", text);
        return error_of([&] { SafetensorsFile file(folder / "m.safetensors"); });
    };
    const std::string path = (folder / "m.safetensors").string() + ": ";
    const std::string pointer =
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 492265168\n";
    CHECK(contains(message(pointer), path + "a Git LFS pointer"));
    CHECK(contains(message(pointer), "git lfs pull"));
    for (const char* page : {"<!DOCTYPE html><html>", "<html>", "\n\n  <!doctype html>",
                             "\xEF\xBB\xBF<html>", "<?xml version=\"1.0\"?><Error>", "<p>"}) {
        CHECK(contains(message(page), path + "a web page in place of the model"));
    }
    const std::string other_zip("PK\x03\x04\0\0\x08\x08\0\0", 10), zip = other_zip + "m/data.pkl";
    CHECK(contains(message(other_zip), path + "a ZIP archive; unpack it"));
    for (const char* text : {"Entry not found", "{\"error\":\"Repository not found\"}", "404: x"}) {
        CHECK(contains(message(text), path + "a text and not a safetensors file; it begins "));
    }
    for (const std::string& pickle :
         {zip, std::string("\x80\x02}q"), std::string("\x80\x02\x8a\nl"),
          std::string("\x80\x04\x95zzzzzzzz")}) {
        CHECK(contains(message(pickle), path + "a pickle of PyTorch"));
        CHECK(contains(message(pickle), "safetensors.torch.save_file"));
    }
    CHECK(contains(message(""), path + "not a safetensors file: it has only 0 bytes"));
    CHECK(contains(message("no model at all"), path + "a text and not a safetensors file"));
    CHECK(contains(message(std::string("\x7f"
                                       "ELF\x02\x01\x01\0\0",
                                       9)),
                   path + "not a safetensors file"));

    // Headers of 0x0280 and 0x3C bytes begin like a pickle and like a page, but are none.
    for (const std::size_t length : {std::size_t{0x0280}, std::size_t{'<'}}) {
        std::string header = R"({"t":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})";
        header.append(length - header.size(), ' ');
        CHECK(message(safetensors(header, bytes_of({1.0f}))) == "no error");
    }

    CHECK(error_of([&] { SafetensorsFile file(folder.path()); }) ==
          folder.path().string() +
              ": a folder; name the .safetensors file or the .safetensors.index.json inside");
    CHECK(contains(error_of([&] { SafetensorsFile file(folder / "none"); }),
                   "none: cannot read: No such file or directory"));
}

#ifdef __linux__
namespace {

/// Kilobytes of files that this process holds in memory.
long memory_of_files() {
    std::ifstream status("/proc/self/status");
    for (std::string word; status >> word;) {
        long kilobytes = 0;
        if (word == "RssFile:" && status >> kilobytes) return kilobytes;
    }
    return -1;
}

}  // namespace

TEST_CASE("safetensors: a file that was read takes no memory, though it is still open") {
    if (memory_of_files() < 0) return;  // a kernel that does not say
    const TemporaryFolder folder;
    const std::vector<float> block(1 << 20, 1.0f);
    std::vector<ArrayView> views;
    for (int i = 0; i < 16; ++i) views.push_back({"t" + std::to_string(i), {1 << 20}, block});
    write_safetensors(folder / "m", views, {});  // 64 MiB
    std::vector<float> values(block.size());
    const long before = memory_of_files();
    const SafetensorsFile file(folder / "m");
    for (const StoredTensor& tensor : file.tensors()) {
        file.read<float>(tensor, 0, values);
        CHECK(values == block);
        CHECK(memory_of_files() < before + 8 * 1024);
    }
}
#endif

TEST_SUITE_END();
