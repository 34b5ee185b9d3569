#pragma once
// Weights from the order in which files have them to ours, and from half precision.
#include <algorithm>
#include <cstddef>

#include "kernels/simd.hpp"
#include "kernels/threads.hpp"
#include "tensor/dtype.hpp"
#include "tensor/tensor.hpp"

namespace diffusion {

/// Weights are transposed in tiles of 64 x 64. A row of a tile is then four cache lines of ours
/// side by side; narrower tiles would come back to the same page of our memory more often.
inline constexpr std::ptrdiff_t kWeightTile = 64;

/// `rows` rows of a file's weight [out, in, taps] become columns of ours, [taps, in, out], from `x`
/// on.
template <class T>
void rows_to_columns(const T* from, std::ptrdiff_t rows, std::ptrdiff_t in, std::ptrdiff_t taps,
                     T* x, std::ptrdiff_t out) {
    const std::ptrdiff_t length = in * taps;
    T tile[kWeightTile][kWeightTile];
    for (std::ptrdiff_t row = 0; row < rows; row += kWeightTile) {
        const std::ptrdiff_t high = std::min(kWeightTile, rows - row);
        for (std::ptrdiff_t column = 0; column < length; column += kWeightTile) {
            const std::ptrdiff_t wide = std::min(kWeightTile, length - column);
            transpose(static_cast<int>(high), static_cast<int>(wide), from + row * length + column,
                      length, tile[0], kWeightTile);
            for (std::ptrdiff_t c = 0; c < wide; ++c) {
                const std::ptrdiff_t i = (column + c) / taps, k = (column + c) % taps;
                std::copy_n(tile[c], high, x + (k * in + i) * out + row);
            }
        }
    }
}

/// The same of numbers in half precision, whose bits are moved.
inline void rows_to_columns(const Half* from, std::ptrdiff_t rows, std::ptrdiff_t in,
                            std::ptrdiff_t taps, Half* x, std::ptrdiff_t out) {
    rows_to_columns(&from->bits, rows, in, taps, &x->bits, out);
}

/// All numbers of `to` from the halves at `from`, on all threads.
template <class T>
void widen(const Half* from, Tensor<T> to) {
    for_each_block(to.numel(), [&](std::ptrdiff_t begin, std::ptrdiff_t end) {
        const auto count = static_cast<std::size_t>(end - begin);
        convert(Dtype::f16, reinterpret_cast<const std::byte*>(from + begin),
                std::span<T>(to.data() + begin, count));
    });
}

}  // namespace diffusion
