#pragma once
// The matrix product on a GPU, C = A B: its kernels, in three versions. A and B need not be
// matrices in memory: a "reader" says what stands at (row, k), and so chapter 4's convolution,
// whose A is made of shifted windows, is the same kernel.
//
// A reader of either side is a struct with
//     static constexpr bool kAlongK;    neighbours in memory are neighbours in k, not in i
//     bool quads;                       four neighbours lie together, at 16 bytes' alignment
//     auto row(int i);                  what is to know of row i of A, or of column i of B, alone
//     auto step(int k);                 and of k alone
//     int place(row, step);             where the number lies, from memory() on; negative: it is 0
//     const float* memory();            where all of it lies
// A thread meets the same rows in all slabs and asks about each once, before the first.
//
// A writer is told every sum, one(part, row, column, x) or, where the kernel has neighbours at hand
// (not in float with B along k), pair(part, row, column, x, y) for column and column + 1; `part` is
// 0 but where k is cut into parts, each with sums of its own. Of many products of one shape, next
// to each other in memory, reader and writer say with of_batch(number) which one they are for. Only
// .cu files include this header.
#include <cstdint>
#include <type_traits>
#include <utility>

#include "cuda/tensor_cores.hpp"

namespace diffusion::cuda {

// ---- Version 1, the obvious one: a thread for each number of C. Every number of A and B is read
// from memory as often as it is used, n or m times: the kernel waits for memory.
template <class Reader>
__device__ __forceinline__ float number_at(const Reader& reader, int i, int k) {
    const int place = reader.place(reader.row(i), reader.step(k));
    return place >= 0 ? reader.memory()[place] : 0.0f;
}
template <class A, class B, class Writer>
__global__ void product_obvious(A a, B b, Writer write, int m, int n, int k) {
    const int row = static_cast<int>(blockIdx.y * blockDim.y + threadIdx.y);
    const int column = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (row >= m || column >= n) return;
    float sum = 0;
    for (int i = 0; i < k; ++i) sum += number_at(a, row, i) * number_at(b, column, i);
    write.one(0, row, column, sum);
}

// ---- Versions 2 and 3: a block makes a tile of C. It goes along k in slabs of kSlab: brings a
// slab of A and of B into shared memory, from where each number is used by a whole row or column of
// threads, and multiplies there. While one slab is multiplied the next one is on its way
// (asynchronous copies, two places for slabs). What differs is the multiplication:
//   Version 2: a thread keeps an 8 x 8 piece of the tile in registers (of smaller tiles, fewer
//   rows):
//     16 numbers read from shared memory serve 64 multiplications.
//   Version 3: tensor cores. A warp multiplies 16 x 8 with 8 x 8 matrices (or 16 x 16 with 16 x 8)
//     in one instruction. Their inputs are rounded: TF32 keeps 10 bits behind the point, BF16 7;
//     sums are float.
inline constexpr int kSlab = 16;

/// A slab of one operand in shared memory: `size` rows (or columns of B), kSlab deep. It lies as in
/// global memory, so that 16 bytes can be copied as they are. Shared memory has 32 banks, which
/// hand out one number each at a time; the lines are padded so that the threads of a warp meet 32
/// different ones, where they read for tensor cores: TF32 at row l / 4 and k = l % 4; BF16 at row
/// l / 4, two numbers from k = 2 (l % 4) on, together if they are neighbours.
template <Precision precision, bool along_k, int size>
struct Slab {
    static constexpr bool kAlongK = along_k;
    static constexpr int kSize = size;
    static constexpr bool kPairs = precision == Precision::bf16;
    static constexpr int kStep = along_k ? kSlab + (kPairs ? 8 : 4) : size + (kPairs ? 4 : 8);
    static constexpr int kFloats = along_k ? size * kStep : kSlab * kStep;

