#pragma once
// The parameters of a model: names, shapes, and one contiguous block for all of them.
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "02_gradients/tape.hpp"
#include "io/safetensors.hpp"
#include "tensor/array.hpp"

namespace diffusion {

/// How PyTorch orders the same numbers. Here a linear weight is [.., in, out] and a convolution's
/// [K, K, in, out], so that both are right operands of a matrix product; files hold [out, in] and
/// [out, in, K, K].
enum class Layout { plain, linear, conv };

/// What a parameter's values are before training.
struct Init {
    enum class Kind { constant, uniform, normal };
    Kind kind = Kind::constant;
    double size = 0;

    static Init constant(double value) { return {Kind::constant, value}; }
    /// In [-bound, bound]. PyTorch's default for linear layers and convolutions has the bound 1 /
    /// sqrt(inputs of one output).
    static Init uniform(double bound) {
        return {bound > 0 ? Kind::uniform : Kind::constant,
                bound};  // not a random zero of 0 and -0
    }
    /// With mean 0.
    static Init normal(double deviation) { return {Kind::normal, deviation}; }
};

/// How a file is read. Several modules may stand in one list, each with a prefix to its names; a
/// module's own file does not have it.
struct Loading {
    std::string prefix = {};  ///< reads only the parameters whose names begin so, by the rest
    bool all = true;          ///< fails if one of these is missing; or else leaves it as it is
    bool only = true;         ///< fails if the file holds anything else; or else ignores that
    /// From a name in the file to the parameter's, for files with the names of older programs.
    std::function<std::string(const std::string&)> rename = {};
    std::vector<std::string> pass_over = {};  ///< tensors that may be there and are not read
};

/// Values are of type float, double or, for a trained model in half the memory, Half.
class ParameterList {
public:
    /// Registers a parameter. Fails if there is one of this name already.
    Parameter add(std::string name, Shape shape, Layout layout, Init init);
    /// A parameter that is several in files: equal parts of its last axis, each with its own name.
    Parameter add_joined(std::vector<std::string> names, Shape shape, Layout layout, Init init);

    std::ptrdiff_t count() const { return count_; }  ///< numbers of all parameters
    std::ptrdiff_t block() const {
        return block_;
    }  ///< elements of the block that holds them, gaps included

    /// The name of the parameter that element `offset` belongs to.
    const std::string& name_at(std::ptrdiff_t offset) const;

    /// Weights that join hidden values, for Muon: matrices and kernels with at least 8 inputs and 8
    /// outputs. The layers that face the picture have fewer.
    std::vector<Parameter> matrices() const;

    /// Initial values, a function of the seed.
    template <class T>
    void initialise(std::span<T> values, std::uint64_t seed) const;

    /// To named arrays in PyTorch's layouts. With a prefix only the parameters whose names begin
    /// so, by the rest of the name.
    template <class T>
    std::vector<NamedArray> to_arrays(std::span<const T> values,
                                      const std::string& prefix = {}) const;
    /// From a file that has them, whatever its dtypes. Buffers that peers save beside the weights
    /// are passed over. Both fail, naming the file and the parameter, if one is missing, unknown or
    /// of another shape (`values` are then as before), or has a number that is not finite.
    template <class T>
    Array<T> from_file(const SafetensorsFile& file, const Loading& how = {}) const;
    template <class T>
    void load(std::span<T> values, const SafetensorsFile& file, const Loading& how = {}) const;

private:
    struct Entry {
        std::vector<std::string> names;  ///< of its parts
        Parameter where;
        Layout layout;
        Init init;
    };
    /// A tensor of a file, and the part of a parameter that it is.
    struct Match {
        const StoredTensor* tensor;
        const Entry* entry;
        int part;
    };
    /// What of the file belongs where. Fails as load does.
    std::vector<Match> found_in(const SafetensorsFile& file, const Loading& how) const;

    std::vector<Entry> entries_;
    std::ptrdiff_t count_ = 0, block_ = 0;
};

}  // namespace diffusion
