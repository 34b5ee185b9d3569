// Chapter 2's Muon on a GPU: momentum, five rounds of (2.23), step (2.24). One matrix alone would
// leave most of the GPU idle, and there are dozens of them in a network; so those of one shape are
// gathered side by side, and every kernel works on all of them.
#include <algorithm>

#include "02_gradients/compare.hpp"
#include "02_gradients/device_muon.hpp"
#include "02_gradients/gradients.hpp"
#include "02_gradients/optimizer.hpp"
#include "cuda/reduce.hpp"

namespace diffusion::cuda {
namespace {

constexpr int kThreads = kBlockThreads;
constexpr float kA = 3.4445f, kB = -4.7750f, kC = 2.0315f;  // of (2.23), as in muon.cpp
constexpr int kRounds = 5;

/// Number i of matrix n, of all matrices of a group, in the model's block.
struct Place {
    const std::ptrdiff_t* offset;
    Divisor size;
    __device__ std::ptrdiff_t operator()(int i) const { return offset[i / size] + i % size; }
};

struct Momentum {
    Place place;
    float keep, take, max_norm;
    const float* sum_of_squares;
    float *gradient, *momentum, *direction;
    __device__ void operator()(int i) const {
        const std::ptrdiff_t at = place(i);
        const float norm = sqrtf(*sum_of_squares);
        const float g = (norm > max_norm ? max_norm / norm : 1.0f) * gradient[at];
        momentum[at] = keep * momentum[at] + take * g;  // (2.24)
        direction[i] = keep * momentum[at] + take * g;  // one step further on: Nesterov
        gradient[at] = 0;
    }
};

// x / |x| for each matrix. One block would be too few for a large matrix, so kPieces blocks sum the
// squares of a piece each, in double, where no square is too large or too small.
constexpr int kPieces = 16;
__global__ void squares_of_pieces(const float* x, int size, double* sums) {
    __shared__ double shared[kThreads];
    uninitialised(shared);
    const float* own = x + static_cast<std::ptrdiff_t>(blockIdx.y) * size;
    double sum = 0;
    for (int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x); i < size;
         i += kPieces * kThreads)
        sum += static_cast<double>(own[i]) * static_cast<double>(own[i]);
    shared[threadIdx.x] = sum;
    __syncthreads();
    for (int half = kThreads / 2; half > 0; half /= 2) {
        if (static_cast<int>(threadIdx.x) < half) shared[threadIdx.x] += shared[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x == 0) sums[blockIdx.y * kPieces + blockIdx.x] = shared[0];
}
struct Inverse {
    const double* sums;
    double* inverse;  ///< 1 / |x|, or 0: a matrix of zeros stays one
    __device__ void operator()(int matrix) const {
        double sum = 0;
        for (int p = 0; p < kPieces; ++p) sum += sums[matrix * kPieces + p];
        inverse[matrix] = sum > 0 ? 1 / sqrt(sum) : 0;
    }
};
struct Normalise {
    const double* inverse;
    Divisor size;
    float* x;
    __device__ void operator()(int i) const {
        x[i] = static_cast<float>(inverse[i / size] * static_cast<double>(x[i]));
    }
};

/// Writes b G + c G^2, being told the sums of G G.
struct Polynomial {
    const float* gram;
    float* poly;
    int k;

    __device__ Polynomial of_batch(int number) const {
        const std::ptrdiff_t step = static_cast<std::ptrdiff_t>(number) * k * k;
        return {gram + step, poly + step, k};
    }
    __device__ void one(int, int row, int column, float x) const {
        const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(row) * k + column;
        poly[at] = kB * gram[at] + kC * x;
    }
    __device__ void pair(int, int row, int column, float x, float z) const {
        one(0, row, column, x);
        one(0, row, column + 1, z);
    }
};
/// Writes a X + the sum, which is poly X or X poly (2.23).
struct Round {
    const float* x;
    float* next;
    int columns;
    std::ptrdiff_t size;