    static constexpr int place(int i, int k) { return along_k ? i * kStep + k : k * kStep + i; }
    /// Two neighbours in k, rounded.
    static __device__ __forceinline__ std::uint32_t pair(const float* slab, int i, int k) {
        if constexpr (along_k) {
            const float2 both = *reinterpret_cast<const float2*>(slab + place(i, k));
            return to_bf16(both.x, both.y);
        } else {
            return to_bf16(slab[place(i, k)], slab[place(i, k + 1)]);
        }
    }
};

/// Whether they do. Of pairs that are read together half a warp's are served at a time.
template <Precision precision, bool along_k, int size>
constexpr bool meets_all_banks() {
    using S = Slab<precision, along_k, size>;
    constexpr int kAtOnce = S::kPairs && along_k ? 16 : 32;
    for (int first = 0; first < 32; first += kAtOnce) {
        unsigned met = 0;
        for (int l = first; l < first + kAtOnce; ++l) {
            const int k = S::kPairs ? 2 * (l % 4) : l % 4;
            for (int e = 0; e < 32 / kAtOnce; ++e) met |= 1u << S::place(l / 4, k + e) % 32;
        }
        if (met != ~0u) return false;
    }
    return true;
}
template <Precision precision>
constexpr bool all_meet_all_banks() {
    return meets_all_banks<precision, true, 64>() && meets_all_banks<precision, false, 16>() &&
           meets_all_banks<precision, false, 32>() && meets_all_banks<precision, false, 64>() &&
           meets_all_banks<precision, false, 128>();
}
static_assert(all_meet_all_banks<Precision::tf32>() && all_meet_all_banks<Precision::bf16>());

/// The shapes of a tile: a large one for large products; a small one, that more blocks can share
/// the work of a small one; narrow ones for results of 16 or 32 columns, of whose tiles a wider one
/// would throw most away; and a tiny one for the host executor.
struct Large {
    static constexpr int kRows = 128, kColumns = 128, kThreads = 256;
    static constexpr int kBlocksAtWork = 2;  // on a multiprocessor; limits the registers
    static constexpr int kThreadRows = 8;    // of 8 columns each, version 2
    static constexpr int kWarpsAcross = 4;   // of 8 warps, version 3
};
struct Small {
    static constexpr int kRows = 64, kColumns = 64, kThreads = 128;
    static constexpr int kBlocksAtWork = 4;
    static constexpr int kThreadRows = 4;
    static constexpr int kWarpsAcross = 2;  // of 4
};
template <int columns>
struct Narrow {
    static constexpr int kRows = 128, kColumns = columns, kThreads = 128;
    static constexpr int kBlocksAtWork = 4;
    static constexpr int kThreadRows = columns / 8;
    static constexpr int kWarpsAcross = 1;  // of 4
};
struct Tiny {
    static constexpr int kRows = 32, kColumns = 16, kThreads = 32;
    static constexpr int kBlocksAtWork = 1;
    static constexpr int kThreadRows = 2;
    static constexpr int kWarpsAcross = 1;  // of 1
};

/// A thread's share in the copying of an operand's slabs: it has a quad in every kLines-th line of
/// memory, at the same place of each.
template <class Slab, class Reader, int threads>
class Copier {
    static constexpr unsigned kQuads = (Slab::kAlongK ? kSlab : Slab::kSize) / 4;  // in a line
    static constexpr int kLines = threads / int{kQuads};                           // at a time
    static constexpr int kOfSlab = Slab::kAlongK ? Slab::kSize : kSlab;
    static constexpr int kRounds = (kOfSlab + kLines - 1) / kLines;
    using Row = decltype(std::declval<const Reader&>().row(0));

public:
    __device__ __forceinline__ Copier(const Reader& reader, int first)
        : reader_(reader), first_(first) {
#pragma unroll
        for (int e = 0; e < (Slab::kAlongK ? kRounds : 1); ++e)
            rows_[e] = reader.row(first + (Slab::kAlongK ? line(e) : along()));
    }
    /// Starts to copy what lies from k on, with zeros from `end` on.
    __device__ __forceinline__ void copy(float* to, int k, int end) const {
        if (reader_.quads) {
            if constexpr (Slab::kAlongK) {
                const int d = k + along();
                const auto step = reader_.step(d);
#pragma unroll
                for (int e = 0; e < kRounds; ++e)
                    copy_quad(to, e, d < end, reader_.place(rows_[e], step));
            } else {
#pragma unroll
                for (int e = 0; e < kRounds; ++e) {
                    const int d = k + line(e);
                    copy_quad(to, e, d < end, reader_.place(rows_[0], reader_.step(d)));
                }
            }
        } else {
#pragma unroll 1
            for (int e = 0; e < kRounds; ++e)
                if (in_slab(e)) copy_numbers(to + place(e), line(e), k, end);
        }
    }

private:
    static __device__ __forceinline__ int along() {
        return static_cast<int>(threadIdx.x % kQuads) * 4;
    }
    static __device__ __forceinline__ int line(int e) {
        return static_cast<int>(threadIdx.x / kQuads) + e * kLines;
    }
    static __device__ __forceinline__ bool in_slab(int e) {
        return kRounds * kLines == kOfSlab || line(e) < kOfSlab;
    }
    static __device__ __forceinline__ int place(int e) {
        return Slab::kAlongK ? Slab::place(line(e), along()) : Slab::place(along(), line(e));
    }
    /// The quad in line(e), which lies at `from`: zeros if that is negative or past the sums' end.
    __device__ __forceinline__ void copy_quad(float* to, int e, bool there, int from) const {
        if (!in_slab(e)) return;
        const float* memory = reader_.memory();
        copy_async(to + place(e), there && from >= 0 ? memory + from : nullptr, memory);
    }
    /// A quad whose numbers do not lie together.
    __device__ __forceinline__ void copy_numbers(float* to, int line, int k, int end) const {
        for (int e = along(); e < along() + 4; ++e) {
            const int i = Slab::kAlongK ? line : e, d = k + (Slab::kAlongK ? e : line);
            *to++ = d < end ? number_at(reader_, first_ + i, d) : 0.0f;
        }
    }

