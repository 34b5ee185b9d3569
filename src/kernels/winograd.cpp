#include "kernels/winograd.hpp"

#include <algorithm>
#include <array>

#include "kernels/gemm.hpp"
#include "kernels/simd.hpp"
#include "kernels/threads.hpp"
#include "kernels/winograd_tiles.hpp"

namespace diffusion {
namespace {

// The one-dimensional maps of (4.17) and (4.19). Each is applied along the columns and then along
// the rows of a tile; the matrices are those of the interpolation points 0, 1, -1, 2, -2 and
// infinity. They are lambdas so that the compiler sees which one is meant and writes it out in
// place.

/// B^T: 6 pixels of the input.
constexpr auto to_points = []<class V>(const V* d, V* t) {
    const V a = d[4] - 4 * d[2], b = d[3] - 4 * d[1];
    const V c = d[4] - d[2], e = 2 * (d[3] - d[1]);
    t[0] = 4 * d[0] - 5 * d[2] + d[4];
    t[1] = a + b;
    t[2] = a - b;
    t[3] = c + e;
    t[4] = c - e;
    t[5] = 4 * d[1] - 5 * d[3] + d[5];
};

/// A^T: 6 points to 4 pixels of the output.
constexpr auto from_points = []<class V>(const V* m, V* y) {
    const V s1 = m[1] + m[2], d1 = m[1] - m[2], s2 = m[3] + m[4], d2 = m[3] - m[4];
    y[0] = m[0] + s1 + s2;
    y[1] = d1 + 2 * d2;
    y[2] = s1 + 4 * s2;
    y[3] = d1 + 8 * d2 + m[5];
};

/// A: 4 gradients of the output to 6 points, the adjoint of from_points.
constexpr auto from_points_vjp = []<class V>(const V* dy, V* m) {
    const V p1 = dy[0] + dy[2], q1 = dy[1] + dy[3];
    const V p2 = dy[0] + 4 * dy[2], q2 = 2 * dy[1] + 8 * dy[3];
    m[0] = dy[0];
    m[1] = p1 + q1;
    m[2] = p1 - q1;
    m[3] = p2 + q2;
    m[4] = p2 - q2;
    m[5] = dy[3];
};

/// G: 3 weights to 6 points.
constexpr auto weight_to_points = []<class V>(const V* g, V* u) {
    using T = std::remove_cvref_t<decltype(g[0][0])>;
    const V s = (g[0] + g[2]) * T(1.0 / 6), h = g[1] * T(1.0 / 6);
    const V p = g[0] * T(1.0 / 24) + g[2] * T(1.0 / 6), q = g[1] * T(1.0 / 12);
    u[0] = g[0] * T(0.25);
    u[1] = -s - h;
    u[2] = h - s;
    u[3] = p + q;
    u[4] = p - q;
    u[5] = g[2];
};

/// G^T: 6 gradients of points to 3 of weights, the adjoint of weight_to_points.
constexpr auto weight_to_points_vjp = []<class V>(const V* u, V* g) {
    using T = std::remove_cvref_t<decltype(u[0][0])>;
    const V s1 = (u[1] + u[2]) * T(1.0 / 6), s2 = (u[3] + u[4]) * T(1.0 / 24);
    g[0] = u[0] * T(0.25) - s1 + s2;
    g[1] = (u[2] - u[1]) * T(1.0 / 6) + (u[3] - u[4]) * T(1.0 / 12);
    g[2] = 4 * s2 - s1 + u[5];
};

/// points = B^T d B of some tiles of x, for some of its channels; points holds only these. The
/// memory of x begins with row `row`.
template <class T>
void input_points(Tensor<const T> x, int row, Range channels, const Tiles& tiles, Range some,
                  const T* zeros, Planes<T> points) {
    using V = typename Simd<T>::Vector;
    for (int p = 0; p < some.count(); ++p) {
        T* to = points.data + p * channels.count();
        const auto visit = [&](auto pixels, int) {
            const auto at = pixels(x.data() + channels.begin, zeros);
            for_each_register<T>(channels.count(), [&](int c, auto load, auto store) {
                both_ways<kPatch, kPatch, V>(
                    to_points, [&](int k) { return load(at(k) + c); },
                    [&](int k, V v) { store(to + k * points.stride + c, v); });
            });
        };
        tiles.with_pixels<kPatch>(x.size(3), some.begin + p, 1, visit, row);
    }
}

/// points = A dy A^T of the same tiles of dy.
template <class T>
void output_points_vjp(Tensor<const T> dy, const Tiles& tiles, int first, int count, const T* zeros,
                       Planes<T> points) {
    using V = typename Simd<T>::Vector;
    const int channels = dy.size(3);
    for (int p = 0; p < count; ++p) {
        T* to = points.data + p * channels;
        tiles.with_pixels<kTile>(channels, first + p, 0, [&](auto pixels, int) {
            const auto at = pixels(dy.data(), zeros);
            for_each_register<T>(channels, [&](int c, auto load, auto store) {
                both_ways<kTile, kPatch, V>(
                    from_points_vjp, [&](int k) { return load(at(k) + c); },
                    [&](int k, V v) { store(to + k * points.stride + c, v); });
            });
        });
    }
}

/// y = A^T points A + plus, of the same tiles, for some of the channels; points holds only these.
/// Pixels outside the image are dropped.
template <class T>
void output_pixels(Planes<T> points, const Tiles& tiles, int first, int count, Range channels,
                   Plus<T> plus, T* dropped, Tensor<T> y) {
    using V = typename Simd<T>::Vector;
    const T *added_to = plus.pixels != nullptr ? plus.pixels : y.data(), *nothing = dropped;
    // `start` is what the sums are to be added to.
    const auto write = [&](auto start) {
        for (int p = 0; p < count; ++p) {
            const T* from = points.data + p * channels.count();
            tiles.with_pixels<kTile>(y.size(3), first + p, 0, [&](auto pixels, int image) {
                const auto at = pixels(y.data(), dropped);
                const auto added = pixels(added_to, nothing);
                const T* row = plus.row_of(image);
                for_each_register<T>(channels.count(), [&](int i, auto load, auto store) {
                    const int c = channels.begin + i;
                    both_ways<kPatch, kTile, V>(
                        from_points, [&](int k) { return load(from + k * points.stride + i); },
                        [&](int k, V v) { store(at(k) + c, v + start(load, added, row, k, c)); });
                });
            });
        }
    };
    const auto of_row = [](auto load, auto&, const T* row, int, int c) { return load(row + c); };
    const auto of_pixel = [](auto load, auto added, const T*, int k, int c) {
        return load(added(k) + c);
    };
    if (plus.row == nullptr && plus.pixels == nullptr) {
        write([](auto...) { return V{}; });
    } else if (plus.pixels == nullptr) {
        write(of_row);
    } else if (plus.row == nullptr) {
        write(of_pixel);
    } else {
        write([&](auto... at) { return of_row(at...) + of_pixel(at...); });
    }
}

/// A share of a convolution that one core does by itself: some of the tiles, some of the output
/// channels, and memory for both.
template <class T>
struct Share {
    Range tiles, outputs;
    Portion portion;
    std::ptrdiff_t row;
    Planes<T> u, in, out;
    T* dropped;