    __device__ Round of_batch(int number) const {
        return {x + number * size, next + number * size, columns, size};
    }
    __device__ void one(int, int row, int column, float sum) const {
        const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(row) * columns + column;
        next[at] = kA * x[at] + sum;
    }
    __device__ void pair(int, int row, int column, float p, float q) const {
        one(0, row, column, p);
        one(0, row, column + 1, q);
    }
};

struct Step {
    Place place;
    float scale;
    const float *rate, *direction;
    float* values;
    __device__ void operator()(int i) const {
        values[place(i)] -= scale * *rate * direction[i];  // (2.24)
    }
};

}  // namespace

DeviceMuon::DeviceMuon(const std::vector<Parameter>& matrices, Muon<float>::Options options)
    : options_(options) {
    for (const Parameter& m : matrices) {
        const int columns = m.shape.back(), rows = static_cast<int>(m.shape.numel() / columns);
        auto found = std::ranges::find_if(
            groups_, [&](const Group& g) { return g.rows == rows && g.columns == columns; });
        if (found == groups_.end()) {
            groups_.push_back({rows, columns, {}, {}});
            found = std::prev(groups_.end());
        }
        found->offsets.push_back(m.offset);
    }
    std::size_t most = 0, most_gram = 0, most_matrices = 0;
    for (Group& g : groups_) {
        g.on_gpu = Buffer<std::ptrdiff_t>::of(g.offsets);
        const auto rows = static_cast<std::size_t>(g.rows),
                   columns = static_cast<std::size_t>(g.columns), k = std::min(rows, columns);
        most = std::max(most, g.offsets.size() * rows * columns);
        most_gram = std::max(most_gram, g.offsets.size() * k * k);
        most_matrices = std::max(most_matrices, g.offsets.size());
    }
    x_ = Buffer<float>(most);
    next_ = Buffer<float>(most);
    gram_ = Buffer<float>(most_gram);
    poly_ = Buffer<float>(most_gram);
    squares_ = Buffer<double>(most_matrices * kPieces);
    inverse_ = Buffer<double>(most_matrices);
}

void DeviceMuon::step(float* values, float* gradient, float* momentum, const float* sum_of_squares,
                      float max_norm, const float* learning_rate) {
    for (const Group& g : groups_) {
        const int batch = static_cast<int>(g.offsets.size()), k = std::min(g.rows, g.columns);
        const std::ptrdiff_t size = static_cast<std::ptrdiff_t>(g.rows) * g.columns,
                             all = batch * size, square = static_cast<std::ptrdiff_t>(k) * k;
        const Place place{g.on_gpu.data(), static_cast<int>(size)};
        float *x = x_.data(), *next = next_.data(), *gram = gram_.data(), *poly = poly_.data();
        for_each_number(all, Momentum{place, static_cast<float>(options_.momentum),
                                      static_cast<float>(1 - options_.momentum), max_norm,
                                      sum_of_squares, gradient, momentum, x});
        launch(squares_of_pieces, dim3(kPieces, static_cast<unsigned>(batch)), kThreads, x,
               static_cast<int>(size), squares_.data());
        for_each_number(batch, Inverse{squares_.data(), inverse_.data()});
        for_each_number(all, Normalise{inverse_.data(), static_cast<int>(size), x});
        for (int round = 0; round < kRounds; ++round) {
            // The smaller of X X^T and X^T X; (2.23) holds with either, on its own side.
            const Plain to_gram{gram, k, false, 0, square};
            const ByRows rows(x, g.columns, g.rows, g.columns, size);  // X, or X^T on the right
            const ByColumns columns(x, g.columns, g.columns, g.rows,
                                    size);  // X on the right, or X^T
            const ByRows left(poly, k, k, k, square), gram_left(gram, k, k, k, square);
            const ByColumns right(poly, k, k, k, square), gram_right(gram, k, k, k, square);
            const Round to_next{x, next, g.columns, size};
            if (g.rows < g.columns) {
                product(precision(), rows, rows, to_gram, k, k, g.columns, 1, batch);
            } else {
                product(precision(), columns, columns, to_gram, k, k, g.rows, 1, batch);
            }
            product(precision(), gram_left, gram_right, Polynomial{gram, poly, k}, k, k, k, 1,
                    batch);
            if (g.rows < g.columns) {
                product(precision(), left, columns, to_next, g.rows, g.columns, k, 1, batch);
            } else {
                product(precision(), rows, right, to_next, g.rows, g.columns, k, 1, batch);
            }
            std::swap(x, next);
        }
        const double scale =
            options_.scale * std::sqrt(static_cast<double>(std::max(g.rows, g.columns)));
        for_each_number(all, Step{place, static_cast<float>(scale), learning_rate, x, values});
    }
}

void muon_stage(Stage& s) {
    const std::vector<Parameter> matrices = {
        {0, {12, 20}}, {240, {3, 3, 4, 12}}, {672, {12, 20}}, {912, {8, 8}}};
    constexpr std::size_t kSize = 1000;  // the last 24 numbers belong to no matrix
    std::vector<float> values = random_numbers(kSize, 1);
    const auto on_values = Buffer<float>::of(values),
               on_momentum = Buffer<float>::of(std::vector<float>(kSize));
    Muon<float> cpu(matrices, kSize, {});
    DeviceMuon gpu(matrices, {});
    const Buffer<float> norm(1);
    const auto rate = Buffer<float>::of(std::vector<float>{0.1f});
    std::vector<float> gradient;
    Buffer<float> on_gradient;
    for (std::uint32_t k = 0; k < 3; ++k) {
        gradient = random_numbers(kSize, 2 + k);
        on_gradient = Buffer<float>::of(gradient);
        sum_of_squares(on_gradient.data(), kSize, norm.data());
        const double length = std::sqrt(diffusion::sum_of_squares<float>(gradient));
        cpu.step(values, gradient, 0.1, 1 / length);
        gpu.step(on_values.data(), on_gradient.data(), on_momentum.data(), norm.data(), 1.0f,
                 rate.data());
    }
    s.check("Muon, three steps of four matrices", largest_difference(on_values.download(), values),
            2e-5);
    s.check("  their gradients are zero, the others stay",
            largest_difference(on_gradient.download(), gradient), 0);
    s.check("  momentum", largest_difference(on_momentum.download(), cpu.momentum()), 1e-6);
}

}  // namespace diffusion::cuda
