#pragma once
// The header of a safetensors file, with all that can be wrong with it.
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "io/safetensors.hpp"

namespace diffusion {

inline constexpr std::uint64_t kMaxSafetensorsHeader = 100'000'000;  ///< bytes
inline constexpr const char* kSafetensorsMetadata = "__metadata__";
/// How much of a file tells what it is, in bytes.
inline constexpr std::uint64_t kBeginning = 256;

/// model.safetensors: tensor "conv.weight"
std::string safetensors_place(const std::filesystem::path& path, const std::string& tensor);

struct SafetensorsHeader {
    std::vector<StoredTensor> tensors;  ///< in the order in which they lie, `shard` not set
    std::map<std::string, std::string> metadata;
};

/// Reads and checks it as SafetensorsFile says.
SafetensorsHeader read_safetensors_header(const FileReader& file);

/// Fails if a file that begins so is one of those that often bear a model's name, and says what it
/// is and what to do.
void refuse_known_strangers(std::string_view beginning, const std::filesystem::path& path);

}  // namespace diffusion
