#include "kernels/winograd_doubled.hpp"

#include <algorithm>
#include <array>
#include <optional>

#include "kernels/gemm.hpp"
#include "kernels/simd.hpp"
#include "kernels/threads.hpp"
#include "kernels/winograd_tiles.hpp"

namespace diffusion {
namespace {

// The one-dimensional maps of (4.20), applied along the columns and then along the rows of a tile.
// A tile has kTile x kTile outputs and reads as many pixels of the small image. From these come
// kIn x kIn sums, and there are kOut x kOut products: two of five share a sum.
constexpr int kIn = 4, kOut = 5, kInputs = kIn * kIn, kProducts = kOut * kOut;

/// Which sum a product multiplies.
constexpr int sum_of(int product) {
    constexpr std::array<int, kOut> sum{0, 1, 2, 2, 3};
    return sum[static_cast<std::size_t>(product / kOut)] * kIn +
           sum[static_cast<std::size_t>(product % kOut)];
}

/// 4 pixels of the small image to 4 sums.
constexpr auto to_sums = []<class V>(const V* d, V* t) {
    t[0] = d[0] - d[2];
    t[1] = d[1] + d[2];
    t[2] = d[2] - d[1];
    t[3] = d[3] - d[1];
};
constexpr auto to_sums_vjp = []<class V>(const V* t, V* d) {
    d[0] = t[0];
    d[1] = t[1] - t[2] - t[3];
    d[2] = t[1] + t[2] - t[0];
    d[3] = t[3];
};

/// 5 products to 4 pixels of the output.
constexpr auto from_products = []<class V>(const V* m, V* y) {
    y[0] = m[0] + m[1] - m[3];
    y[1] = m[1] + m[2];
    y[2] = m[1] + m[3];
    y[3] = m[1] - m[2] + m[4];
};
constexpr auto from_products_vjp = []<class V>(const V* dy, V* m) {
    m[0] = dy[0];
    m[1] = (dy[0] + dy[1]) + (dy[2] + dy[3]);
    m[2] = dy[1] - dy[3];
    m[3] = dy[2] - dy[0];
    m[4] = dy[3];
};

/// 3 weights to the factors of 5 products.
constexpr auto to_factors = []<class V>(const V* g, V* u) {
    using T = std::remove_cvref_t<decltype(g[0][0])>;
    u[0] = g[0];
    u[1] = T(0.5) * (g[0] + g[1] + g[2]);
    u[2] = g[2] - u[1];
    u[3] = u[1] - g[0];
    u[4] = g[2];
};
constexpr auto to_factors_vjp = []<class V>(const V* u, V* g) {
    using T = std::remove_cvref_t<decltype(u[0][0])>;
    g[1] = T(0.5) * (u[1] - u[2] + u[3]);
    g[0] = u[0] + g[1] - u[3];
    g[2] = u[4] + g[1] + u[2];
};

/// The tiles of y [N,H,W,O], numbered through in reading order.
struct DoubledTiles {
    ImageSize large;
    int channels;  ///< of the small image

    DoubledTiles(const Shape& y, int inputs) : large{y[1], y[2], y[3]}, channels(inputs) {}
    int of_image() const { return (large.height / kTile) * (large.width / kTile); }

