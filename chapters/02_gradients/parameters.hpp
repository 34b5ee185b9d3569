#pragma once
// The parameters of a model: names, shapes, and one contiguous block for all of them.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "02_gradients/tape.hpp"
#include "io/safetensors.hpp"

namespace diffusion {

/// How PyTorch orders the same numbers. Here a linear weight is [in, out] and a convolution's [K,
/// K, in, out], so that both are right operands of a matrix product; files hold [out, in] and [out,
/// in, K, K].
enum class Layout { plain, linear, conv };

class ParameterList {
public:
    /// Registers a parameter. Its initial values are uniform in [-bound, bound] (PyTorch's default
    /// has bound 1 / sqrt(inputs of one output)), or `constant` where bound is 0.
    Parameter add(std::string name, Shape shape, Layout layout, double bound,
                  double constant = 0.0);

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

    /// To and from named arrays in PyTorch's layouts. from_arrays fails, naming the file and the
    /// parameter, if one is missing, unknown or of another shape.
    template <class T>
    std::vector<NamedArray> to_arrays(std::span<const T> values) const;
    template <class T>
    std::vector<T> from_arrays(const Safetensors& file, const std::string& path) const;

private:
    struct Entry {
        std::string name;
        Parameter where;
        Layout layout;
        double bound, constant;
    };
    std::vector<Entry> entries_;
    std::ptrdiff_t count_ = 0, block_ = 0;
};

}  // namespace diffusion
