#include "io/safetensors.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <set>
#include <span>
#include <tuple>

#include "io/files.hpp"
#include "io/json.hpp"
#include "tensor/check.hpp"

namespace diffusion {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
static_assert(std::endian::native == std::endian::little,
              "arrays are copied as they lie in memory");

constexpr std::uint64_t kMaxHeader = 100'000'000;
constexpr std::uint64_t kMaxSize = std::numeric_limits<int>::max();
constexpr const char* kMetadata = "__metadata__";

/// One tensor's entry in the header, checked against itself and the size of the data.
struct Entry {
    std::string name;
    std::vector<int> shape;
    std::size_t width = 4;             // bytes of one number
    std::uint64_t begin = 0, end = 0;  // bytes, from the start of the data
};

std::string place(const fs::path& path, const std::string& tensor) {
    return path.string() + ": tensor " + in_quotes(tensor);
}

Entry read_entry(const std::string& name, const json& value, std::uint64_t data_size,
                 const std::string& where) {
    Entry entry;
    entry.name = name;
    require(value.is_object() && value.size() == 3 && value.contains("dtype") &&
                value.contains("shape") && value.contains("data_offsets"),
            where, ": expected an object with dtype, shape and data_offsets");

    const json& dtype = value["dtype"];
    require(dtype == "F32" || dtype == "F64", where, ": dtype ", in_quotes(dtype.dump()),
            " cannot be read; convert the tensor to F32");
    entry.width = dtype == "F32" ? 4 : 8;

    const json& offsets = value["data_offsets"];
    require(offsets.is_array() && offsets.size() == 2 && offsets[0].is_number_unsigned() &&
                offsets[1].is_number_unsigned(),
            where, ": data_offsets must be two whole numbers, found ", in_quotes(offsets.dump()));
    entry.begin = offsets[0];
    entry.end = offsets[1];
    require(entry.begin <= entry.end, where, ": data_offsets run backwards, from ", entry.begin,
            " to ", entry.end);
    require(entry.end <= data_size, where, ": ends at byte ", entry.end, " of the data, which has ",
            data_size, ": the file is truncated or damaged");

    require(value["shape"].is_array(), where, ": shape must be a list of sizes");
    const std::uint64_t bytes = entry.end - entry.begin;
    std::uint64_t needed = entry.width;
    bool fits = true, empty = false;
    for (const json& size : value["shape"]) {
        require(size.is_number_unsigned() && size.get<std::uint64_t>() <= kMaxSize, where,
                ": a size in shape must be from 0 to ", kMaxSize, ", found ",
                in_quotes(size.dump()));
        const auto n = size.get<std::uint64_t>();
        entry.shape.push_back(static_cast<int>(n));
        empty = empty || n == 0;
        fits = fits && (n == 0 || needed <= bytes / n);  // division: the product might overflow
        if (fits && n != 0) needed *= n;
    }
    require(empty ? bytes == 0 : fits && needed == bytes, where, ": shape ",
            in_quotes(value["shape"].dump()), " of ", dtype.get<std::string>(),
            " does not fit the ", bytes, " bytes of data_offsets");
    return entry;
}

std::map<std::string, std::string> read_metadata(const json& value, const fs::path& path) {
    std::map<std::string, std::string> metadata;
    require(value.is_object(), path.string(), ": ", kMetadata, " must be an object of strings");
    for (const auto& [key, text] : value.items()) {
        require(text.is_string(), path.string(), ": ", kMetadata, ": ", in_quotes(key),
                " must be a string");
        metadata[key] = text;
    }
    return metadata;
}

std::vector<float> read_values(std::string_view data, std::size_t width) {
    std::vector<float> values(data.size() / width);
    for (std::size_t i = 0; i < values.size(); ++i) {
        double wide = 0.0;
        if (width == 4) {
            std::memcpy(&values[i], data.data() + 4 * i, 4);
        } else {
            std::memcpy(&wide, data.data() + 8 * i, 8);
            values[i] = static_cast<float>(wide);
        }
    }
    return values;
}

/// The tensors must cover the data exactly, each beginning where the one before ends.
void require_no_gap(const std::vector<Entry>& entries, std::uint64_t data_size,
                    const fs::path& path) {
    std::uint64_t end = 0;
    std::string before = "the header";
    for (const Entry& entry : entries) {
        require(entry.begin >= end, place(path, entry.name), ": overlaps ", before);
        require(entry.begin <= end, place(path, entry.name), ": ", entry.begin - end,
                " unused bytes between it and ", before);
        end = entry.end;
        before = in_quotes(entry.name);
    }
    require(end == data_size, path.string(), ": ", data_size - end, " unused bytes after ", before);
}

bool shape_fits(const NamedArray& array) {
    std::uint64_t count = 1;
    for (int size : array.shape) {
        if (size < 0) return false;
        count *= static_cast<std::uint64_t>(size);
    }
    return count == array.values.size();
}

}  // namespace

