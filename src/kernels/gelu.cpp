#include "kernels/gelu.hpp"

#include <algorithm>

#include "kernels/exp.hpp"
#include "kernels/threads.hpp"

namespace diffusion {
namespace {

/// g and its derivative at z; V is a register of T.
template <class V>
struct Gate {
    V value, slope;
};
template <Gelu kind, class T, class V>
Gate<V> gate_at(V z) {
    if constexpr (kind == Gelu::erf) {
        const auto normal = normal_at(z);
        return {normal.cdf, normal.density};
    } else {
        constexpr T kRoot = T(0.7978845608028654), kCube = T(0.044715);  // sqrt(2 / pi)
        constexpr T kQuick = T(1.702);
        const V argument = kind == Gelu::tanh ? 2 * kRoot * z * (1 + kCube * z * z) : kQuick * z,
                rise = kind == Gelu::tanh ? 2 * kRoot * (1 + 3 * kCube * z * z) : V() + kQuick;
        const V g = logistic(argument);
        return {g, g * (1 - g) * rise};
    }
}

/// visit(kind as a constant)
template <class Visit>
void with_kind(Gelu kind, Visit visit) {
    if (kind == Gelu::erf) visit.template operator()<Gelu::erf>();
    if (kind == Gelu::tanh) visit.template operator()<Gelu::tanh>();
    if (kind == Gelu::quick) visit.template operator()<Gelu::quick>();
}

}  // namespace

template <class T>
void gelu_forward(Gelu kind, Tensor<const T> x, Tensor<T> y) {
    require(x.shape() == y.shape(), "gelu: x is ", x.shape(), ", y is ", y.shape());
    with_kind(kind, [&]<Gelu k>() {
        for_each_block(x.numel(), [&](std::ptrdiff_t begin, std::ptrdiff_t end) {
            const T* from = x.data() + begin;
            T* to = y.data() + begin;
            for_each_register<T>(static_cast<int>(end - begin), [&](int i, auto load, auto store) {
                const auto z = load(from + i);
                store(to + i, z * gate_at<k, T>(z).value);
            });
        });
    });
}

template <class T>
void gelu_vjp(Gelu kind, Tensor<const T> x, Tensor<const T> dy, bool add, Tensor<T> dx) {
    require(x.shape() == dy.shape() && x.shape() == dx.shape(), "gelu: x is ", x.shape(),
            ", dy is ", dy.shape(), ", dx is ", dx.shape());
    with_kind(kind, [&]<Gelu k>() {
        for_each_block(x.numel(), [&](std::ptrdiff_t begin, std::ptrdiff_t end) {
            const T *from = x.data() + begin, *g = dy.data() + begin;
            T* to = dx.data() + begin;
            for_each_register<T>(static_cast<int>(end - begin), [&](int i, auto load, auto store) {
                const auto z = load(from + i);
                const auto gate = gate_at<k, T>(z);
                const auto d = (gate.value + z * gate.slope) * load(g + i);
                store(to + i, add ? load(to + i) + d : d);
            });
        });
    });
}

template <class T>
void geglu_forward(Gelu kind, Tensor<const T> x, Tensor<T> y) {
    const int rows = x.rows().size(0), channels = y.shape().back();
    require(x.shape().back() == 2 * channels && y.rows().size(0) == rows, "geglu: x is ", x.shape(),
            ", y is ", y.shape(), ", expected [R,2C] and [R,C]");
    with_kind(kind, [&]<Gelu k>() {
        in_parts(rows, std::max(1, 4096 / channels), [&](int begin, int end) {
            for (int r = begin; r < end; ++r) {
                const T *a = x.rows()[r].data(), *zs = a + channels;
                T* to = y.rows()[r].data();
                for_each_register<T>(channels, [&](int c, auto load, auto store) {
                    const auto z = load(zs + c);
                    store(to + c, load(a + c) * z * gate_at<k, T>(z).value);
                });
            }
        });
    });
}

template <class T>
void geglu_vjp(Gelu kind, Tensor<const T> x, Tensor<const T> dy, bool add, Tensor<T> dx) {
    const int rows = x.rows().size(0), channels = dy.shape().back();
    require(
        x.shape() == dx.shape() && x.shape().back() == 2 * channels && dy.rows().size(0) == rows,
        "geglu: x is ", x.shape(), ", dy is ", dy.shape(), ", dx is ", dx.shape());
    with_kind(kind, [&]<Gelu k>() {
        in_parts(rows, std::max(1, 4096 / channels), [&](int begin, int end) {
            for (int r = begin; r < end; ++r) {
                const T *a = x.rows()[r].data(), *zs = a + channels, *g = dy.rows()[r].data();
                T *da = dx.rows()[r].data(), *dz = da + channels;
                for_each_register<T>(channels, [&](int c, auto load, auto store) {
                    const auto z = load(zs + c), d = load(g + c);
                    const auto gate = gate_at<k, T>(z);
                    const auto by_a = d * z * gate.value,
                               by_z = d * load(a + c) * (gate.value + z * gate.slope);
                    store(da + c, add ? load(da + c) + by_a : by_a);
                    store(dz + c, add ? load(dz + c) + by_z : by_z);
                });
            }
        });
    });
}

#define DIFFUSION_INSTANTIATE(T)                                                     \
    template void gelu_forward(Gelu, Tensor<const T>, Tensor<T>);                    \
    template void gelu_vjp(Gelu, Tensor<const T>, Tensor<const T>, bool, Tensor<T>); \
    template void geglu_forward(Gelu, Tensor<const T>, Tensor<T>);                   \
    template void geglu_vjp(Gelu, Tensor<const T>, Tensor<const T>, bool, Tensor<T>);
DIFFUSION_INSTANTIATE(float)
DIFFUSION_INSTANTIATE(double)
#undef DIFFUSION_INSTANTIATE

}  // namespace diffusion
