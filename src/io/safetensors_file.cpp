// Reading: which file a tensor lies in, and its numbers.
#include <algorithm>
#include <array>
#include <type_traits>

#include "io/files.hpp"
#include "io/json.hpp"
#include "io/safetensors_header.hpp"
#include "kernels/threads.hpp"
#include "tensor/check.hpp"

namespace diffusion {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::string_view kIndexEnding = ".index.json";
constexpr std::uint64_t kPart = 1 << 18;      ///< numbers that a thread reads at a time
constexpr std::size_t kConverted = 16 << 10;  ///< bytes that are converted at a time, in the cache

/// X.safetensors.index.json, or X.safetensors.index.fp16.json as the libraries call the index of
/// their half-precision shards.
bool is_index(const fs::path& path) {
    const std::string name = path.filename().string();
    return name.ends_with(kIndexEnding) || name.ends_with(".index.fp16.json");
}

/// Numbers from byte `begin` of the file on.
template <class T>
void read_part(const FileReader& file, Dtype dtype, std::uint64_t begin, std::span<T> to) {
    const std::size_t width = width_of(dtype);
    const std::uint64_t end = begin + to.size() * width;
    if (std::is_same_v<T, float> && dtype == Dtype::f32) {
        file.read(begin, std::as_writable_bytes(to));
    } else {
        alignas(64) std::array<std::byte, kConverted> bytes;
        for (std::uint64_t at = begin; !to.empty();) {
            const std::size_t n = std::min(to.size(), kConverted / width);
            file.read(at, std::span(bytes).first(n * width));
            convert(dtype, bytes.data(), to.first(n));
            to = to.subspan(n);
            at += n * width;
        }
    }
    file.drop(begin, end);
}

/// Which shard each tensor lies in, by the index.
std::map<std::string, std::string> read_weight_map(const fs::path& index) {
    const std::vector<std::byte> bytes = read_file(index);
    refuse_known_strangers(as_text(bytes).substr(0, kBeginning), index);
    const json content = parse_json(as_text(bytes), index.string());
    require(
        content.is_object() && content.contains("weight_map") && content["weight_map"].is_object(),
        index.string(), ": not an index of shards: expected an object with weight_map");
    std::map<std::string, std::string> shards;
    for (const auto& [tensor, shard] : content["weight_map"].items()) {
        require(shard.is_string() && !shard.get<std::string>().empty() &&
                    fs::path(shard.get<std::string>()).filename() == shard.get<std::string>() &&
                    shard != "." && shard != "..",
                safetensors_place(index, tensor),
                ": its shard must be the name of a file beside the index, found ",
                in_quotes(shard.dump()));
        shards[tensor] = shard;
    }
    return shards;
}

}  // namespace

SafetensorsFile::SafetensorsFile(const fs::path& path, FileReader::Access access) : path_(path) {
    const fs::path index = path.string() + std::string(kIndexEnding);
    std::error_code ignored;  // what cannot be asked for cannot be opened either
    require(!fs::is_directory(path, ignored), path.string(),
            ": a folder; name the .safetensors file or the .safetensors.index.json inside");
    if (is_index(path)) {
        add_shards(path, access);
    } else if (!fs::exists(path, ignored) && fs::exists(index, ignored)) {
        path_ = index;
        add_shards(index, access);
    } else {
        add_file(path, access);
    }
}

void SafetensorsFile::add_file(const fs::path& path, FileReader::Access access) {
    FileReader file(path, access);
    SafetensorsHeader header = read_safetensors_header(file);
    for (StoredTensor& tensor : header.tensors) {
        tensor.shard = files_.size();
        tensors_.push_back(std::move(tensor));
    }
    metadata_.merge(header.metadata);
    files_.push_back(std::move(file));
}

void SafetensorsFile::add_shards(const fs::path& index, FileReader::Access access) {
    std::map<std::string, std::string> missing = read_weight_map(index);
    std::map<std::string, fs::path> shards;  // by name, so in their order
    for (const auto& [tensor, shard] : missing) shards[shard] = index.parent_path() / shard;
    std::error_code ignored;
    for (const auto& [name, path] : shards) {
        require(fs::exists(path, ignored), index.string(), ": the shard ", in_quotes(name),
                " is not beside it; all ", shards.size(), " files are needed");
    }
    for (const auto& [name, path] : shards) {
        const std::size_t first = tensors_.size();
        add_file(path, access);
        for (std::size_t i = first; i < tensors_.size(); ++i) {
            const auto found = missing.find(tensors_[i].name);
            require(found != missing.end() && found->second == name, place_of(tensors_[i]),
                    ": the index ", index.filename().string(),
                    " does not say that it is in this file");
            missing.erase(found);
        }
    }
    for (const auto& [tensor, shard] : missing) {
        fail(safetensors_place(index, tensor), ": is not in ", in_quotes(shard),
             ", where the index says it is");
    }
}

const StoredTensor* SafetensorsFile::find(std::string_view name) const {
    const auto found = std::find_if(tensors_.begin(), tensors_.end(),
                                    [&](const StoredTensor& t) { return t.name == name; });
    return found == tensors_.end() ? nullptr : &*found;
}

std::string SafetensorsFile::place_of(const StoredTensor& tensor) const {
    return safetensors_place(files_[tensor.shard].path(), tensor.name);
}

template <class T>
void SafetensorsFile::read(const StoredTensor& tensor, std::uint64_t first, std::span<T> to) const {
    require(first <= tensor.count && to.size() <= tensor.count - first, place_of(tensor), ": has ",
            tensor.count, " numbers, cannot read ", to.size(), " from number ", first, " on");
    require(!std::is_integral_v<T> || tensor.dtype == Dtype::i64, place_of(tensor),
            ": expected whole numbers, as I64");
    const FileReader& file = files_[tensor.shard];
    const std::uint64_t parts = (to.size() + kPart - 1) / kPart;
    parallel_for(static_cast<int>(parts), in_parallel() ? 1 : thread_count(), [&](int p) {
        const std::uint64_t begin = static_cast<std::uint64_t>(p) * kPart,
                            count = std::min(to.size() - begin, kPart);
        read_part(file, tensor.dtype, tensor.begin + (first + begin) * width_of(tensor.dtype),
                  to.subspan(begin, count));
    });
}

template void SafetensorsFile::read(const StoredTensor&, std::uint64_t, std::span<float>) const;
template void SafetensorsFile::read(const StoredTensor&, std::uint64_t, std::span<double>) const;
template void SafetensorsFile::read(const StoredTensor&, std::uint64_t, std::span<Half>) const;
template void SafetensorsFile::read(const StoredTensor&, std::uint64_t,
                                    std::span<std::int64_t>) const;

}  // namespace diffusion