void write_safetensors(const fs::path& path, const Safetensors& content) {
    json header = json::object();
    if (!content.metadata.empty()) header[kMetadata] = content.metadata;
    std::uint64_t offset = 0;
    for (const NamedArray& array : content.arrays) {
        require(array.name != kMetadata && !header.contains(array.name), place(path, array.name),
                ": the name occurs twice or is reserved");
        require(shape_fits(array), place(path, array.name), ": ", array.values.size(),
                " values do not fit its shape ", json(array.shape).dump());
        const std::uint64_t end = offset + 4 * array.values.size();
        header[array.name] = {
            {"dtype", "F32"}, {"shape", array.shape}, {"data_offsets", {offset, end}}};
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
    require(length <= kMaxHeader, path.string(), ": a header of ", length, " bytes is over the ",
            kMaxHeader, " that may be read");

    std::string file(8, '\0');
    std::memcpy(file.data(), &length, 8);
    file.reserve(8 + text.size() + offset);
    file += text;
    for (const NamedArray& array : content.arrays) {
        file += as_text(std::as_bytes(std::span(array.values)));
    }
    write_file_atomically(path, std::as_bytes(std::span(file)));
}

Safetensors read_safetensors(const fs::path& path) {
    const std::vector<std::byte> bytes = read_file(path);
    const std::string_view file = as_text(bytes);
    require(file.size() >= 8, path.string(), ": not a safetensors file: it has only ", file.size(),
            " bytes");
    std::uint64_t length = 0;
    std::memcpy(&length, file.data(), 8);
    require(length <= kMaxHeader, path.string(), ": not a safetensors file: its header would have ",
            length, " bytes, at most ", kMaxHeader, " are allowed");
    require(length <= file.size() - 8, path.string(), ": the header should have ", length,
            " bytes, but only ", file.size() - 8, " follow: the file is truncated");
    const std::string_view data = file.substr(8 + length);
    const json header = parse_json(file.substr(8, length), path.string() + ": header");
    require(header.is_object(), path.string(), ": the header must be a JSON object");

    Safetensors content;
    std::vector<Entry> entries;
    for (const auto& [name, value] : header.items()) {
        if (name == kMetadata) {
            content.metadata = read_metadata(value, path);
        } else {
            entries.push_back(read_entry(name, value, data.size(), place(path, name)));
        }
    }
    std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
        return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
    });
    require_no_gap(entries, data.size(), path);
    for (Entry& entry : entries) {
        content.arrays.push_back(
            {std::move(entry.name), std::move(entry.shape),
             read_values(data.substr(entry.begin, entry.end - entry.begin), entry.width)});
    }
    return content;
}

Metadata::Metadata(const Safetensors& file, const fs::path& path, const std::string& kind)
    : metadata_(file.metadata), path_(path.string()) {
    require(entry("model") == kind, path_, ": holds a model '", entry("model"), "', expected ",
            kind);
}

const std::string& Metadata::entry(const std::string& key) const {
    const auto found = metadata_.find(key);
    require(found != metadata_.end(), path_, ": no ", key,
            " in its metadata: not a model of this program");
    return found->second;
}

int Metadata::to_number(const std::string& key, const std::string& digits, int most) const {
    const bool whole = !digits.empty() && digits.size() < 10 &&
                       digits.find_first_not_of("0123456789") == std::string::npos;
    require(whole && std::stoi(digits) > 0 && std::stoi(digits) <= most, path_, ": ", key, " is '",
            digits, "', expected a number from 1 to ", most);
    return std::stoi(digits);
}

}  // namespace diffusion
