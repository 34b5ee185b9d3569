#pragma once
// Safetensors: named arrays in one file or several, the usual container for model weights. A file
// is eight bytes with the length of a JSON header, the header (for each tensor its dtype, its shape
// and where its bytes are), then the numbers, without gaps. A large model is cut into such files,
// its shards; an index beside them says which tensor lies where.
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/file_reader.hpp"
#include "tensor/dtype.hpp"

namespace diffusion {

/// What a header says of a tensor.
struct StoredTensor {
    std::string name;
    Dtype dtype = Dtype::f32;
    std::vector<int> shape;   ///< outermost first; empty for a single number
    std::uint64_t count = 1;  ///< of its numbers: the product of the shape
    std::uint64_t begin = 0;  ///< where its first byte lies in the file
    std::size_t shard = 0;    ///< which file
};

/// A file, or all shards of an index, open for reading. The numbers stay on the disk until they are
/// asked for. Nothing in the files is trusted: a header may have at most 100 MB, every tensor must
/// lie inside its file with exactly the bytes that its shape needs, the tensors must cover the data
/// without overlap, gap or rest, and shards must hold what the index says and nothing else. The
/// Error names the file and the tensor; of a pickle, a Git LFS pointer or a web page that bears a
/// model's name it says what it is, and what to do.
class SafetensorsFile {
public:
    /// `path` is X.safetensors or X.safetensors.index.json. If there is no X.safetensors, but its
    /// index, that is opened.
    explicit SafetensorsFile(const std::filesystem::path& path,
                             FileReader::Access access = FileReader::Access::mapped);

    /// The file that was opened: of several the index.
    const std::filesystem::path& path() const { return path_; }
    /// In the order in which they lie in the file; shard after shard.
    const std::vector<StoredTensor>& tensors() const { return tensors_; }
    /// Null if there is none of this name.
    const StoredTensor* find(std::string_view name) const;
    /// Free text, such as the model's configuration.
    const std::map<std::string, std::string>& metadata() const { return metadata_; }
    /// "model.safetensors: tensor "conv.weight"": how an error about this tensor begins.
    std::string place_of(const StoredTensor& tensor) const;

    /// Fills `to` with the numbers of a tensor from number `first` on, in the order of the file. T
    /// is float, double or Half, whatever the file holds (see convert), or std::int64_t for I64. Uses all
    /// threads for a large part, and may itself be called by several at a time. What has been read
    /// takes no memory but `to`. Error if the tensor does not have so many numbers, or numbers that
    /// T cannot be.
    template <class T>
    void read(const StoredTensor& tensor, std::uint64_t first, std::span<T> to) const;

private:
    void add_file(const std::filesystem::path& path, FileReader::Access access);
    void add_shards(const std::filesystem::path& index, FileReader::Access access);

    std::filesystem::path path_;
    std::vector<FileReader> files_;
    std::vector<StoredTensor> tensors_;
    std::map<std::string, std::string> metadata_;
};

struct NamedArray {
    std::string name;
    std::vector<int> shape;     ///< outermost first; empty for a single number
    std::vector<float> values;  ///< row-major, as many as the product of the shape
};

/// A whole file in memory: handy where it is small, or where nearly all of it is to be written.
struct Safetensors {
    std::vector<NamedArray> arrays;               ///< in the order in which they lie in the file
    std::map<std::string, std::string> metadata;  ///< free text, such as the model's configuration
};

/// All that a file or its shards hold, as floats.
Safetensors read_safetensors(const std::filesystem::path& path);

/// Writes every array as F32, atomically. Error if a name occurs twice or a shape does not fit its
/// values.
void write_safetensors(const std::filesystem::path& path, const Safetensors& content);

/// An array whose numbers lie elsewhere.
struct ArrayView {
    std::string name;
    std::vector<int> shape;
    std::span<const float> values;
};

/// The same without a copy of the numbers.
void write_safetensors(const std::filesystem::path& path, std::span<const ArrayView> arrays,
                       const std::map<std::string, std::string>& metadata);

/// The same as F16: half the size, and numbers rounded to 11 bits. Error, naming the tensor, if a
/// number is too large for it.
void write_halves(const std::filesystem::path& path, std::span<const ArrayView> arrays,
                  const std::map<std::string, std::string>& metadata);

/// The settings of a model, from the metadata of its file. Errors name the file and the setting.
class Metadata {
public:
    /// Fails unless the file says that it holds a model of this kind. The file must outlive it.
    Metadata(const SafetensorsFile& file, const std::string& kind);

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