    const Reader& reader_;
    int first_;
    Row rows_[Slab::kAlongK ? kRounds : 1];
};

template <class Writer>
__device__ __forceinline__ void write_one(const Writer& write, int part, int row, int column, int m,
                                          int n, float x) {
    if (row < m && column < n) write.one(part, row, column, x);
}
template <class Writer>
__device__ __forceinline__ void write_pair(const Writer& write, int part, int row, int column,
                                           int m, int n, float x, float y) {
    if (row >= m) return;
    if (column + 1 < n) {
        write.pair(part, row, column, x, y);
    } else if (column < n) {
        write.one(part, row, column, x);
    }
}

template <class X>
__device__ __forceinline__ X one_of_batch(const X& x, int number) {
    if constexpr (requires { x.of_batch(number); }) {
        return x.of_batch(number);
    } else {
        return x;
    }
}

/// Version 2: the part of a tile that a thread makes, of the numbers that its slabs bring.
template <class Tile, class SlabA, class SlabB>
struct ThreadsPiece {
    static constexpr int kRowsOf = Tile::kThreadRows, kAcross = Tile::kColumns / 8;
    float sum[kRowsOf][8] = {};

    static __device__ __forceinline__ int row_of(int i) {
        return static_cast<int>(threadIdx.x / kAcross) * kRowsOf + i;
    }
    /// Columns of a thread, so that a warp reads four numbers at a time without conflicts: two
    /// quads, half a tile apart, or, if four neighbours are neighbours in k, every kAcross-th.
    static __device__ __forceinline__ int column_of(int j) {
        const int tx = static_cast<int>(threadIdx.x % kAcross);
        return SlabB::kAlongK ? tx + j * kAcross : 4 * tx + j % 4 + (j / 4) * (Tile::kColumns / 2);
    }
    __device__ __forceinline__ void multiply(const float* sa, const float* sb) {
#pragma unroll
        for (int d = 0; d < kSlab; ++d) {
            float x[kRowsOf], y[8];
#pragma unroll
            for (int i = 0; i < kRowsOf; ++i) x[i] = sa[SlabA::place(row_of(i), d)];
#pragma unroll
            for (int j = 0; j < 8; ++j) y[j] = sb[SlabB::place(column_of(j), d)];
#pragma unroll
            for (int i = 0; i < kRowsOf; ++i) {
#pragma unroll
                for (int j = 0; j < 8; ++j) sum[i][j] += x[i] * y[j];
            }
        }
    }
    template <class Writer>
    __device__ __forceinline__ void write(const Writer& to, int part, int row0, int column0, int m,
                                          int n) const {
#pragma unroll
        for (int i = 0; i < kRowsOf; ++i) {
#pragma unroll
            for (int j = 0; j < 8; j += 2) {
                const int row = row0 + row_of(i), column = column0 + column_of(j);
                if constexpr (SlabB::kAlongK) {
                    write_one(to, part, row, column, m, n, sum[i][j]);
                    write_one(to, part, row, column + kAcross, m, n, sum[i][j + 1]);
                } else {
                    write_pair(to, part, row, column, m, n, sum[i][j], sum[i][j + 1]);
                }
            }
        }
    }
};

/// Version 3: the part of a tile that a warp makes, kM x kN times 16 x 8. Which of a matrix's
/// numbers a thread holds, cuda/tensor_cores.hpp says.
template <Precision precision, class Tile, class SlabA, class SlabB>
struct WarpsPiece {
    static constexpr int kDown = Tile::kThreads / 32 / Tile::kWarpsAcross;
    static constexpr int kM = Tile::kRows / kDown / 16,
                         kN = Tile::kColumns / Tile::kWarpsAcross / 8;
    static constexpr int kDepth = precision == Precision::tf32 ? 8 : 16;  // of an instruction
    float sum[kM][kN][4] = {};

