#include "io/safetensors_header.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <tuple>

#include "io/json.hpp"
#include "tensor/check.hpp"

namespace diffusion {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::uint64_t kMaxSize = std::numeric_limits<int>::max();

struct NamedDtype {
    const char* name;
    Dtype dtype;
};
constexpr NamedDtype kDtypes[] = {{"F64", Dtype::f64},
                                  {"F32", Dtype::f32},
                                  {"F16", Dtype::f16},
                                  {"BF16", Dtype::bf16},
                                  {"I64", Dtype::i64}};

Dtype read_dtype(const json& value, const std::string& where) {
    for (const NamedDtype& each : kDtypes)
        if (value == each.name) return each.dtype;
    fail(where, ": dtype ", in_quotes(value.is_string() ? value.get<std::string>() : value.dump()),
         " cannot be read; convert the tensor to F32, F16 or BF16");
}

/// The sizes, and their product in tensor.count. Fails unless that many numbers have `bytes` bytes.
void read_shape(const json& value, std::uint64_t bytes, const std::string& where,
                StoredTensor& tensor) {
    require(value.is_array(), where, ": shape must be a list of sizes");
    const std::uint64_t width = width_of(tensor.dtype), most = bytes / width;
    bool fits = true, empty = false;
    for (const json& size : value) {
        require(size.is_number_unsigned() && size.get<std::uint64_t>() <= kMaxSize, where,
                ": a size in shape must be from 0 to ", kMaxSize, ", found ",
                in_quotes(size.dump()));
        const auto n = size.get<std::uint64_t>();
        tensor.shape.push_back(static_cast<int>(n));
        empty = empty || n == 0;
        fits = fits && (n == 0 || tensor.count <= most / n);  // the product might overflow
        if (fits && n != 0) tensor.count *= n;
    }
    if (empty) tensor.count = 0;
    require((fits || empty) && tensor.count * width == bytes, where, ": shape ",
            in_quotes(value.dump()), " of ", width, "-byte numbers does not fit the ", bytes,
            " bytes of data_offsets");
}

/// One entry of the header; `begin` counts from the start of the data.
StoredTensor read_entry(const std::string& name, const json& value, std::uint64_t data_size,
                        const std::string& where) {
    require(value.is_object() && value.size() == 3 && value.contains("dtype") &&
                value.contains("shape") && value.contains("data_offsets"),
            where, ": expected an object with dtype, shape and data_offsets");
    StoredTensor tensor;
    tensor.name = name;
    tensor.dtype = read_dtype(value["dtype"], where);

    const json& offsets = value["data_offsets"];
    require(offsets.is_array() && offsets.size() == 2 && offsets[0].is_number_unsigned() &&
                offsets[1].is_number_unsigned(),
            where, ": data_offsets must be two whole numbers, found ", in_quotes(offsets.dump()));
    tensor.begin = offsets[0];
    const std::uint64_t end = offsets[1];
    require(tensor.begin <= end, where, ": data_offsets run backwards, from ", tensor.begin, " to ",
            end);
    require(end <= data_size, where, ": ends at byte ", end, " of the data, which has ", data_size,
            ": the file is truncated or damaged");
    read_shape(value["shape"], end - tensor.begin, where, tensor);
    return tensor;
}

std::map<std::string, std::string> read_metadata(const json& value, const fs::path& path) {
    std::map<std::string, std::string> metadata;
    require(value.is_object(), path.string(), ": ", kSafetensorsMetadata,
            " must be an object of strings");
    for (const auto& [key, text] : value.items()) {
        require(text.is_string(), path.string(), ": ", kSafetensorsMetadata, ": ", in_quotes(key),
                " must be a string");
        metadata[key] = text;
    }
    return metadata;
}

/// The tensors must cover the data exactly, each beginning where the one before ends.
void require_no_gap(const std::vector<StoredTensor>& tensors, std::uint64_t data_size,
                    const fs::path& path) {
    std::uint64_t end = 0;
    std::string before = "the header";
    for (const StoredTensor& tensor : tensors) {
        const std::string where = safetensors_place(path, tensor.name);
        require(tensor.begin >= end, where, ": overlaps ", before);
        require(tensor.begin <= end, where, ": ", tensor.begin - end,
                " unused bytes between it and ", before);
        end = tensor.begin + tensor.count * width_of(tensor.dtype);
        before = in_quotes(tensor.name);
    }
    require(end == data_size, path.string(), ": ", data_size - end, " unused bytes after ", before);
}

std::string text_of(const FileReader& file, std::uint64_t begin, std::uint64_t size) {
    std::string text(static_cast<std::size_t>(size), '\0');
    file.read(begin, std::as_writable_bytes(std::span(text)));
    return text;
}

}  // namespace

