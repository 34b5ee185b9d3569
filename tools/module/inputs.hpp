#pragma once
// What `module` is given and what it gives back: tensors of a safetensors file, with the names and
// layouts of the peers. Pictures are [N,C,H,W] there and [N,H,W,C] here.
#include <filesystem>
#include <string>
#include <vector>

#include "io/safetensors.hpp"
#include "tensor/arena.hpp"

namespace diffusion {

/// The tensors of the inputs' file. Every Error names the file and the tensor.
class Inputs {
public:
    explicit Inputs(const std::filesystem::path& path) : file_(path) {}

    /// Whether an input that may be left out is there.
    bool has(const std::string& name);

    /// Of an input that is there.
    const std::vector<int>& shape_of(const std::string& name) const {
        return file_.find(name)->shape;
    }

    /// As floats, each of them finite. `shape`: the sizes that it must have, 0 for any but 0.
    NamedArray floats(const std::string& name, const std::vector<int>& shape);

    /// Whole numbers from 0 to `below` - 1, which the file holds as I64.
    std::vector<int> whole(const std::string& name, const std::vector<int>& shape, int below);

    /// Fails, naming it, if the file holds a tensor that was not asked for.
    void done() const;

private:
    const StoredTensor& get(const std::string& name, const std::vector<int>& shape);
    std::string listed() const;

    SafetensorsFile file_;
    std::vector<std::string> asked_;
};

using Outputs = std::vector<NamedArray>;

/// [N,C,H,W] to [N,H,W,C].
Tensor<float> channels_last(const NamedArray& x, Arena& arena);

/// [N,H,W,C] to [N,C,H,W].
NamedArray channels_first(const std::string& name, Tensor<const float> x);

}  // namespace diffusion
