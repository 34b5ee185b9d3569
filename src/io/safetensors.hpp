#pragma once
// Safetensors: named arrays in one file, the usual container for model weights. Eight bytes with
// the length of a JSON header, the header (for each tensor its dtype, its shape and where its bytes
// are), then the numbers, without gaps.
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace diffusion {

struct NamedArray {
    std::string name;
    std::vector<int> shape;     ///< outermost first; empty for a single number
    std::vector<float> values;  ///< row-major, as many as the product of the shape
};

struct Safetensors {
    std::vector<NamedArray> arrays;               ///< in the order in which they lie in the file
    std::map<std::string, std::string> metadata;  ///< free text, such as the model's configuration
};

/// Writes every array as F32, atomically. Error if a name occurs twice or a shape does not fit its
/// values.
void write_safetensors(const std::filesystem::path& path, const Safetensors& content);

/// Reads F32, and F64 rounded to float. Nothing in the file is trusted: the header may have at most
/// 100 MB, every tensor must lie inside the file with exactly the bytes that its shape needs, and
/// the tensors must cover the data without overlap, gap or rest. The Error names the file and the
/// tensor.
Safetensors read_safetensors(const std::filesystem::path& path);

/// The settings of a model, from the metadata of its file. Errors name the file and the setting.
class Metadata {
public:
    /// Fails unless the file says that it holds a model of this kind.
    Metadata(const Safetensors& file, const std::filesystem::path& path, const std::string& kind);

    const std::string& entry(const std::string& key) const;
    /// A number from 1 to `most`. No picture, width or chain of ours is larger than 9999.
    int number(const std::string& key, int most = 9999) const {
        return to_number(key, entry(key), most);
    }
    int to_number(const std::string& key, const std::string& digits, int most = 9999) const;

private:
    const std::map<std::string, std::string>& metadata_;
    std::string path_;
};

}  // namespace diffusion
