#include "io/safetensors.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "io/files.hpp"
#include "io/json.hpp"
#include "io/safetensors_header.hpp"
#include "tensor/check.hpp"

namespace diffusion {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

bool shape_fits(const ArrayView& array) {
    const std::uint64_t numbers = array.values.size();
    if (std::ranges::any_of(array.shape, [](int size) { return size < 0; })) return false;
    std::uint64_t count = std::ranges::find(array.shape, 0) == array.shape.end() ? 1 : 0;
    for (int size : array.shape) {
        if (count <= numbers) count *= static_cast<std::uint64_t>(size);  // or it might overflow
    }
    return count == numbers;
}

/// The first bytes of the file: the header's length and the header. `dtype` is F32 or F16.
std::string header_of(const fs::path& path, std::span<const ArrayView> arrays,
                      const std::map<std::string, std::string>& metadata, Dtype dtype) {
    json header = json::object();
    if (!metadata.empty()) header[kSafetensorsMetadata] = metadata;
    std::uint64_t offset = 0;
    for (const ArrayView& array : arrays) {
        const std::string where = safetensors_place(path, array.name);
        require(array.name != kSafetensorsMetadata && !header.contains(array.name), where,
                ": the name occurs twice or is reserved");
        require(shape_fits(array), where, ": ", array.values.size(),
                " values do not fit its shape ", json(array.shape).dump());
        const std::uint64_t end = offset + array.values.size() * width_of(dtype);
        header[array.name] = {{"dtype", dtype == Dtype::f16 ? "F16" : "F32"},
                              {"shape", array.shape},
                              {"data_offsets", {offset, end}}};
        offset = end;
    }
    std::string text;
    try {
        text = header.dump();
    } catch (const json::exception&) {
        fail(path.string(), ": a tensor's name or the metadata is not UTF-8");
    }
    text.append((8 - text.size() % 8) % 8, ' ');  // the numbers begin at a multiple of 8
    const std::uint64_t length = text.size();
    require(length <= kMaxSafetensorsHeader, path.string(), ": a header of ", length,
            " bytes is over the ", kMaxSafetensorsHeader, " that may be read");
    std::string start(8, '\0');
    std::memcpy(start.data(), &length, 8);
    return start + text;
}

}  // namespace

void write_safetensors(const fs::path& path, std::span<const ArrayView> arrays,
                       const std::map<std::string, std::string>& metadata) {
    const std::string header = header_of(path, arrays, metadata, Dtype::f32);
    std::vector<std::span<const std::byte>> parts = {std::as_bytes(std::span(header))};
    for (const ArrayView& array : arrays) parts.push_back(std::as_bytes(array.values));
    write_parts_atomically(path, parts);
}

void write_halves(const fs::path& path, std::span<const ArrayView> arrays,
                  const std::map<std::string, std::string>& metadata) {
    constexpr float kLargest = 65504;
    const std::string header = header_of(path, arrays, metadata, Dtype::f16);
    std::vector<std::uint16_t> halves;
    for (const ArrayView& array : arrays) {
        for (const float v : array.values) {
            require(std::abs(v) <= kLargest, safetensors_place(path, array.name), ": holds ", v,
                    ", expected numbers up to ", kLargest, ", where half precision ends");
            halves.push_back(to_half(v));
        }
    }
    write_parts_atomically(
        path, std::array{std::as_bytes(std::span(header)), std::as_bytes(std::span(halves))});
}

void write_safetensors(const fs::path& path, const Safetensors& content) {
    std::vector<ArrayView> arrays;
    for (const NamedArray& array : content.arrays)
        arrays.push_back({array.name, array.shape, array.values});
    write_safetensors(path, arrays, content.metadata);
}

Safetensors read_safetensors(const fs::path& path) {
    const SafetensorsFile file(path);
    Safetensors content{{}, file.metadata()};
    for (const StoredTensor& tensor : file.tensors()) {
        std::vector<float> values(static_cast<std::size_t>(tensor.count));
        file.read<float>(tensor, 0, values);
        content.arrays.push_back({tensor.name, tensor.shape, std::move(values)});
    }
    return content;
}

Metadata::Metadata(const SafetensorsFile& file, const std::string& kind)
    : metadata_(file.metadata()), path_(file.path().string()) {
    require(entry("model") == kind, path_, ": holds a model ", in_quotes(entry("model")),
            ", expected ", kind);
}

const std::string& Metadata::entry(const std::string& key) const {
    const auto found = metadata_.find(key);
    require(found != metadata_.end(), path_, ": no ", key,
            " in its metadata: a model of another program, or of another version of this one, "
            "which then has to make it again");
    return found->second;
}

int Metadata::to_number(const std::string& key, const std::string& digits, int most) const {
    const bool whole = !digits.empty() && digits.size() < 10 &&
                       digits.find_first_not_of("0123456789") == std::string::npos;
    require(whole && std::stoi(digits) > 0 && std::stoi(digits) <= most, path_, ": ", key, " is ",
            in_quotes(digits), ", expected a number from 1 to ", most);
    return std::stoi(digits);
}

}  // namespace diffusion