    /// f(pixels) for the pixels of the small image that tile `index` reads, as with_window does.
    template <class F>
    void with_inputs(int index, F f) const {
        const ImageSize small{large.height / 2, large.width / 2, channels};
        const Window out = outputs(index);
        with_window<kTile>(
            {out.image, out.top / 2 - 1, out.left / 2 - 1, small.height, small.width}, small, f);
    }
    /// f(pixels) for its pixels of y, which are all there.
    template <class F>
    void with_outputs(int index, F f) const {
        with_window<kTile>(outputs(index), large, f);
    }
    Window outputs(int index) const {
        const int in_row = large.width / kTile, k = index % of_image();
        return {index / of_image(), k / in_row * kTile, k % in_row * kTile, large.height,
                large.width};
    }
};

int whole_registers(int channels, int width) {
    return (channels + width - 1) / width * width;
}

/// Some tiles of x, and some of its channels, as sums; `sums` holds only these.
template <class T>
void input_sums(Tensor<const T> x, Range channels, const DoubledTiles& tiles, Range some,
                const T* zeros, Planes<T> sums) {
    using V = typename Simd<T>::Vector;
    for (int p = 0; p < some.count(); ++p) {
        T* to = sums.data + p * channels.count();
        tiles.with_inputs(some.begin + p, [&](auto pixels) {
            const auto at = pixels(x.data() + channels.begin, zeros);
            for_each_register<T>(channels.count(), [&](int c, auto load, auto store) {
                both_ways<kTile, kIn, V>(
                    to_sums, [&](int k) { return load(at(k) + c); },
                    [&](int k, V v) { store(to + k * sums.stride + c, v); });
            });
        });
    }
}

/// dx += the adjoint. What lies outside the image is dropped.
template <class T>
void input_sums_vjp(Planes<T> sums, const DoubledTiles& tiles, Range some, T* dropped,
                    Tensor<T> dx) {
    using V = typename Simd<T>::Vector;
    for (int p = 0; p < some.count(); ++p) {
        const T* from = sums.data + p * tiles.channels;
        tiles.with_inputs(some.begin + p, [&](auto pixels) {
            const auto at = pixels(dx.data(), dropped);
            for_each_register<T>(tiles.channels, [&](int c, auto load, auto store) {
                both_ways<kIn, kTile, V>(
                    to_sums_vjp, [&](int k) { return load(from + k * sums.stride + c); },
                    [&](int k, V v) { store(at(k) + c, load(at(k) + c) + v); });
            });
        });
    }
}

/// y = the products' sums + a row, for some of the channels.
template <class T>
void output_pixels(Planes<T> products, const DoubledTiles& tiles, Range some, Range channels,
                   Plus<T> plus, const T* zeros, Tensor<T> y) {
    using V = typename Simd<T>::Vector;
    for (int p = 0; p < some.count(); ++p) {
        const T* from = products.data + p * channels.count();
        const int index = some.begin + p;
        const T* row =
            plus.row == nullptr ? zeros : plus.row_of(index / tiles.of_image()) + channels.begin;
        tiles.with_outputs(index, [&](auto pixels) {
            const auto at = pixels(y.data() + channels.begin, static_cast<T*>(nullptr));
            for_each_register<T>(channels.count(), [&](int o, auto load, auto store) {
                const V start = load(row + o);
                both_ways<kOut, kTile, V>(
                    from_products, [&](int k) { return load(from + k * products.stride + o); },
                    [&](int k, V v) { store(at(k) + o, v + start); });
            });
        });
    }
}

template <class T>
void output_pixels_vjp(Tensor<const T> dy, const DoubledTiles& tiles, Range some,
                       Planes<T> products) {
    using V = typename Simd<T>::Vector;
    const int outputs = tiles.large.channels;
    for (int p = 0; p < some.count(); ++p) {
        T* to = products.data + p * outputs;
        tiles.with_outputs(some.begin + p, [&](auto pixels) {
            const auto at = pixels(dy.data(), static_cast<const T*>(nullptr));
            for_each_register<T>(outputs, [&](int o, auto load, auto store) {
                both_ways<kTile, kOut, V>(
                    from_products_vjp, [&](int k) { return load(at(k) + o); },
                    [&](int k, V v) { store(to + k * products.stride + o, v); });
            });
        });
    }
}

/// The factors of some pairs of channels, C x O, or O x C for the way back: 25 matrices whose rows
/// are whole registers `row` apart, as gemm reads them.
template <class T>
struct Factors {
    int rows, columns;
    std::ptrdiff_t row;
    Planes<T> planes;

