// One safetensors file: header, all dtypes, both ways to read.
#include "io/safetensors.hpp"

#include <cmath>

#include "fuzz/fuzz.hpp"

namespace diffusion::fuzz {
namespace {

const std::string kData = bytes_of<std::uint64_t>(
    {0x3ff0000000000000, 0x7fc00000ff800001, 0x80000000000000, 0xfffeffff7c013c00});

std::string one(const std::string& dtype, const std::string& shape, std::size_t bytes) {
    return safetensors(R"({"a.weight":{"dtype":")" + dtype + R"(","shape":)" + shape +
                           R"(,"data_offsets":[0,)" + std::to_string(bytes) + "]}}",
                       kData.substr(0, bytes));
}

/// A tensor as doubles, in two parts.
std::vector<double> in_parts(const SafetensorsFile& file, const StoredTensor& tensor) {
    std::vector<double> all(tensor.count);
    const std::uint64_t half = tensor.count / 2;
    file.read<double>(tensor, 0, std::span(all).first(half));
    file.read<double>(tensor, half, std::span(all).subspan(half));
    return all;
}

void check_tensor(const SafetensorsFile& file, const SafetensorsFile& plain,
                  const StoredTensor& tensor) {
    const std::string where = file.path().string();
    std::vector<float> floats(tensor.count);
    file.read<float>(tensor, 0, floats);
    const std::vector<double> doubles = in_parts(file, tensor);
    must(same_bits<double>(doubles, in_parts(plain, tensor)), "mapped as read");
    for (std::size_t i = 0; i < floats.size(); ++i)
        must(static_cast<float>(doubles[i]) == floats[i] || std::isnan(floats[i]),
             "the nearest float");
    must(!accepted(where, [&] { file.read<float>(tensor, 1, floats); }), "no number too many");
    std::vector<std::int64_t> whole(tensor.count);
    must(accepted(where, [&] { file.read<std::int64_t>(tensor, 0, whole); }) ==
             (tensor.dtype == Dtype::i64),
         "whole numbers are those of I64");
}

}  // namespace

std::vector<std::string> seeds() {
    return {one("F32", "[2,4]", 32),
            one("F64", "[4]", 32),
            one("F16", "[4,2,2]", 32),
            one("BF16", "[2,2,2,2]", 32),
            one("I64", "[1,4]", 32),
            one("F32", "[]", 4),
            one("F32", "[3,0]", 0),
            safetensors("{}", ""),
            safetensors(R"({"__metadata__":{"model":"unet","T":"1000"},)"
                        R"("b":{"dtype":"F16","shape":[1],"data_offsets":[4,6]},)"
                        R"("a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                        R"("c":{"dtype":"I64","shape":[1],"data_offsets":[6,14]}}  )",
                        kData.substr(0, 14)),
            "version https://git-lfs.github.com/spec/v1\n",
            "<!DOCTYPE html>",
            "PK\x03\x04",
            "\x80\x02}"};
}

void check(const std::string& input) {
    const auto path = folder() / "x.safetensors", again = folder() / "y.safetensors";
    put_text(path, input);
    const auto opens = [&](FileReader::Access access) {
        return accepted(path.string(), [&] { const SafetensorsFile file(path, access); });
    };
    const bool good = opens(FileReader::Access::mapped);
    must(opens(FileReader::Access::plain) == good, "accepted either way, or neither");
    if (!good) return;
    const SafetensorsFile file(path), plain(path, FileReader::Access::plain);
    must(file.metadata() == plain.metadata() && file.tensors().size() == plain.tensors().size(),
         "mapped as read");
    std::uint64_t bytes = 0;
    for (const StoredTensor& tensor : file.tensors()) {
        bytes += tensor.count * width_of(tensor.dtype);
        must(file.find(tensor.name) == &tensor, "found by name");
        check_tensor(file, plain, tensor);
    }
    must(bytes <= input.size(), "no more numbers than bytes");
    const Safetensors content = read_safetensors(path);
    write_safetensors(again, content);
    const Safetensors back = read_safetensors(again);
    must(content.metadata == back.metadata && content.arrays.size() == back.arrays.size(),
         "written and read again");
    for (std::size_t i = 0; i < back.arrays.size(); ++i) {
        const NamedArray &a = content.arrays[i], &b = back.arrays[i];
        must(a.name == b.name && a.shape == b.shape && same_bits<float>(a.values, b.values),
             "written and read again: " + a.name);
    }
}

}  // namespace diffusion::fuzz
