#include "04_unet/image_ops.hpp"

#include <algorithm>

#include "04_unet/convolution.hpp"
#include "kernels/simd.hpp"

namespace diffusion {

template <class T>
Tensor<T> sum_of_rows(Var<T> bias, Var<T> shift) {
    const Tensor<T> row = shift.tape().aside(shift.shape());
    for (int n = 0; n < row.size(0); ++n) {
        for (int o = 0; o < row.size(1); ++o)
            row(n, o) = (bias ? bias.value()(o) : T(0)) + shift.value()(n, o);
    }
    return row;
}

template <class T>
void sum_of_rows_vjp(Tensor<T> dy, Var<T> bias, Var<T> shift, Arena& scratch) {
    const int images = dy.size(0), outputs = dy.size(3);
    if (shift.needs_grad()) {  // (4.12) a sum over the pixels; the bias's is one over images too
        for (int n = 0; n < images; ++n) {
            Arena::Scope image(scratch);
            const Tensor<T> sum = scratch.template zeros<T>({outputs});
            add_rows(dy[n].data(), dy[n].rows().size(0), outputs, sum.data());
            write_or_add(shift.grad()[n], T(1), sum, true);
            if (bias.needs_grad()) write_or_add(bias.grad(), T(1), sum, true);
        }
    } else if (bias.needs_grad()) {  // (2.7)
        add_rows(dy.data(), dy.rows().size(0), outputs, bias.grad().data());
    }
}

template <class T>
Var<T> slice_channels(Var<T> x, int begin, int count) {
    const Tensor<T> in = x.value().rows();
    require(begin >= 0 && count > 0 && begin + count <= in.size(1), "slice_channels: ", begin, "..",
            begin + count - 1, " of ", x.shape());
    Shape shape = x.shape();
    shape.n[static_cast<std::size_t>(shape.rank - 1)] = count;
    Var<T> y = x.tape().result(shape, x);
    const Tensor<T> out = y.value().rows();
    for (int p = 0; p < out.size(0); ++p) std::copy_n(in[p].data() + begin, count, out[p].data());
    x.tape().record(y, [=] {
        const Tensor<T> dy = y.grad().rows(), dx = x.grad().rows();
        for (int p = 0; p < dy.size(0); ++p)
            write_or_add(Tensor<T>(dx[p].data() + begin, {count}), T(1), dy[p], true);
    });
    return y;
}

#define DIFFUSION_INSTANTIATE(T)                                                 \
    template Tensor<T> sum_of_rows(Var<T>, Var<T>);                              \
    template void sum_of_rows_vjp(Tensor<T>, Var<T>, Var<T>, Arena&);            \
    template Var<T> conv2d(ConvInput<T>, Var<T>, Var<T>, ConvOptions, Added<T>); \
    template Var<T> group_norm(Var<T>, const Norm<T>&);                          \
    template Var<T> slice_channels(Var<T>, int, int);
DIFFUSION_INSTANTIATE(float)
DIFFUSION_INSTANTIATE(double)
#undef DIFFUSION_INSTANTIATE

}  // namespace diffusion