    /// Room for up to so many.
    Factors(int rows_, int columns_, Arena& memory)
        : rows(rows_),
          columns(columns_),
          row(whole_registers(columns, Simd<T>::width)),
          planes(kProducts, rows, static_cast<int>(row), memory) {}
    /// All of them, for the way back.
    Factors(Tensor<const T> weight, Arena& memory)
        : Factors(weight.size(3), weight.size(2), memory) {
        Arena::Scope scope(memory);
        const Tensor<T> turned = memory.make<T>({3, 3, rows, columns});
        for (int k = 0; k < 9; ++k) {
            transpose(columns, rows, weight[k / 3][k % 3].data(), rows, turned[k / 3][k % 3].data(),
                      columns);
        }
        fill(turned, {0, rows}, {0, columns});
    }
    /// Those of some rows and columns of weight [3,3,C,O].
    void fill(Tensor<const T> weight, Range some_rows, Range some_columns) {
        using V = typename Simd<T>::Vector;
        rows = some_rows.count();
        columns = some_columns.count();
        const std::ptrdiff_t tap = weight[0][0].numel();
        for (int r = 0; r < rows; ++r) {
            const T* of_row = &weight(0, 0, some_rows.begin + r, some_columns.begin);
            for_each_register<T>(columns, [&](int c, auto load, auto store) {
                both_ways<3, kOut, V>(
                    to_factors, [&](int k) { return load(of_row + k * tap + c); },
                    [&](int k, V v) { store(planes[k] + r * row + c, v); });
            });
        }
    }
    Packed<T> operator[](int k) const { return {planes[k], rows, columns, row, 1}; }
};

/// Calls f(tiles) for `most` of them at a time.
template <class F>
void for_tiles(Range all, int most, F f) {
    for (int first = all.begin; first < all.end; first += most)
        f(Range{first, std::min(all.end, first + most)});
}

/// Some tiles and some output channels of y: a core's share.
template <class T>
void convolve(Tensor<const T> x, Tensor<const T> weight, Plus<T> plus, Tensor<T> y,
              const DoubledTiles& tiles, Range share, Range outputs, Arena& memory) {
    Arena::Scope scope(memory);
    const int all = x.size(3);
    const Portion portion = Portion::of<T>(share.count(), all, outputs.count(),
                                           kInputs * all + kProducts * outputs.count(), kProducts);
    const int most = portion.tiles, deep = portion.channels;
    const Planes<T> sums(kInputs, most, deep, memory),
        products(kProducts, most, outputs.count(), memory);
    Factors<T> factors(deep, outputs.count(), memory);
    const T* zeros = memory.zeros<T>({std::max(all, outputs.count())}).data();
    for_tiles(share, most, [&](Range some) {
        for (int c = 0; c < all; c += deep) {
            const Range inputs{c, std::min(all, c + deep)};
            if (some.begin == share.begin || deep < all) factors.fill(weight, inputs, outputs);
            input_sums(x, inputs, tiles, some, zeros, sums);
            for (int k = 0; k < kProducts; ++k) {
                gemm<T>(some.count(), by_rows<T>(sums[sum_of(k)], inputs.count()), factors[k],
                        products[k], c > 0);
            }
        }
        output_pixels(products, tiles, some, outputs, plus, zeros, y);
    });
}

}  // namespace

template <class T>
bool use_winograd_doubled(const Shape& y, const Shape& weight) {
    constexpr int least = Simd<T>::width / 2;
    return weight[0] == 3 && y[1] % kTile == 0 && y[2] % kTile == 0 && weight[2] >= least &&
           weight[3] >= least;
}

template <class T>
void winograd_doubled(Tensor<const T> x, Tensor<const T> weight, Plus<T> plus, Tensor<T> y,
                      Arena& scratch) {
    constexpr int w = Simd<T>::width;
    const DoubledTiles tiles(y.shape(), x.size(3));
    const int count = y.size(0) * tiles.of_image(), outputs = weight.size(3);
    // Shared out by what there is more of, as in winograd.cpp.
    const bool by_outputs = outputs > count;
    const int units = by_outputs ? (outputs + w - 1) / w : count;
    in_parts(units, by_outputs ? 1 : kTileRows, [&](int begin, int end) {
        const Range some_tiles = by_outputs ? Range{0, count} : Range{begin, end},
                    some_outputs = by_outputs ? Range{begin * w, std::min(outputs, end * w)}
                                              : Range{0, outputs};
        if (end - begin == units) {
            convolve(x, weight, plus, y, tiles, some_tiles, some_outputs, scratch);
            return;
        }
        thread_local Arena own;  // memory that stays with its core
        own.reset();
        convolve(x, weight, plus, y, tiles, some_tiles, some_outputs, own);
    });
}

template <class T>
void winograd_doubled_vjp(Tensor<const T> x, Tensor<const T> weight, Tensor<const T> dy,
                          const DoubledGradients<T>& to, Arena& scratch) {
    using V = typename Simd<T>::Vector;
    Arena::Scope scope(scratch);
    const DoubledTiles tiles(dy.shape(), x.size(3));
    const int inputs = x.size(3), outputs = dy.size(3), count = x.size(0) * tiles.of_image(),
              most = tiles_at_a_time<T>(count, kInputs * inputs + kProducts * outputs);
    const Planes<T> sums(kInputs, most, inputs, scratch),
        products(kProducts, most, outputs, scratch);
    const T* zeros = scratch.zeros<T>({inputs}).data();
    T* dropped = scratch.zeros<T>({inputs}).data();
    std::optional<Factors<T>> turned;
    std::optional<Planes<T>> factors;
    if (to.x) turned.emplace(weight, scratch);
    if (to.weight) factors.emplace(kProducts, inputs, outputs, scratch);
    if (to.x && !to.add_x) std::fill(to.x.begin(), to.x.end(), T(0));
    for_tiles({0, count}, most, [&](Range some) {
        output_pixels_vjp(dy, tiles, some, products);
        if (to.x) {
            std::array<bool, kInputs> met{};
            for (int k = 0; k < kProducts; ++k) {
                bool& again = met[static_cast<std::size_t>(sum_of(k))];
                gemm<T>(some.count(), by_rows<T>(products[k], outputs), (*turned)[k],
                        sums[sum_of(k)], again);
                again = true;
            }
            input_sums_vjp(sums, tiles, some, dropped, to.x);
        }
        if (!to.weight) return;
        input_sums(x, {0, inputs}, tiles, some, zeros, sums);
        for (int k = 0; k < kProducts; ++k) {
            gemm<T>(inputs, outputs, some.count(), transposed<T>(sums[sum_of(k)], inputs),
                    by_rows<T>(products[k], outputs), (*factors)[k], some.begin > 0, scratch);
        }
    });
    if (!to.weight) return;
    for (int c = 0; c < inputs; ++c) {
        for_each_register<T>(outputs, [&](int o, auto load, auto store) {
            both_ways<kOut, 3, V>(
                to_factors_vjp, [&](int k) { return load((*factors)[k] + c * outputs + o); },
                [&](int k, V v) {
                    T* at = &to.weight(k / 3, k % 3, c, o);
                    store(at, load(at) + v);
                });
        });
    }
}

#define DIFFUSION_INSTANTIATE(T)                                                                  \
    template bool use_winograd_doubled<T>(const Shape&, const Shape&);                            \
    template void winograd_doubled(Tensor<const T>, Tensor<const T>, Plus<T>, Tensor<T>, Arena&); \
    template void winograd_doubled_vjp(Tensor<const T>, Tensor<const T>, Tensor<const T>,         \
                                       const DoubledGradients<T>&, Arena&);
DIFFUSION_INSTANTIATE(float)
DIFFUSION_INSTANTIATE(double)
#undef DIFFUSION_INSTANTIATE

}  // namespace diffusion
