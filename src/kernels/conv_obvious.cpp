#include "kernels/conv.hpp"

namespace diffusion {
namespace {

/// Calls visit(n, i, j, u, v, row, column) for every output pixel (n, i, j) and every kernel place
/// (u, v) whose input pixel (row, column) lies inside the image.
template <class Visit>
void for_each_pair(const Shape& x, const Shape& weight, int stride, Visit visit) {
    const Shape y = conv2d_shape(x, weight, stride);
    const int kernel = weight[0], pad = kernel / 2;
    for (int n = 0; n < y[0]; ++n) {
        for (int i = 0; i < y[1]; ++i) {
            for (int j = 0; j < y[2]; ++j) {
                for (int u = 0; u < kernel; ++u) {
                    for (int v = 0; v < kernel; ++v) {
                        const int row = stride * i + u - pad, column = stride * j + v - pad;
                        if (row < 0 || row >= x[1] || column < 0 || column >= x[2]) continue;
                        visit(n, i, j, u, v, row, column);
                    }
                }
            }
        }
    }
}

}  // namespace

template <class T>
void conv2d_obvious(Tensor<const T> x, Tensor<const T> weight, int stride, Tensor<T> y) {
    for (T& value : y) value = 0;
    for_each_pair(x.shape(), weight.shape(), stride,
                  [&](int n, int i, int j, int u, int v, int r, int s) {
                      for (int c = 0; c < weight.size(2); ++c) {
                          for (int o = 0; o < weight.size(3); ++o)
                              y(n, i, j, o) += x(n, r, s, c) * weight(u, v, c, o);
                      }
                  });
}

template <class T>
void conv2d_data_vjp_obvious(Tensor<const T> dy, Tensor<const T> weight, int stride, Tensor<T> dx) {
    for_each_pair(dx.shape(), weight.shape(), stride,
                  [&](int n, int i, int j, int u, int v, int r, int s) {
                      for (int c = 0; c < weight.size(2); ++c) {
                          for (int o = 0; o < weight.size(3); ++o)
                              dx(n, r, s, c) += dy(n, i, j, o) * weight(u, v, c, o);
                      }
                  });
}

template <class T>
void conv2d_weight_vjp_obvious(Tensor<const T> x, Tensor<const T> dy, int stride,
                               Tensor<T> dweight) {
    for_each_pair(x.shape(), dweight.shape(), stride,
                  [&](int n, int i, int j, int u, int v, int r, int s) {
                      for (int c = 0; c < dweight.size(2); ++c) {
                          for (int o = 0; o < dweight.size(3); ++o)
                              dweight(u, v, c, o) += x(n, r, s, c) * dy(n, i, j, o);
                      }
                  });
}

#define DIFFUSION_INSTANTIATE(T)                                                             \
    template void conv2d_obvious(Tensor<const T>, Tensor<const T>, int, Tensor<T>);          \
    template void conv2d_data_vjp_obvious(Tensor<const T>, Tensor<const T>, int, Tensor<T>); \
    template void conv2d_weight_vjp_obvious(Tensor<const T>, Tensor<const T>, int, Tensor<T>);
DIFFUSION_INSTANTIATE(float)
DIFFUSION_INSTANTIATE(double)
#undef DIFFUSION_INSTANTIATE

}  // namespace diffusion
