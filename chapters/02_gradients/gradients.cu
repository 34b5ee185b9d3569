// Chapter 2 on a GPU: softmax and layer norm with their VJPs, and sums over rows. All are bound by
// memory: they cannot be faster than their numbers can be read and written once. (Products, which
// are bound by arithmetic, are in product.hpp.)
#include "02_gradients/compare.hpp"
#include "02_gradients/gradients.hpp"
#include "02_gradients/ops.hpp"
#include "cuda/reduce.hpp"

namespace diffusion::cuda {

namespace {

constexpr int kThreads = kBlockThreads, kWarps = kThreads / 32;

// ---- Softmax and its VJP (2.10), layer norm and its VJP (2.11).
//
// Version 1, the obvious one: a thread takes a row. Neighbouring threads read places that lie a row
// apart, so of the 32 bytes that the memory hands out at a time each uses four.

__global__ void layer_norm_obvious(const float* x, const float* gain, const float* bias, int rows,
                                   int n, float eps, float* y) {
    const int r = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (r >= rows) return;
    const float* in = x + static_cast<std::ptrdiff_t>(r) * n;
    float mean = 0, square = 0;
    for (int i = 0; i < n; ++i) mean += in[i];
    mean /= static_cast<float>(n);
    for (int i = 0; i < n; ++i) square += (in[i] - mean) * (in[i] - mean);
    const float inverse = 1.0f / sqrtf(square / static_cast<float>(n) + eps);
    for (int i = 0; i < n; ++i)
        y[static_cast<std::ptrdiff_t>(r) * n + i] = (in[i] - mean) * inverse * gain[i] + bias[i];
}
__global__ void softmax_obvious(const float* x, int rows, int n, float* y) {
    const int r = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (r >= rows) return;
    const float* in = x + static_cast<std::ptrdiff_t>(r) * n;
    float* out = y + static_cast<std::ptrdiff_t>(r) * n;
    float largest = in[0], total = 0;
    for (int i = 1; i < n; ++i) largest = in[i] > largest ? in[i] : largest;
    for (int i = 0; i < n; ++i) total += out[i] = expf(in[i] - largest);
    for (int i = 0; i < n; ++i) out[i] /= total;
}

// Version 2: a warp takes a row. Its 32 threads read 32 neighbours at a time, and add up what they
// have by exchanging registers (reduce.hpp). No shared memory and no barrier are needed.

/// The row of this warp, or -1.
__device__ __forceinline__ int row_of_warp(int rows) {
    const int r = static_cast<int>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / 32;
    return r < rows ? r : -1;
}

__global__ void softmax_kernel(const float* x, int rows, int n, float* y) {
    const int r = row_of_warp(rows), lane = static_cast<int>(threadIdx.x) % 32;
    if (r < 0) return;  // the whole warp
    const float* in = x + static_cast<std::ptrdiff_t>(r) * n;
    float* out = y + static_cast<std::ptrdiff_t>(r) * n;
    float largest = -INFINITY, total = 0;
    for (int i = lane; i < n; i += 32) largest = in[i] > largest ? in[i] : largest;
    largest = warp_max(largest);
    for (int i = lane; i < n; i += 32) total += expf(in[i] - largest);
    total = warp_sum(total);
    for (int i = lane; i < n; i += 32) out[i] = expf(in[i] - largest) / total;
}

__global__ void softmax_vjp_kernel(const float* y, const float* dy, int rows, int n, float* dx) {
    const int r = row_of_warp(rows), lane = static_cast<int>(threadIdx.x) % 32;
    if (r < 0) return;
    const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(r) * n;
    float mean = 0;
    for (int i = lane; i < n; i += 32) mean += y[at + i] * dy[at + i];
    mean = warp_sum(mean);
    for (int i = lane; i < n; i += 32) dx[at + i] += y[at + i] * (dy[at + i] - mean);  // (2.10)
}

/// Mean and 1 / sqrt(variance + eps) of a row, for every thread of the warp.
__device__ __forceinline__ float2 moments_of_row(const float* in, int n, float eps, int lane) {
    float mean = 0, square = 0;
    for (int i = lane; i < n; i += 32) mean += in[i];
    mean = warp_sum(mean) / static_cast<float>(n);
    for (int i = lane; i < n; i += 32) square += (in[i] - mean) * (in[i] - mean);
    square = warp_sum(square) / static_cast<float>(n);
    return make_float2(mean, 1.0f / sqrtf(square + eps));
}

__global__ void layer_norm_kernel(const float* x, const float* gain, const float* bias, int rows,
                                  int n, float eps, float* y) {
    const int r = row_of_warp(rows), lane = static_cast<int>(threadIdx.x) % 32;
    if (r < 0) return;
    const float* in = x + static_cast<std::ptrdiff_t>(r) * n;
    float* out = y + static_cast<std::ptrdiff_t>(r) * n;
    const float2 m = moments_of_row(in, n, eps, lane);
    for (int i = lane; i < n; i += 32) out[i] = (in[i] - m.x) * m.y * gain[i] + bias[i];
}

__global__ void layer_norm_vjp_kernel(const float* x, const float* gain, const float* dy, int rows,
                                      int n, float eps, float* dx, float* along_gain) {
    const int r = row_of_warp(rows), lane = static_cast<int>(threadIdx.x) % 32;
    if (r < 0) return;
    const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(r) * n;
    const float2 m = moments_of_row(x + at, n, eps, lane);
    float mean = 0, along = 0;
    for (int i = lane; i < n; i += 32) {
        const float g = gain[i] * dy[at + i], normal = (x[at + i] - m.x) * m.y;
        mean += g;
        along += g * normal;
    }
    mean = warp_sum(mean) / static_cast<float>(n);
    along = warp_sum(along) / static_cast<float>(n);
    for (int i = lane; i < n; i += 32) {
        const float g = gain[i] * dy[at + i], normal = (x[at + i] - m.x) * m.y;
        dx[at + i] += m.y * (g - mean - normal * along);  // (2.11)
        along_gain[at + i] = dy[at + i] * normal;         // its sum over rows is dgain
    }
}

// ---- Sums over rows: the adjoint of a broadcast (2.7). A block takes 32 columns, and each of its
// warps every kWarps-th row of a part, so that reads are neighbours; at last the warps' sums are
// added. Few columns would make few blocks: then the rows are cut into parts, and a second kernel
// adds the parts' sums in their order.
__global__ void column_sums_kernel(const float* x, int rows, int rows_of_part, int n, bool add,
                                   float* table) {
    __shared__ float parts[kWarps][33];
    uninitialised(parts);
    const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
    const int c = static_cast<int>(blockIdx.x) * 32 + lane, part = static_cast<int>(blockIdx.y);
    const int end = (part + 1) * rows_of_part < rows ? (part + 1) * rows_of_part : rows;
    float own = 0;
    for (int r = part * rows_of_part + warp; c < n && r < end; r += kWarps)
        own += x[static_cast<std::ptrdiff_t>(r) * n + c];
    parts[warp][lane] = own;
    __syncthreads();
    if (warp == 0 && c < n) {
        float total = 0;
        for (int w = 0; w < kWarps; ++w) total += parts[w][lane];
        float* to = table + static_cast<std::ptrdiff_t>(part) * n + c;
        *to = add ? *to + total : total;
    }
}
struct AddParts {
    const float* table;
    int parts;
    std::ptrdiff_t size;
    float* total;
    __device__ void operator()(int i) const {
        float sum = 0;
        for (int p = 0; p < parts; ++p) sum += table[p * size + i];
        total[i] += sum;
    }
};

}  // namespace

// ---- The launches.

void softmax_rows(const float* x, int rows, int columns, float* y) {
    launch(softmax_kernel, blocks_for(rows, kWarps), kThreads, x, rows, columns, y);
}
void softmax_rows_vjp(const float* y, const float* dy, int rows, int columns, float* dx) {
    launch(softmax_vjp_kernel, blocks_for(rows, kWarps), kThreads, y, dy, rows, columns, dx);
}
void layer_norm_rows(const float* x, const float* gain, const float* bias, int rows, int columns,
                     float eps, float* y) {
    launch(layer_norm_kernel, blocks_for(rows, kWarps), kThreads, x, gain, bias, rows, columns, eps,
           y);
}
void layer_norm_rows_vjp(const float* x, const float* gain, const float* dy, int rows, int columns,
                         float eps, float* dx, float* dgain, float* dbias, Arena& scratch) {
    Arena::Scope scope(scratch);
    float* along = raw(scratch.make<Float>({rows, columns}));
    launch(layer_norm_vjp_kernel, blocks_for(rows, kWarps), kThreads, x, gain, dy, rows, columns,
           eps, dx, along);
    add_column_sums(along, rows, columns, dgain, scratch);
    add_column_sums(dy, rows, columns, dbias, scratch);
}
void column_sums(const float* x, int rows, int rows_of_part, int columns, float* table) {
    launch(column_sums_kernel, dim3(blocks_for(columns, 32), blocks_for(rows, rows_of_part)),
           kThreads, x, rows, rows_of_part, columns, false, table);
}
void add_column_sums(const float* x, int rows, int columns, float* sum, Arena& scratch) {
    constexpr int kLeast = 8 * kWarps;  // rows that are worth a block
    const unsigned across = blocks_for(columns, 32);
    const int wanted = static_cast<int>(blocks_for(4 * blocks_wanted(), static_cast<int>(across))),
              rows_of_part = std::max(kLeast, static_cast<int>(blocks_for(rows, wanted))),
              parts = static_cast<int>(blocks_for(rows, rows_of_part));
    if (parts == 1) {
        launch(column_sums_kernel, across, kThreads, x, rows, rows, columns, true, sum);
        return;
    }
    Arena::Scope scope(scratch);
    float* table = raw(scratch.make<Float>({parts, columns}));
    column_sums(x, rows, rows_of_part, columns, table);
    add_parts(table, parts, columns, sum);
}
void add_parts(const float* table, int parts, std::ptrdiff_t size, float* total) {
    for_each_number(size, AddParts{table, parts, size, total});
}
namespace {

// ---- The checks against the CPU's code, and the times.

void check_rows(Stage& s, int rows, int n) {
    const auto size = static_cast<std::size_t>(rows) * static_cast<std::size_t>(n);
    const std::vector<float> x = random_numbers(size, 4), dy = random_numbers(size, 5),
                             gain = random_numbers(static_cast<std::size_t>(n), 6),
                             bias = random_numbers(static_cast<std::size_t>(n), 7);
    const auto gx = Buffer<float>::of(x), gdy = Buffer<float>::of(dy),
               ggain = Buffer<float>::of(gain), gbias = Buffer<float>::of(bias);
    // VJPs add to what is there.
    const std::vector<float> there = random_numbers(size, 8);
    const auto y = Buffer<float>::of(there), dx = Buffer<float>::of(there);
    const auto check_added = [&s, &there](const std::string& what, const Buffer<float>& found,
                                          std::vector<float> gradient, double allowed) {
        for (std::size_t i = 0; i < gradient.size(); ++i) gradient[i] += there[i];
        s.check(what, largest_difference(found.download(), gradient), allowed);
    };
    const std::string shape = " [" + std::to_string(rows) + "," + std::to_string(n) + "]";
    {
        const ByTape<> tape({{&x, {rows, n}}}, dy, [](const auto& v) { return softmax(v[0]); });
        launch_apart(softmax_obvious, blocks_for(rows, kThreads), kThreads, gx.data(), rows, n,
                     y.data());
        s.check("softmax 1" + shape, largest_difference(y.download(), tape.y), 1e-6);
        softmax_rows(gx.data(), rows, n, y.data());
        s.check("softmax 2" + shape, largest_difference(y.download(), tape.y), 1e-6);
        softmax_rows_vjp(y.data(), gdy.data(), rows, n, dx.data());
        check_added("softmax's VJP" + shape, dx, tape.gradient(0), 1e-5);
    }
    const ByTape<> tape({{&x, {rows, n}}, {&gain, {n}}, {&bias, {n}}}, dy,
                        [](const auto& v) { return layer_norm(v[0], v[1], v[2]); });
    const auto again = Buffer<float>::of(there);
    const std::vector<float> row(there.begin(), there.begin() + n);
    const auto dgain = Buffer<float>::of(row), dbias = Buffer<float>::of(row);
    launch_apart(layer_norm_obvious, blocks_for(rows, kThreads), kThreads, gx.data(), ggain.data(),
                 gbias.data(), rows, n, 1e-5f, y.data());
    s.check("layer norm 1" + shape, largest_difference(y.download(), tape.y), 2e-5);
    layer_norm_rows(gx.data(), ggain.data(), gbias.data(), rows, n, 1e-5f, y.data());
    s.check("layer norm 2" + shape, largest_difference(y.download(), tape.y), 2e-5);
    Arena scratch(kGpuMemory);
    layer_norm_rows_vjp(gx.data(), ggain.data(), gdy.data(), rows, n, 1e-5f, again.data(),
                        dgain.data(), dbias.data(), scratch);
    check_added("layer norm's VJP" + shape, again, tape.gradient(0), 5e-5);
    check_added("  its gain" + shape, dgain, tape.gradient(1), 1e-4);
    check_added("  its bias" + shape, dbias, tape.gradient(2), 1e-4);
}

void time_all(Stage& s) {
    constexpr int kRows = 1 << 17, kColumns = 512;
    const auto size = static_cast<std::size_t>(kRows) * kColumns;
    const double bytes = 4.0 * static_cast<double>(size);
    const Buffer<float> x(size), y(size), dx(size);
    const Buffer<float> gain(kColumns), bias(kColumns), dgain(kColumns), dbias(kColumns);
    for_each_number(static_cast<std::ptrdiff_t>(size), Mixed{x.data()});
    for_each_number(kColumns, Mixed{gain.data()});
    s.time("softmax 1: a thread for a row", 2 * bytes, 0, [&] {
        launch_apart(softmax_obvious, blocks_for(kRows, kThreads), kThreads, x.data(), kRows,
                     kColumns, y.data());
    });
    s.time("softmax 2: a warp for a row", 2 * bytes, 0,
           [&] { softmax_rows(x.data(), kRows, kColumns, y.data()); });
    s.time("softmax's VJP", 4 * bytes, 0,
           [&] { softmax_rows_vjp(y.data(), x.data(), kRows, kColumns, dx.data()); });
    s.time("layer norm 1: a thread for a row", 2 * bytes, 0, [&] {
        launch_apart(layer_norm_obvious, blocks_for(kRows, kThreads), kThreads, x.data(),
                     gain.data(), bias.data(), kRows, kColumns, 1e-5f, y.data());
    });
    s.time("layer norm 2: a warp for a row", 2 * bytes, 0, [&] {
        layer_norm_rows(x.data(), gain.data(), bias.data(), kRows, kColumns, 1e-5f, y.data());
    });
    Arena scratch(kGpuMemory);
    // x, dy, dx and back; one table of shares of dgain, to memory and back; and dy once more.
    s.time("layer norm's VJP", 7 * bytes, 0, [&] {
        layer_norm_rows_vjp(y.data(), gain.data(), x.data(), kRows, kColumns, 1e-5f, dx.data(),
                            dgain.data(), dbias.data(), scratch);
    });
}

}  // namespace

void rows_stage(Stage& s) {
    check_rows(s, 9, 100);
    check_rows(s, 300, 20);  // rows enough to be cut into parts
    if (s.times()) time_all(s);
}

}  // namespace diffusion::cuda
