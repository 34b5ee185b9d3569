#include "04_unet/attention.hpp"

#include <cmath>

#include "kernels/attention.hpp"

namespace diffusion {
namespace {

/// Fails, naming the place, if a query sees no key.
template <class T>
void require_keys(const AttentionInput<T>& in) {
    for (int n = 0; n < in.q.size(0); ++n) {
        int first = 0;
        while (first < in.keys() && in.live(n, first) == 0) ++first;
        require(first < in.keys(), "attention: image ", n, " keeps no key");
        require(in.queries() == 0 || first < in.reach(0), "attention: image ", n,
                ", query 0 sees no key");
    }
}

}  // namespace

template <class T>
Var<T> attention(Var<T> q, Var<T> k, Var<T> v, const std::type_identity_t<Attend<T>>& how) {
    const int heads = how.heads;
    require(q.shape().rank == 3 && k.shape() == v.shape() && k.shape().rank == 3 &&
                k.size(0) == q.size(0) && k.size(2) == q.size(2) && heads > 0 &&
                q.size(2) % heads == 0,
            "attention: q is ", q.shape(), ", k is ", k.shape(), ", v is ", v.shape(), ", heads ",
            heads, ", expected [N,L,C], [N,S,C], [N,S,C] and C a multiple of the heads");
    const int images = q.size(0), queries = q.size(1), keys = k.size(1);
    require(how.keep.empty() || std::ssize(how.keep) == static_cast<std::ptrdiff_t>(images) * keys,
            "attention: keep has ", how.keep.size(), " entries, expected ", images, " x ", keys);
    const Var<T> bias = how.bias;
    require(!bias || bias.shape() == Shape{heads, queries, keys}, "attention: bias is ",
            bias ? bias.shape() : Shape{}, ", expected [", heads, ",", queries, ",", keys, "]");
    Arena& arena = q.tape().arena();
    const AttentionInput<T> in{q.value(),
                               k.value(),
                               v.value(),
                               heads,
                               how.scale == 0 ? 1 / std::sqrt(static_cast<T>(q.size(2) / heads))
                                              : static_cast<T>(how.scale),
                               live_keys<T>(how.keep, images, keys, arena),
                               how.causal,
                               bias ? bias.value() : Tensor<T>()};
    require_keys(in);
    const Tensor<T> log_sum = q.tape().aside({images, heads, queries});
    const Var<T> y = q.tape().result(q.shape(), q, k, v, bias);
    attention_forward<T>(in, y.value(), log_sum);  // (4.9)
    q.tape().record(y, [=] {
        const auto wanted = [](Var<T> x) { return x.needs_grad() ? x.grad() : Tensor<T>(); };
        attention_vjp<T>(in, y.value(), y.grad(), log_sum, wanted(q), wanted(k), wanted(v),
                         wanted(bias));  // (4.10)
    });
    return y;
}

template Var<float> attention(Var<float>, Var<float>, Var<float>, const Attend<float>&);
template Var<double> attention(Var<double>, Var<double>, Var<double>, const Attend<double>&);

}  // namespace diffusion
