#pragma once
// A tensor's numbers as one of Eigen's arrays, for formulas on whole tensors:
//     flat(xs) = to.a * flat(x0) + to.s * flat(eps);
#include <Eigen/Core>
#include <type_traits>

#include "tensor/tensor.hpp"

namespace diffusion {

/// A view, in memory order; an expression of such views is one vectorised loop.
template <class T>
auto flat(Tensor<T> x) {
    using Array = Eigen::Array<std::remove_const_t<T>, Eigen::Dynamic, 1>;
    using View = std::conditional_t<std::is_const_v<T>, const Array, Array>;
    return Eigen::Map<View>(x.data(), x.numel());
}

}  // namespace diffusion
