// The products of the linear layer and its VJPs (2.9) on a GPU: product.hpp's three versions
// against the CPU's, and their times.
#include "02_gradients/compare.hpp"
#include "02_gradients/gradients.hpp"
#include "02_gradients/ops.hpp"
#include "02_gradients/product.hpp"
#include "cuda/reduce.hpp"

namespace diffusion::cuda {

namespace {

/// Y = X W and its VJPs (2.9), in all versions, against the CPU's product of the same rounded
/// inputs.
void check_products(Stage& s, int rows, int in, int out) {
    const auto size = [](int a, int b) {
        return static_cast<std::size_t>(a) * static_cast<std::size_t>(b);
    };
    const std::vector<float> x = random_numbers(size(rows, in), 1),
                             w = random_numbers(size(in, out), 2),
                             dy = random_numbers(size(rows, out), 3),
                             zero(static_cast<std::size_t>(out));
    const auto gx = Buffer<float>::of(x), gw = Buffer<float>::of(w), gdy = Buffer<float>::of(dy);
    const Buffer<float> y(size(rows, out)), dx(size(rows, in)), dw(size(in, out));
    const auto by_tape = [&](Precision p) {
        const std::vector<float> rx = rounded(p, x), rw = rounded(p, w);
        return ByTape<>({{&rx, {rows, in}}, {&rw, {in, out}}, {&zero, {out}}}, rounded(p, dy),
                        [](const auto& v) { return linear(v[0], v[1], v[2]); });
    };
    // Of sums of up to 70 products of normal numbers; tensor cores cut off where they add.
    const auto allowed = [](Precision p) { return p == Precision::fp32 ? 2e-5 : 6e-5; };
    launch_apart(product_obvious<ByRows, ByColumns, Plain>,
                 dim3(blocks_for(out, 16), blocks_for(rows, 16)), dim3(16, 16),
                 ByRows(gx.data(), in, rows, in), ByColumns(gw.data(), out, out, in),
                 Plain{y.data(), out, false}, rows, out, in);
    s.check("product 1, X [" + std::to_string(rows) + "," + std::to_string(in) + "] W [" +
                std::to_string(in) + "," + std::to_string(out) + "]",
            largest_difference(y.download(), by_tape(Precision::fp32).y), allowed(Precision::fp32));
    for (const auto& [kind_of, name_of] :
         {std::pair(Precision::fp32, "2, float"), std::pair(Precision::tf32, "3, TF32"),
          std::pair(Precision::bf16, "3, BF16")}) {
        const Precision precision = kind_of;
        const char* name = name_of;
        if (precision != Precision::fp32 && !has_tensor_cores()) continue;
        const ByTape<> tape = by_tape(precision);
        const auto check_tile = [&](auto tile, const char* kind) {
            const ByRows left(gx.data(), in, rows, in);
            const ByColumns right(gw.data(), out, out, in);
            const Plain to{y.data(), out, false};
            using Tile = decltype(tile);
            if (precision == Precision::fp32) {
                launch_tiles<Precision::fp32, Tile>(left, right, to, rows, out, in);
            } else if (precision == Precision::tf32) {
                launch_tiles<Precision::tf32, Tile>(left, right, to, rows, out, in);
            } else {
                launch_tiles<Precision::bf16, Tile>(left, right, to, rows, out, in);
            }
            s.check(std::string("product ") + name + ", " + kind + " tiles: Y = X W",
                    largest_difference(y.download(), tape.y), allowed(precision));
        };
        check_tile(Small(), "small");
        check_tile(Large(), "large");
        check_tile(Narrow<16>(), "narrow");
        check_tile(Narrow<32>(), "twice as wide");
        const std::string what = std::string("product ") + name + ": ";
        product(precision, ByRows(gx.data(), in, rows, in), ByColumns(gw.data(), out, out, in),
                Plain{y.data(), out, false}, rows, out, in);
        s.check(what + "Y = X W", largest_difference(y.download(), tape.y), allowed(precision));
        product(precision, ByRows(gdy.data(), out, rows, out), ByRows(gw.data(), out, in, out),
                Plain{dx.data(), in, false}, rows, in, out);
        s.check(what + "dX = dY W^T", largest_difference(dx.download(), tape.gradient(0)),
                allowed(precision));
        product(precision, ByColumns(gx.data(), in, in, rows),
                ByColumns(gdy.data(), out, out, rows), Plain{dw.data(), out, false}, in, out, rows);
        s.check(what + "dW = X^T dY", largest_difference(dw.download(), tape.gradient(1)),
                allowed(precision));
        // The sums cut into parts, of which the last of seven is empty.
        for (const int parts : {3, 7}) {
            const Buffer<float> table(size(in, out) * static_cast<std::size_t>(parts));
            const auto of_table = static_cast<std::ptrdiff_t>(size(in, out));
            fill({as_device(dw.data()), {in, out}}, Float(0));
            product(precision, ByColumns(gx.data(), in, in, rows),
                    ByColumns(gdy.data(), out, out, rows),
                    Plain{table.data(), out, false, of_table}, in, out, rows, parts);
            add_parts(table.data(), parts, of_table, dw.data());
            s.check(what + "dW in " + std::to_string(parts) + " parts",
                    largest_difference(dw.download(), tape.gradient(1)), allowed(precision));
        }
    }
}

void time_products(Stage& s) {
    constexpr int kSize = 4096;
    const auto square = static_cast<std::size_t>(kSize) * kSize;
    const Buffer<float> a(square), b(square), c(square);
    for_each_number(static_cast<std::ptrdiff_t>(square), Mixed{a.data()});
    for_each_number(static_cast<std::ptrdiff_t>(square), Mixed{b.data()});
    const double operations = 2.0 * kSize * kSize * kSize;
    const ByRows left(a.data(), kSize, kSize, kSize);
    const ByColumns right(b.data(), kSize, kSize, kSize);
    const Plain to{c.data(), kSize, false};
    s.time("product 1: a thread for a number", 0, operations, [&] {
        launch_apart(product_obvious<ByRows, ByColumns, Plain>, dim3(kSize / 16, kSize / 16),
                     dim3(16, 16), left, right, to, kSize, kSize, kSize);
    });
    s.time("product 2: tiles in registers", 0, operations,
           [&] { product(Precision::fp32, left, right, to, kSize, kSize, kSize); });
    s.time(
        "product 3: tensor cores, TF32", 0, operations,
        [&] { product(Precision::tf32, left, right, to, kSize, kSize, kSize); }, Precision::tf32);
    s.time(
        "product 3: tensor cores, BF16", 0, operations,
        [&] { product(Precision::bf16, left, right, to, kSize, kSize, kSize); }, Precision::bf16);
}

}  // namespace

void products_stage(Stage& s) {
    check_products(s, 70, 36, 68);
    check_products(s, 33, 7, 10);  // sizes that no quad fits
    if (s.times()) time_products(s);
}

}  // namespace diffusion::cuda
