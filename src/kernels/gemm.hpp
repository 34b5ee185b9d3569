#pragma once
// C = A B, C += A B: the one matrix product behind linear layers, convolutions and attention.
#include <cstddef>
#include <functional>

#include "tensor/arena.hpp"

namespace diffusion {

/// A matrix that is read through two strides: element (i, j) is at data[i * row + j * column]. Rows
/// may overlap, which is how a convolution reads its shifted windows without copying them.
template <class T>
struct Strided {
    const T* data;
    std::ptrdiff_t row, column;
};

template <class T>
Strided<T> by_rows(const T* data, int columns) {
    return {data, columns, 1};
}
template <class T>
Strided<T> transposed(const T* data, int columns) {
    return {data, 1, columns};
}

/// b[k,n] as the inner loop reads it: in panels of two or three SIMD registers, the last one
/// perhaps of one, and padded with zeros.
template <class T>
struct Packed {
    const T* data;
    int k, n;
    std::ptrdiff_t row;     ///< from a row of a panel to the next; 0: rows lie side by side
    std::ptrdiff_t column;  ///< the panel of column j begins at data + j * column
};
/// Copies b into panels; where its rows are whole registers already it is used as it lies, and must
/// outlive the result.
template <class T>
Packed<T> pack(int k, int n, Strided<T> b, Arena& memory);

/// c[m,n] = a[m,k] b[k,n], or c += with `accumulate`; the rows of c are c_row apart (0: n). `plus`,
/// if given, is a row [n] that every row of c starts from. Every element is summed over k in order,
/// so the result does not depend on how the work is cut.
template <class T>
void gemm(int m, Strided<T> a, Packed<T> b, T* c, bool accumulate, std::ptrdiff_t c_row = 0,
          const T* plus = nullptr);

/// The same for a b that is used once, on all cores where no parallel loop is running. `scratch`
/// lends memory for the packed b and gets it back.
template <class T>
void gemm(int m, int n, int k, Strided<T> a, Strided<T> b, T* c, bool accumulate, Arena& scratch,
          std::ptrdiff_t c_row = 0, const T* plus = nullptr);

/// A matrix a[m,k] that is nowhere as a whole: read(i, rows, p, columns, to) writes the block of
/// rows i .. and columns p .. to memory [rows,columns].
template <class T>
using Blocks = std::function<void(int i, int rows, int p, int columns, T* to)>;

/// c = a b or c += a b for such an a; b is read once, from its first row to its last.
template <class T>
void gemm(int m, const Blocks<T>& a, Packed<T> b, T* c, bool accumulate, std::ptrdiff_t c_row);

}  // namespace diffusion
