#include "06_ddim/editing.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "01_forward_noising/q_sample.hpp"
#include "03_reverse_process/prediction.hpp"
#include "tensor/check.hpp"
#include "tensor/random.hpp"

namespace diffusion {

template <class T>
void ddim_invert(const Denoiser<T>& denoiser, const Schedule& schedule, std::span<const int> times,
                 int rounds, std::uint64_t seed, Tensor<T> x, const Observer<T>& observer) {
    require(times.size() >= 2 && rounds >= 1, "ddim_invert: ", times.size(), " times and ", rounds,
            " rounds, expected at least 2 and 1");
    const auto n = static_cast<std::size_t>(x.numel());
    std::vector<T> guess(n), before(n);
    const Tensor<T> x0(guess.data(), x.shape());
    for (std::size_t i = times.size() - 1; i > 0; --i) {
        const int s = times[i], t = times[i - 1];
        require(s < t, "ddim_invert: times must fall, but ", t, " is followed by ", s);
        const Level from = level_at(schedule, s), to = level_at(schedule, t);
        // a = cos(phi), s = sin(phi): the step turns the pair (x, v) by the difference of the
        // angles.
        const double cosine = from.a * to.a + from.s * to.s, sine = from.a * to.s - from.s * to.a;
        if (from.s == 0) {  // clean pictures have many answers: one is drawn
            for (int m = 0; m < x.size(0); ++m) {
                Random random(seed, Purpose::editing, 0, static_cast<std::uint32_t>(m));
                for (T& xt : x[m]) {
                    xt = static_cast<T>(to.a * static_cast<double>(xt) + to.s * random.normal());
                }
            }
            if (observer) observer(t, x);
            continue;
        }
        std::copy(x.begin(), x.end(), before.begin());
        for (int round = 0; round < rounds; ++round) {
            denoiser(x, t, x0);
            for (std::size_t k = 0; k < n; ++k) {
                T& xt = x.data()[k];
                const double picture = static_cast<double>(guess[k]);
                // >>> exercise 6.5 points=3 hint="(6.16): v from the guess, then (6.16)"
                const double v =
                    v_from(to, picture, eps_from_x0(to, static_cast<double>(xt), picture));
                xt =
                    static_cast<T>((static_cast<double>(before[k]) + sine * v) / cosine);  // (6.16)
                // <<<
            }
        }
        if (observer) observer(t, x);
    }
}

template <class T>
void slerp(Tensor<const T> a, Tensor<const T> b, double share, Tensor<T> between) {
    require_same_shape("slerp", a, b, between);
    double aa = 0, bb = 0, ab = 0;
    for (std::ptrdiff_t k = 0; k < a.numel(); ++k) {
        const double p = static_cast<double>(a.data()[k]), q = static_cast<double>(b.data()[k]);
        aa += p * p;
        bb += q * q;
        ab += p * q;
    }
    require(aa > 0 && bb > 0, "slerp: an end is zero");
    const double angle = std::acos(std::clamp(ab / std::sqrt(aa * bb), -1.0, 1.0));
    // Ends in one direction have no circle between them; the straight line is then the same.
    require(angle < 3.1415926, "slerp: the ends are opposite, and many circles join them");
    const bool straight = std::sin(angle) < 1e-6;
    const double of_a = straight ? 1 - share : std::sin((1 - share) * angle) / std::sin(angle),
                 of_b = straight ? share : std::sin(share * angle) / std::sin(angle);
    for (std::ptrdiff_t k = 0; k < a.numel(); ++k) {
        between.data()[k] = static_cast<T>(of_a * static_cast<double>(a.data()[k]) +
                                           of_b * static_cast<double>(b.data()[k]));  // (6.17)
    }
}

template <class T>
void inpaint(const Denoiser<T>& denoiser, const Schedule& schedule, std::span<const int> times,
             Tensor<const T> known, Tensor<const T> keep, const InpaintOptions& options,
             Tensor<T> x, const Observer<T>& observer) {
    require_same_shape("inpaint", known, keep, x);
    require(options.repeats >= 1, "inpaint: repeats is ", options.repeats, ", expected 1 or more");
    const auto normal = [&](std::uint32_t step, int sample) {
        return Random(options.seed, Purpose::editing, step, static_cast<std::uint32_t>(sample));
    };
    std::uint32_t draws = 0;  // each has noise of its own
    for (std::size_t i = 0; i + 1 < times.size(); ++i) {
        const int t = times[i], s = times[i + 1];
        const Jump back = q_between(schedule, s, t);
        const Level at_s = level_at(schedule, s);
        const int repeats = s == 0 ? 1 : options.repeats;  // nothing is mended after the last step
        for (int r = 0; r < repeats; ++r) {
            const std::uint64_t seed = options.seed + (static_cast<std::uint64_t>(r) << 32);
            ddim_sample<T>(denoiser, schedule, times.subspan(i, 2),
                           {.eta = 1, .clip = options.clip, .seed = seed}, x);
            for (int n = 0; n < x.size(0); ++n) {
                Random random = normal(draws, n);
                const Tensor<const T> picture = known[n], mask = keep[n];
                for (std::ptrdiff_t k = 0; k < picture.numel(); ++k) {
                    const double old = at_s.a * static_cast<double>(picture.data()[k]) +
                                       at_s.s * random.normal(),
                                 m = static_cast<double>(mask.data()[k]);
                    T& xs = x[n].data()[k];
                    xs = static_cast<T>(m * old + (1 - m) * static_cast<double>(xs));  // (6.18)
                }
            }
            ++draws;
            if (r + 1 == repeats) continue;
            for (int n = 0; n < x.size(0); ++n) {
                Random random = normal(draws, n);
                for (T& v : x[n]) {
                    v = static_cast<T>(back.scale * static_cast<double>(v) +
                                       back.sigma * random.normal());  // (6.19)
                }
            }
            ++draws;
        }
        if (observer) observer(s, x);
    }
}

std::vector<int> times_from(std::span<const int> times, int T, double strength) {
    require(strength > 0 && strength <= 1, "strength is ", strength,
            ", expected more than 0 and at most 1");
    const int first = static_cast<int>(std::lround(strength * T));  // (6.20)
    std::vector<int> rest{first};
    for (const int t : times) {
        if (t < first) rest.push_back(t);
    }
    require(first > 0, "strength is ", strength, ": too little to change anything");
    return rest;
}

template <class T>
std::vector<int> start_edit(const Schedule& schedule, std::span<const int> times, double strength,
                            std::uint64_t seed, Tensor<T> x) {
    const std::vector<int> rest = times_from(times, schedule.steps(), strength);
    std::vector<T> memory(static_cast<std::size_t>(x.numel()));
    const Tensor<T> noise(memory.data(), x.shape());
    start_noise<T>(seed, noise);
    const std::vector<int> same(static_cast<std::size_t>(x.size(0)), rest.front());
    q_sample<T>(x, same, noise, schedule, x);  // (6.20)
    return rest;
}

#define DIFFUSION_INSTANTIATE(T)                                                              \
    template std::vector<int> start_edit(const Schedule&, std::span<const int>, double,       \
                                         std::uint64_t, Tensor<T>);                           \
    template void ddim_invert(const Denoiser<T>&, const Schedule&, std::span<const int>, int, \
                              std::uint64_t, Tensor<T>, const Observer<T>&);                  \
    template void slerp(Tensor<const T>, Tensor<const T>, double, Tensor<T>);                 \
    template void inpaint(const Denoiser<T>&, const Schedule&, std::span<const int>,          \
                          Tensor<const T>, Tensor<const T>, const InpaintOptions&, Tensor<T>, \
                          const Observer<T>&);
DIFFUSION_INSTANTIATE(float)
DIFFUSION_INSTANTIATE(double)
#undef DIFFUSION_INSTANTIATE

}  // namespace diffusion
