#include "08_text_conditioning/token_ops.hpp"

#include <algorithm>

#include "02_gradients/ops.hpp"
#include "tensor/check.hpp"

namespace diffusion {

template <class T>
Var<T> concat_rows(Var<T> a, Var<T> b) {
    require(a.shape().rank == 2 && b.shape().rank == 2 && a.size(1) == b.size(1),
            "concat_rows: a is ", a.shape(), ", b is ", b.shape(), ", expected [A,C] and [B,C]");
    Tape<T>& tape = a.tape();
    const Var<T> y = tape.result({a.size(0) + b.size(0), a.size(1)}, a, b);
    std::ranges::copy(b.value(), std::ranges::copy(a.value(), y.value().data()).out);
    tape.record(y, [=] {
        T* from = y.grad().data();
        for (const Var<T>& x : {a, b}) {
            if (x.needs_grad()) x.add_to_grad({from, x.shape()});
            from += x.value().numel();
        }
    });
    return y;
}

template <class T>
Var<T> add_to_each(Var<T> x, Var<T> rows) {
    require(x.shape().rank == 3 && rows.shape() == Shape({x.size(1), x.size(2)}),
            "add_to_each: x is ", x.shape(), ", rows are ", rows.shape(),
            ", expected [N,L,C] and [L,C]");
    const int line = x.size(1) * x.size(2);
    return reshape(add_row(reshape(x, {x.size(0), line}), reshape(rows, {line})), x.shape());
}

#define DIFFUSION_INSTANTIATE(T)                 \
    template Var<T> concat_rows(Var<T>, Var<T>); \
    template Var<T> add_to_each(Var<T>, Var<T>);
DIFFUSION_INSTANTIATE(float)
DIFFUSION_INSTANTIATE(double)
#undef DIFFUSION_INSTANTIATE

}  // namespace diffusion
