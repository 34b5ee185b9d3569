#pragma once
// Chapter 2 on a GPU, for later chapters: see gradients.cu. Numbers lie on the GPU; rows are
// contiguous.
#include <cstdint>

#include "02_gradients/optimizer.hpp"
#include "cuda/float.hpp"

namespace diffusion::cuda {

void softmax_rows(const float* x, int rows, int columns, float* y);
/// dx += (2.10)
void softmax_rows_vjp(const float* y, const float* dy, int rows, int columns, float* dx);

void layer_norm_rows(const float* x, const float* gain, const float* bias, int rows, int columns,
                     float eps, float* y);
/// dx += (2.11), and dgain and dbias += their sums over rows.
void layer_norm_rows_vjp(const float* x, const float* gain, const float* dy, int rows, int columns,
                         float eps, float* dx, float* dgain, float* dbias, Arena& scratch);

/// sum[c] += x[0][c] + x[1][c] + .. over rows.
void add_column_sums(const float* x, int rows, int columns, float* sum, Arena& scratch);
/// The same for parts of rows_of_part rows, each into a row of the table.
void column_sums(const float* x, int rows, int rows_of_part, int columns, float* table);
/// total[i] += table[0][i] + table[1][i] + .. in this order.
void add_parts(const float* table, int parts, std::ptrdiff_t size, float* total);

/// The sum of squares of x, into one number on the GPU.
void sum_of_squares(const float* x, std::ptrdiff_t n, float* total);

/// A step of AdamW in one pass over the parameters: clipping, (2.16) to (2.18), average.
struct FusedStep {
    AdamWStep<float> adamw;
    float max_norm;               ///< (2.19); the factor is min(1, max_norm / norm)
    float average_take;           ///< 1 - r of the average (2.20)
    const float* sum_of_squares;  ///< of the gradient, on the GPU
};
/// `step` lies on the GPU, so that a recording can make other steps than the first.
void fused_step(const FusedStep* step, std::ptrdiff_t n, const float* gradient, float* x,
                float* mean, float* square, float* average);

}  // namespace diffusion::cuda
