#include "kernels/conv_windows.hpp"

#include <algorithm>

#include "kernels/gemm.hpp"
#include "kernels/simd.hpp"
#include "kernels/threads.hpp"

namespace diffusion {
namespace {

/// The windows as rows of a matrix: row (n,i,j), columns (u,v,c).
template <class T>
struct Windows {
    Tensor<const T> x;
    int height, width;  ///< of y
    int kernel, stride, before;

    /// Columns first .. first + count - 1 of a row.
    void copy(int row, int first, int count, T* to) const {
        const int channels = x.size(3), image = row / (height * width),
                  top = stride * (row / width % height) - before,
                  left = stride * (row % width) - before;
        for (int done = 0; done < count;) {
            const int tap = (first + done) / channels, c = (first + done) % channels,
                      numbers = std::min(channels - c, count - done);
            const int i = top + tap / kernel, j = left + tap % kernel;
            if (i >= 0 && i < x.size(1) && j >= 0 && j < x.size(2)) {
                std::copy_n(&x(image, i, j, c), numbers, to + done);
            } else {
                std::fill_n(to + done, numbers, T(0));
            }
            done += numbers;
        }
    }
};

}  // namespace

template <class T>
void conv2d_windows(Tensor<const T> x, Tensor<const T> weight, ConvOptions options, Plus<T> plus,
                    Tensor<T> y) {
    const int kernel = weight.size(0), k = kernel * kernel * weight.size(2), n = weight.size(3);
    const Windows<T> windows{x,      y.size(1),      y.size(2),
                             kernel, options.stride, options.before(kernel)};
    const Blocks<T> blocks = [&](int row, int rows, int column, int columns, T* to) {
        for (int r = 0; r < rows; ++r) windows.copy(row + r, column, columns, to + r * columns);
    };
    const bool add = plus.start(y);
    constexpr int w = Simd<T>::width;
    in_parts((n + w - 1) / w, 1, [&](int begin, int end) {  // of the output channels
        thread_local Arena own;
        own.reset();
        const int first = begin * w, count = std::min(n, end * w) - first;
        const Packed<T> packed = pack<T>(k, count, {weight.data() + first, n, 1}, own);
        gemm<T>(y.rows().size(0), blocks, packed, y.data() + first, add, n);
    });
}

template void conv2d_windows(Tensor<const float>, Tensor<const float>, ConvOptions, Plus<float>,
                             Tensor<float>);
template void conv2d_windows(Tensor<const double>, Tensor<const double>, ConvOptions, Plus<double>,
                             Tensor<double>);

}  // namespace diffusion