std::string safetensors_place(const fs::path& path, const std::string& tensor) {
    return path.string() + ": tensor " + in_quotes(tensor);
}

void refuse_known_strangers(std::string_view beginning, const fs::path& path) {
    const auto begins_with = [&](std::string_view text) { return beginning.starts_with(text); };
    require(
        !begins_with("version https://git-lfs"), path.string(),
        ": a Git LFS pointer, which stands for the model; fetch the model itself: git lfs pull");
    const bool zip = begins_with("PK\x03\x04");
    const bool torch = beginning.find("data.pkl") != std::string_view::npos;
    require(!zip || torch, path.string(),
            ": a ZIP archive; unpack it, and name what of it holds the model");
    require(!zip && !(begins_with("\x80") && beginning.size() > 1 && beginning[1] >= 2 &&
                      beginning[1] <= 5),
            path.string(),
            ": a pickle of PyTorch, which could run any code; in Python, save what "
            "torch.load(FILE, weights_only=True) returns with safetensors.torch.save_file");
    const std::size_t text = beginning.find_first_not_of(" \t\r\n\xEF\xBB\xBF");
    require(
        text == std::string_view::npos || beginning[text] != '<', path.string(),
        ": a web page in place of the model; download the file itself (Hugging Face: an address "
        "with /resolve/, not /blob/)");
}

SafetensorsHeader read_safetensors_header(const FileReader& file) {
    const fs::path& path = file.path();
    const std::uint64_t size = file.size();
    const std::string beginning = text_of(file, 0, std::min<std::uint64_t>(size, kBeginning));
    if (beginning.size() <= 8 || beginning[8] != '{') refuse_known_strangers(beginning, path);
    const bool readable = std::all_of(
        beginning.begin(), beginning.begin() + std::min<std::ptrdiff_t>(8, std::ssize(beginning)),
        [](char c) { return c >= ' ' && c <= '~'; });  // no header is so long
    require(!readable || size == 0, path.string(),
            ": a text and not a safetensors file; it begins ",
            in_quotes(beginning.substr(0, beginning.find_first_of("\r\n"))));
    require(size >= 8, path.string(), ": not a safetensors file: it has only ", size, " bytes");
    std::uint64_t length = 0;
    std::memcpy(&length, beginning.data(), 8);
    require(length <= kMaxSafetensorsHeader, path.string(),
            ": not a safetensors file: its header would have ", length, " bytes, at most ",
            kMaxSafetensorsHeader, " are allowed");
    require(length <= size - 8, path.string(), ": the header should have ", length,
            " bytes, but only ", size - 8, " follow: the file is truncated");
    const json content = parse_json(text_of(file, 8, length), path.string() + ": header");
    require(content.is_object(), path.string(), ": the header must be a JSON object");

    SafetensorsHeader header;
    const std::uint64_t data = 8 + length;
    for (const auto& [name, value] : content.items()) {
        if (name == kSafetensorsMetadata) {
            header.metadata = read_metadata(value, path);
        } else {
            header.tensors.push_back(
                read_entry(name, value, size - data, safetensors_place(path, name)));
        }
    }
    const auto end = [](const StoredTensor& t) { return t.begin + t.count * width_of(t.dtype); };
    std::stable_sort(header.tensors.begin(), header.tensors.end(),
                     [&](const StoredTensor& a, const StoredTensor& b) {
                         return std::tuple(a.begin, end(a)) < std::tuple(b.begin, end(b));
                     });
    require_no_gap(header.tensors, size - data, path);
    file.drop(0, data);
    for (StoredTensor& tensor : header.tensors) tensor.begin += data;
    return header;
}

}  // namespace diffusion
