#include "kernels/upsample.hpp"

#include <algorithm>

#include "kernels/threads.hpp"
#include "kernels/winograd_doubled.hpp"

namespace diffusion {
namespace {

/// The shape of x doubled to the height and width of y.
Shape doubled_shape(const Shape& x, const Shape& y) {
    const Shape doubled{x[0], y[1], y[2], x[3]};
    require(x.rank == 4 && y.rank == 4 && x[1] == (y[1] + 1) / 2 && x[2] == (y[2] + 1) / 2,
            "upsample: ", x, " does not double to ", doubled);
    return doubled;
}

}  // namespace

template <class T>
void conv2d_doubled(Tensor<const T> x, Tensor<const T> weight, Tensor<T> y, Arena& scratch,
                    Plus<T> plus) {
    const Shape large = doubled_shape(x.shape(), y.shape());
    require(conv2d_shape(large, weight.shape()) == y.shape(), "conv2d: y is ", y.shape());
    if (plus.pixels == nullptr && use_winograd_doubled<T>(y.shape(), weight.shape())) {
        winograd_doubled<T>(x, weight, plus, y, scratch);
        return;
    }
    conv2d_doubled_copy<T>(x, weight, y, scratch, plus);
}

template <class T>
void conv2d_doubled_vjp(Tensor<const T> x, Tensor<const T> weight, Tensor<const T> dy,
                        const DoubledGradients<T>& to, Arena& scratch) {
    const Shape large = doubled_shape(x.shape(), dy.shape());
    require(conv2d_shape(large, weight.shape()) == dy.shape(), "conv2d_doubled_vjp: dy is ",
            dy.shape());
    require(!to.x || to.x.shape() == x.shape(), "conv2d_doubled_vjp: x is ", x.shape(),
            ", its gradient ", to.x.shape());
    require(!to.weight || to.weight.shape() == weight.shape(), "conv2d_doubled_vjp: weight is ",
            weight.shape(), ", its gradient ", to.weight.shape());
    if (use_winograd_doubled<T>(dy.shape(), weight.shape())) {
        winograd_doubled_vjp<T>(x, weight, dy, to, scratch);
        return;
    }
    conv2d_doubled_copy_vjp<T>(x, weight, dy, to, scratch);
}

template <class T>
void upsample(Tensor<const T> x, Tensor<T> y) {
    require(y.shape() == doubled_shape(x.shape(), y.shape()), "upsample: ", x.shape(),
            " does not double to ", y.shape());
    const int channels = x.size(3), height = y.size(1);
    in_parts(y.size(0) * height, 4, [&](int begin, int end) {
        for (int row = begin; row < end; ++row) {
            const int n = row / height, i = row % height;
            for (int j = 0; j < y.size(2); ++j)
                std::copy_n(&x(n, i / 2, j / 2, 0), channels, &y(n, i, j, 0));
        }
    });
}

template <class T>
void upsample_vjp(Tensor<const T> dy, bool add, Tensor<T> dx) {
    const int channels = dx.size(3);
    if (!add) std::fill(dx.begin(), dx.end(), T(0));
    for (int n = 0; n < dy.size(0); ++n) {
        for (int i = 0; i < dy.size(1); ++i) {
            for (int j = 0; j < dy.size(2); ++j) {
                const T* from = &dy(n, i, j, 0);
                T* to = &dx(n, i / 2, j / 2, 0);
#pragma omp simd
                for (int c = 0; c < channels; ++c) to[c] += from[c];
            }
        }
    }
}

#define DIFFUSION_INSTANTIATE(T)                                                                \
    template void conv2d_doubled(Tensor<const T>, Tensor<const T>, Tensor<T>, Arena&, Plus<T>); \
    template void conv2d_doubled_vjp(Tensor<const T>, Tensor<const T>, Tensor<const T>,         \
                                     const DoubledGradients<T>&, Arena&);                       \
    template void upsample(Tensor<const T>, Tensor<T>);                                         \
    template void upsample_vjp(Tensor<const T>, bool, Tensor<T>);
DIFFUSION_INSTANTIATE(float)
DIFFUSION_INSTANTIATE(double)
#undef DIFFUSION_INSTANTIATE

}  // namespace diffusion
