#pragma once
// The matrix product on a GPU, started: readers and writers for matrices (product_kernels.hpp says
// what these are), and the choice of the tile. Only .cu files include this header.
#include <algorithm>
#include <climits>
#include <cstdint>

#include "02_gradients/product_kernels.hpp"
#include "cuda/float.hpp"
#include "cuda/index.hpp"

namespace diffusion::cuda {

/// A matrix whose number (i, k) is x[i line + k], or, without along_k, x[k line + i].
template <bool along_k>
struct Matrix {
    static constexpr bool kAlongK = along_k;
    const float* x;
    int line, size;  ///< i < size
    bool quads;
    std::ptrdiff_t batch_step;

    Matrix(const float* x_, int line_, int size_, int depth, std::ptrdiff_t batch_step_ = 0)
        : x(x_),
          line(line_),
          size(size_),
          quads(batch_step_ % 4 == 0 && line_ % 4 == 0 &&
                reinterpret_cast<std::uintptr_t>(x_) % 16 == 0 &&
                (along_k ? depth : size_) % 4 == 0),
          batch_step(batch_step_) {
        static_cast<void>(index_count(static_cast<std::ptrdiff_t>(line_) *
                                      (along_k ? size_ : depth)));  // for places are ints
    }
    __device__ Matrix of_batch(int number) const {
        Matrix one = *this;
        one.x += number * batch_step;
        return one;
    }
    __device__ const float* memory() const { return x; }
    __device__ int row(int i) const {
        if (i >= size) return INT_MIN;  // and with any step added it stays negative
        return along_k ? i * line : i;
    }
    __device__ int step(int k) const { return along_k ? k : k * line; }
    __device__ int place(int row, int step) const { return row + step; }
};
using ByRows = Matrix<true>;      ///< A [m, k] as it is, or B^T of B [n, k]
using ByColumns = Matrix<false>;  ///< B [k, n] as it is, or A^T of A [k, m]

/// y [.., n] = sum, or += sum. Parts of k go to tables of their own, `part_step` apart.
struct Plain {
    float* y;
    int n;
    bool add;
    std::ptrdiff_t part_step = 0, batch_step = 0;

    __device__ Plain of_batch(int number) const {
        Plain one = *this;
        one.y += number * batch_step;
        return one;
    }