    static __device__ __forceinline__ int lane() { return static_cast<int>(threadIdx.x % 32); }
    static __device__ __forceinline__ int top() {
        return static_cast<int>(threadIdx.x / 32 / Tile::kWarpsAcross) * kM * 16;
    }
    static __device__ __forceinline__ int left() {
        return static_cast<int>(threadIdx.x / 32 % Tile::kWarpsAcross) * kN * 8;
    }
    /// One register of an operand: half 0 or 1 of the instruction's depth, from k = d on.
    template <class Slab>
    static __device__ __forceinline__ std::uint32_t operand(const float* slab, int i, int d,
                                                            int half) {
        if constexpr (precision == Precision::tf32) {
            return to_tf32(slab[Slab::place(i, d + lane() % 4 + 4 * half)]);
        } else {
            return Slab::pair(slab, i, d + 2 * (lane() % 4) + 8 * half);
        }
    }
    __device__ __forceinline__ void multiply(const float* sa, const float* sb) {
#pragma unroll
        for (int d = 0; d < kSlab; d += kDepth) {
            std::uint32_t x[kM][4], y[kN][2];
#pragma unroll
            for (int i = 0; i < kM; ++i) {
#pragma unroll
                for (int r = 0; r < 4; ++r) {
                    const int row = top() + 16 * i + lane() / 4 + 8 * (r % 2);
                    x[i][r] = operand<SlabA>(sa, row, d, r / 2);
                }
            }
#pragma unroll
            for (int j = 0; j < kN; ++j) {
#pragma unroll
                for (int r = 0; r < 2; ++r)
                    y[j][r] = operand<SlabB>(sb, left() + 8 * j + lane() / 4, d, r);
            }
#pragma unroll
            for (int i = 0; i < kM; ++i) {
#pragma unroll
                for (int j = 0; j < kN; ++j) {
                    if constexpr (precision == Precision::tf32) {
                        multiply_tf32(sum[i][j], x[i], y[j]);
                    } else {
                        multiply_bf16(sum[i][j], x[i], y[j]);
                    }
                }
            }
        }
    }
    template <class Writer>
    __device__ __forceinline__ void write(const Writer& to, int part, int row0, int column0, int m,
                                          int n) const {
#pragma unroll
        for (int i = 0; i < kM; ++i) {
#pragma unroll
            for (int j = 0; j < kN; ++j) {
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    const int row = row0 + top() + 16 * i + lane() / 4 + 8 * half,
                              column = column0 + left() + 8 * j + 2 * (lane() % 4);
                    write_pair(to, part, row, column, m, n, sum[i][j][2 * half],
                               sum[i][j][2 * half + 1]);
                }
            }
        }
    }
};

template <Precision precision, class Tile, class A, class B, class Writer>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocksAtWork)
    product_tiled(A a, B b, Writer write, int m, int n, int k, int k_of_part, int parts) {
    using SlabA = Slab<precision, A::kAlongK, Tile::kRows>;
    using SlabB = Slab<precision, B::kAlongK, Tile::kColumns>;
    alignas(16) __shared__ float as[2][SlabA::kFloats];
    alignas(16) __shared__ float bs[2][SlabB::kFloats];
    uninitialised(as, bs);
    // Tiles are counted along the rows of C: those that are made at one time share rows of A.
    const unsigned tile = blockIdx.x,
                   across = static_cast<unsigned>(n + Tile::kColumns - 1) / Tile::kColumns;
    const int row0 = static_cast<int>(tile / across) * Tile::kRows,
              column0 = static_cast<int>(tile % across) * Tile::kColumns;
    const int batch = static_cast<int>(blockIdx.z) / parts;
    a = one_of_batch(a, batch);
    b = one_of_batch(b, batch);
    write = one_of_batch(write, batch);
    const int part = static_cast<int>(blockIdx.z) % parts, k0 = part * k_of_part,
              k1 = k0 + k_of_part < k ? k0 + k_of_part : k;
    const int slabs = (k1 - k0 + kSlab - 1) / kSlab;
    const Copier<SlabA, A, Tile::kThreads> copier_a(a, row0);
    const Copier<SlabB, B, Tile::kThreads> copier_b(b, column0);
    const auto bring = [&](int slab) {
        const int at_k = k0 + slab * kSlab;
        copier_a.copy(as[slab % 2], at_k, k1);
        copier_b.copy(bs[slab % 2], at_k, k1);
        end_of_copies();
    };

    std::conditional_t<precision == Precision::fp32, ThreadsPiece<Tile, SlabA, SlabB>,
                       WarpsPiece<precision, Tile, SlabA, SlabB>>
        piece;
    if (slabs > 0) bring(0);
    for (int slab = 0; slab < slabs; ++slab) {
        if (slab + 1 < slabs) {
            bring(slab + 1);  // into the place that everybody left before the last barrier
            wait_for_copies<1>();
        } else {
            wait_for_copies<0>();
        }
        __syncthreads();
        piece.multiply(as[slab % 2], bs[slab % 2]);
        __syncthreads();
    }
    piece.write(write, part, row0, column0, m, n);
}

}  // namespace diffusion::cuda