    Share(Range tiles_, Range outputs_, int inputs, int all_outputs, Arena& memory)
        : tiles(tiles_),
          outputs(outputs_),
          portion(Portion::of<T>(tiles.count(), inputs, outputs.count(),
                                 kPoints * (inputs + outputs.count()), kPoints)),
          row((outputs.count() + Simd<T>::width - 1) / Simd<T>::width * Simd<T>::width),
          u(kPoints, portion.channels, static_cast<int>(row), memory),
          in(kPoints, portion.tiles, portion.channels, memory),
          out(kPoints, portion.tiles, outputs.count(), memory),
          dropped(memory.zeros<T>({all_outputs}).data()) {}
};

/// The kernel of a convolution, or that of its adjoint (4.2): turned, its channels exchanged.
template <class T>
struct Kernel {
    Tensor<const T> weight;
    bool turned;

    int inputs() const { return weight.size(turned ? 3 : 2); }
    int outputs() const { return weight.size(turned ? 2 : 3); }
};

/// u = G w G^T for some input channels: 36 matrices C x O. Of a turned kernel a few inputs at a
/// time are transposed into a strip: nine small transposes here save 36 after G.
template <class T>
void weight_points(const Kernel<T>& kernel, Range inputs, const Share<T>& share, Arena& scratch) {
    Arena::Scope scope(scratch);
    using V = typename Simd<T>::Vector;
    constexpr int kInputs = 8;
    const Tensor<const T> weight = kernel.weight;
    const std::ptrdiff_t tap = weight[0][0].numel(), row = weight.size(3);
    const std::ptrdiff_t part = kInputs * share.row;
    T* strip = kernel.turned ? scratch.make<T>({9, static_cast<int>(part)}).data() : nullptr;
    for (int first = inputs.begin; first < inputs.end; first += kInputs) {
        const int count = std::min(kInputs, inputs.end - first);
        if (kernel.turned) {
            for (int k = 0; k < 9; ++k) {
                transpose(share.outputs.count(), count,
                          weight.data() + (8 - k) * tap + share.outputs.begin * row + first, row,
                          strip + k * part, share.row);
            }
        }
        for (int c = 0; c < count; ++c) {
            const T* from = kernel.turned ? strip + c * share.row
                                          : weight.data() + (first + c) * row + share.outputs.begin;
            for_each_register<T>(share.outputs.count(), [&](int o, auto load, auto store) {
                both_ways<3, kPatch, V>(
                    weight_to_points,
                    [&](int k) { return load(from + o + k * (kernel.turned ? part : tap)); },
                    [&](int k, V v) {
                        store(share.u[k] + (first + c - inputs.begin) * share.row + o, v);
                    });
            });
        }
    }
}

/// What is convolved: images, or one image of this shape whose rows are made when they are read.
template <class T>
struct Source {
    Tensor<const T> x;
    Shape shape;
    const Rows<T>* rows;
};

/// A share of y = A^T [ U * (B^T x B) ] A + plus.
template <class T>
void convolve(const Source<T>& source, const Kernel<T>& kernel, Plus<T> plus, Tensor<T> y,
              const Tiles& tiles, const T* zeros, const Share<T>& share, Arena& scratch) {
    const int outputs = share.outputs.count(), all = kernel.inputs();
    const int most = share.portion.tiles, deep = share.portion.channels;
    Range some{share.tiles.begin, 0};
    for (; some.begin < share.tiles.end; some.begin = some.end) {
        some.end = std::min(share.tiles.end, some.begin + most);
        Arena::Scope scope(scratch);
        Tensor<const T> x = source.x;
        int row = 0;  // with which its memory begins
        if (source.rows != nullptr) {
            some.end = std::min(some.end, tiles.end_of_group(some.begin));
            const Range read = tiles.rows_read(some);
            const Tensor<T> made =
                scratch.make<T>({1, read.count(), source.shape[2], source.shape[3]});
            (*source.rows)(read.begin, read.count(), made.data());
            x = made, row = read.begin;
        }
        for (int c = 0; c < all; c += deep) {
            const Range inputs{c, std::min(all, c + deep)};
            if (some.begin == share.tiles.begin || deep < all)
                weight_points(kernel, inputs, share, scratch);
            input_points(x, row, inputs, tiles, some, zeros, share.in);
            for (int k = 0; k < kPoints; ++k) {
                const Range part = some.within(tiles.at_point(k));
                const int begin = part.begin - some.begin, deep_here = inputs.count();
                // The rows of U are whole registers, so it needs no packing.
                gemm<T>(part.count(), by_rows<T>(share.in[k] + begin * deep_here, deep_here),
                        {share.u[k], deep_here, outputs, share.row, 1},
                        share.out[k] + begin * outputs, c > 0);
            }
        }
        output_pixels<T>(share.out, tiles, some.begin, some.count(), share.outputs, plus,
                         share.dropped, y);
    }
}

/// y = conv2d(x, kernel) + plus. A single picture is shared out to all cores by what there is more
/// of, tiles or output channels: a core transforms the weights of its channels and the pixels of
/// its tiles.
template <class T>
void convolve(const Source<T>& x, const Kernel<T>& kernel, Plus<T> plus, Tensor<T> y,
              Arena& scratch) {
    constexpr int w = Simd<T>::width;
    const Tiles tiles(x.shape);
    const int outputs = kernel.outputs(), registers = (outputs + w - 1) / w;
    const int cores = in_parallel() ? 1 : thread_count();
    const int by_tiles =
        outputs > tiles.count() ? 1 : std::clamp(tiles.count() / kTileRows, 1, cores);
    const int by_outputs = std::clamp(cores / by_tiles, 1, registers);
    const int shares = by_tiles * by_outputs;
    const T* zeros = scratch.zeros<T>({kernel.inputs()}).data();
    const auto share = [&](int i, Arena& memory) {
        const auto part = [](int n, int p, int parts) {
            return Range{n * p / parts, n * (p + 1) / parts};
        };
        const Range some = part(registers, i % by_outputs, by_outputs);
        convolve<T>(x, kernel, plus, y, tiles, zeros,
                    Share<T>(part(tiles.count(), i / by_outputs, by_tiles),
                             {some.begin * w, std::min(outputs, some.end * w)}, kernel.inputs(),
                             outputs, memory),
                    memory);
    };
    if (shares == 1) {
        share(0, scratch);
        return;
    }
    parallel_for(shares, shares, [&](int i) {
        // Memory that stays with its core: what another core has just written comes slowly.
        thread_local Arena own;
        own.reset();
        share(i, own);
    });
}

}  // namespace

template <class T>
void winograd(Tensor<const T> x, Tensor<const T> weight, Plus<T> plus, Tensor<T> y,
              Arena& scratch) {
    Arena::Scope scope(scratch);
    convolve<T>({x, x.shape(), nullptr}, {weight, false}, plus, y, scratch);
}

template <class T>
void winograd_of_rows(const Shape& x, const Rows<T>& rows, Tensor<const T> weight, Plus<T> plus,
                      Tensor<T> y, Arena& scratch) {
    Arena::Scope scope(scratch);
    convolve<T>({{}, x, &rows}, {weight, false}, plus, y, scratch);
}

template <class T>
void winograd_data_vjp(Tensor<const T> dy, Tensor<const T> weight, bool accumulate, Tensor<T> dx,
                       Arena& scratch) {
    Arena::Scope scope(scratch);
    Plus<T> plus;
    if (accumulate) plus.pixels = dx.data();
    convolve<T>({dy, dy.shape(), nullptr}, {weight, true}, plus, dx, scratch);
}

template <class T>
void winograd_weight_vjp(Tensor<const T> x, Tensor<const T> dy, Tensor<T> dweight, Arena& scratch) {
    Arena::Scope scope(scratch);
    using V = typename Simd<T>::Vector;
    const Tiles tiles(x.shape());
    if (tiles.count() == 0) return;
    const int inputs = x.size(3), outputs = dy.size(3);
    const int most = tiles_at_a_time<T>(tiles.count(), kPoints * (inputs + outputs));
    const Planes<T> in(kPoints, most, inputs, scratch), out(kPoints, most, outputs, scratch);
    const Planes<T> du(kPoints, inputs, outputs, scratch);
    const T *zero_in = scratch.zeros<T>({inputs}).data(),
            *zero_out = scratch.zeros<T>({outputs}).data();
    for (int first = 0; first < tiles.count(); first += most) {
        const int count = std::min(most, tiles.count() - first);
        input_points(x, 0, {0, inputs}, tiles, {first, first + count}, zero_in, in);
        output_points_vjp(dy, tiles, first, count, zero_out, out);
        for (int k = 0; k < kPoints; ++k) {
            const Range part = Range{first, first + count}.within(tiles.at_point(k));
            const int begin = part.begin - first;
            if (part.count() == 0 && first > 0) continue;
            gemm<T>(inputs, outputs, part.count(), transposed<T>(in[k] + begin * inputs, inputs),
                    by_rows<T>(out[k] + begin * outputs, outputs), du[k], first > 0, scratch);
        }
    }
    for (int c = 0; c < inputs; ++c) {
        for_each_register<T>(outputs, [&](int o, auto load, auto store) {
            both_ways<kPatch, 3, V>(
                weight_to_points_vjp, [&](int k) { return load(du[k] + c * outputs + o); },
                [&](int k, V v) {
                    T* to = &dweight(k / 3, k % 3, c, o);
                    store(to, load(to) + v);
                });
        });
    }
}

#define DIFFUSION_INSTANTIATE(T)                                                                \
    template void winograd(Tensor<const T>, Tensor<const T>, Plus<T>, Tensor<T>, Arena&);       \
    template void winograd_of_rows(const Shape&, const Rows<T>&, Tensor<const T>, Plus<T>,      \
                                   Tensor<T>, Arena&);                                          \
    template void winograd_data_vjp(Tensor<const T>, Tensor<const T>, bool, Tensor<T>, Arena&); \
    template void winograd_weight_vjp(Tensor<const T>, Tensor<const T>, Tensor<T>, Arena&);
DIFFUSION_INSTANTIATE(float)
DIFFUSION_INSTANTIATE(double)
#undef DIFFUSION_INSTANTIATE

}  // namespace diffusion