    __device__ void one(int part, int row, int column, float x) const {
        float* to = y + part * part_step + static_cast<std::ptrdiff_t>(row) * n + column;
        *to = add ? *to + x : x;
    }
    __device__ void pair(int part, int row, int column, float x, float z) const {
        float* to = y + part * part_step + static_cast<std::ptrdiff_t>(row) * n + column;
        if (n % 2 != 0) {
            one(part, row, column, x);
            one(part, row, column + 1, z);
            return;
        }
        float2 both = make_float2(x, z);
        if (add) {
            const float2 old = *reinterpret_cast<const float2*>(to);
            both = make_float2(old.x + x, old.y + z);
        }
        *reinterpret_cast<float2*>(to) = both;
    }
};

template <Precision precision, class Tile, class A, class B, class Writer>
void launch_tiles(A a, B b, Writer write, int m, int n, int k, int parts = 1, int batch = 1) {
    const dim3 grid(blocks_for(n, Tile::kColumns) * blocks_for(m, Tile::kRows), 1,
                    static_cast<unsigned>(parts * batch));
    const int slabs = (k + kSlab - 1) / kSlab, k_of_part = (slabs + parts - 1) / parts * kSlab;
    launch(product_tiled<precision, Tile, A, B, Writer>, grid, Tile::kThreads, a, b, write, m, n, k,
           k_of_part, parts);
}

/// How many tiles cover an m x n result.
template <class Tile>
std::ptrdiff_t tiles_of(int m, int n) {
    return static_cast<std::ptrdiff_t>(blocks_for(m, Tile::kRows)) * blocks_for(n, Tile::kColumns);
}

/// Whether these tiles, with k in parts, are blocks enough; parts_for leaves a few places free.
inline bool fills_the_gpu(std::ptrdiff_t tiles, int parts) {
    return tiles * parts >= blocks_wanted() || (parts > 1 && tiles * (parts + 1) > blocks_wanted());
}

/// C [m, n] = A B, sums over k in `parts` parts, `batch` times.
template <Precision precision, class A, class B, class Writer>
void product_in(A a, B b, Writer write, int m, int n, int k, int parts = 1, int batch = 1) {
    const auto launch_with = [&](auto tile) {
        launch_tiles<precision, decltype(tile)>(a, b, write, m, n, k, parts, batch);
    };
    if constexpr (!kOnGpu) {  // threads are dear there
        launch_with(Tiny());
    } else if (n <= 16) {
        launch_with(Narrow<16>());
    } else if (n <= 32) {
        launch_with(Narrow<32>());
    } else if (n >= Large::kColumns && fills_the_gpu(tiles_of<Large>(m, n) * batch, parts)) {
        launch_with(Large());
    } else {
        launch_with(Small());
    }
}

/// The same in the precision that is asked for; without tensor cores always in float.
template <class A, class B, class Writer>
void product(Precision precision, A a, B b, Writer write, int m, int n, int k, int parts = 1,
             int batch = 1) {
    if (precision == Precision::fp32 || !has_tensor_cores()) {
        product_in<Precision::fp32>(a, b, write, m, n, k, parts, batch);
    } else if (precision == Precision::tf32) {
        product_in<Precision::tf32>(a, b, write, m, n, k, parts, batch);
    } else {
        product_in<Precision::bf16>(a, b, write, m, n, k, parts, batch);
    }
}

/// Into how many parts to cut k, so that the tiles of an m x n result keep the GPU busy: rounded
/// down, for a few blocks more than there are places would take as long as twice as many.
inline int parts_for(int m, int n, int k) {
    const std::ptrdiff_t tiles = n <= 16               ? tiles_of<Narrow<16>>(m, n)
                                 : n <= 32             ? tiles_of<Narrow<32>>(m, n)
                                 : n < Large::kColumns ? tiles_of<Small>(m, n)
                                                       : tiles_of<Large>(m, n);
    const std::ptrdiff_t most = k / (16 * kSlab), wanted = blocks_wanted() / tiles;
    return static_cast<int>(std::max<std::ptrdiff_t>(1, std::min(most, wanted)));
}

/// Tells a writer the sums of parts that lie in tables [rows, columns], added in their order.
template <class Writer>
struct WriteParts {
    const float* tables;
    int parts, size;
    Divisor columns;
    Writer write;
    __device__ void operator()(int i) const {
        float sum = 0;
        for (int p = 0; p < parts; ++p) sum += tables[static_cast<std::ptrdiff_t>(p) * size + i];
        const int row = i / columns;
        write.one(0, row, i - row * columns, sum);
    }
};

/// C = A B of any shape: if C has so few tiles that even small ones leave places empty, with k cut
/// into parts, whose tables lie in `scratch`.
template <class A, class B, class Writer>
void product_of_any_shape(Precision precision, A a, B b, Writer write, int m, int n, int k,
                          Arena& scratch) {
    const int parts = tiles_of<Small>(m, n) < blocks_wanted() ? parts_for(m, n, k) : 1;
    if (parts == 1) {
        product(precision, a, b, write, m, n, k);
        return;
    }
    const int size = index_count(static_cast<std::ptrdiff_t>(m) * n);
    Arena::Scope scope(scratch);
    float* tables = raw(scratch.make<Float>({parts, m, n}));
    product(precision, a, b, Plain{tables, n, false, size}, m, n, k, parts);
    for_each_number(size, WriteParts<Writer>{tables, parts, size, n, write});
}

}  // namespace diffusion::cuda
