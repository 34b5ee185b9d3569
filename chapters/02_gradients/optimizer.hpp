#pragma once
// From a gradient to better parameters. All parameters of a model lie in one flat block, so each of
// these is one loop.
#include <cmath>
#include <cstdint>
#include <span>

#include "tensor/array.hpp"

namespace diffusion {

/// What all parameters share in one step of AdamW.
template <class T>
struct AdamWStep {
    T beta1, beta2;
    T take1, take2;  ///< 1 - beta, which in float would lose half of its digits
    T eps;
    T correction1, correction2;  ///< 1 / (1 - beta^k) of (2.17)
    T keep, rate;                ///< 1 - rate * decay; the learning rate
};

/// The step for one parameter: its two averages, then itself.
template <class T>
constexpr void adamw_update(const AdamWStep<T>& s, T gradient, T& x, T& mean, T& square) {
    // >>> exercise 2.5 points=3 hint="(2.16), (2.18): both averages, then the step"
    mean = s.beta1 * mean + s.take1 * gradient;                                           // (2.16)
    square = s.beta2 * square + s.take2 * gradient * gradient;                            // (2.16)
    const T update = mean * s.correction1 / (std::sqrt(square * s.correction2) + s.eps);  // (2.17)
    x = s.keep * x - s.rate * update;                                                     // (2.18)
    // <<<
}

/// AdamW (Kingma, Ba 2014, arXiv:1412.6980; Loshchilov, Hutter 2017, arXiv:1711.05101).
/// weight_decay = 0 is plain Adam.
template <class T>
class AdamW {
public:
    struct Options {
        double learning_rate = 1e-3;
        double beta1 = 0.9;    ///< memory of the mean gradient: about 1 / (1 - beta1) steps
        double beta2 = 0.999;  ///< memory of the mean square
        double eps = 1e-8;     ///< added to the root of the mean square
        double weight_decay =
            0.0;  ///< share of every value taken away per step, times the learning rate
    };

    AdamW(std::size_t count, Options options);

    /// What step number k, counted from 1, does to each parameter.
    static AdamWStep<T> numbers(const Options& options, std::int64_t k, double learning_rate);

    /// What else a step may do in the same pass over the parameters.
    struct Also {
        double factor = 1;          ///< of the gradient: clipping (2.19)
        std::span<T> average = {};  ///< (2.20), if given
        double ema_rate = 0;
    };

    /// One step. `learning_rate` replaces the option's, for schedules. All spans have `count`
    /// elements.
    void step(std::span<T> values, std::span<const T> gradient, double learning_rate,
              const Also& also = {});
    void step(std::span<T> values, std::span<const T> gradient) {
        step(values, gradient, options_.learning_rate);
    }

    const Options& options() const { return options_; }

    // The state that a checkpoint must carry: steps done, and both moments.
    std::int64_t steps() const { return steps_; }
    void set_steps(std::int64_t steps) { steps_ = steps; }
    std::span<T> first_moment() { return mean_; }
    std::span<T> second_moment() { return square_; }

private:
    Options options_;
    std::int64_t steps_ = 0;
    Array<T> mean_, square_;
};

/// The sum of squares, in double. It is the same for any number of threads.
template <class T>
double sum_of_squares(std::span<const T> x);

/// (2.19) Scales the gradient so that its Euclidean norm is at most max_norm. Returns the norm
/// before.
template <class T>
double clip_gradient(std::span<T> gradient, double max_norm);

/// (2.21) How much of the old average survives update number k = 1, 2, ..: min(rate, (1 + k) / (10
/// + k)).
double ema_rate(std::int64_t k, double rate);

/// (2.20) average <- rate average + (1 - rate) values.
template <class T>
void ema_update(std::span<T> average, std::span<const T> values, double rate);

}  // namespace diffusion
