#pragma once
// Convolution with a 3x3 kernel and stride 1 in fewer multiplications: Winograd's F(4x4, 3x3)
// (Lavin, Gray 2015, arXiv:1509.09308).
//
// The output is cut into tiles of 4x4 pixels. A tile depends on 6x6 pixels d of the input; with
// fixed matrices B, G and A
//     y = A^T [ (G w G^T) * (B^T d B) ] A,     * element by element (4.18),
// so that a tile takes 36 multiplications for each pair of channels in place of 144. Over all tiles
// and channels the 36 element-wise products are 36 matrix products. The price is rounding: about
// five times that of the direct sum in float.
#include <array>
#include <memory>
#include <utility>
#include <vector>

#include "kernels/conv.hpp"
#include "kernels/gemm.hpp"

namespace diffusion {

/// G w G^T at the 36 points, as right operands of the products: of the weight, and of the weight
/// that the data VJP convolves with, turned by half a turn and its channels exchanged.
template <class T>
struct ReadyWeight {
    static constexpr int kPoints = 36;
    std::array<Packed<T>, kPoints> forward, backward;
};
template <class T>
ReadyWeight<T> make_ready(Tensor<const T> weight, Arena& memory);

/// The ReadyWeights of all 3x3 convolutions of a model whose parameters lie in one block.
template <class T>
class ReadyWeights {
public:
    /// Where in the block they lie, and their shapes [3,3,C,O].
    explicit ReadyWeights(const std::vector<std::pair<std::ptrdiff_t, Shape>>& places);

    /// Makes them from the block, in parallel. They serve until the values change or clear().
    void update(const T* block);
    void clear();

    /// That of the weight at this address; nullptr if there is none.
    const ReadyWeight<T>* find(const T* weight) const;

private:
    struct Item {
        std::ptrdiff_t offset;
        Shape shape;
        ReadyWeight<T> ready;
    };
    std::vector<Item> items_;                     // in the order of their offsets
    std::vector<std::unique_ptr<Arena>> memory_;  // one for each thread
    const T* block_ = nullptr;
};

/// y = conv2d(x, weight) + plus for weight [3,3,C,O], stride 1.
template <class T>
void winograd(Tensor<const T> x, Tensor<const T> weight, Plus<T> plus, Tensor<T> y, Arena& scratch,
              const ReadyWeight<T>* ready = nullptr);

/// dx (+)= the data VJP.
template <class T>
void winograd_data_vjp(Tensor<const T> dy, Tensor<const T> weight, bool accumulate, Tensor<T> dx,
                       Arena& scratch, const ReadyWeight<T>* ready = nullptr);

/// dweight += the weight VJP: the adjoint of every factor, in reverse order (4.19).
template <class T>
void winograd_weight_vjp(Tensor<const T> x, Tensor<const T> dy, Tensor<T> dweight, Arena& scratch);

}  // namespace diffusion
