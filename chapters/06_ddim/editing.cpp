#include "06_ddim/editing.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "03_reverse_process/posterior.hpp"
#include "tensor/array.hpp"
#include "tensor/check.hpp"
#include "tensor/flat.hpp"

namespace diffusion {

template <class T>
void ddim_invert(const Denoiser<T>& denoiser, std::span<const Moment> path,
                 const InvertOptions<T>& options, Tensor<T> x) {
    check_path("ddim_invert", path);
    require(options.rounds >= 1, "ddim_invert: ", options.rounds, " rounds, expected at least 1");
    Array<T> guess(x.shape()), noise(x.shape()), velocity(x.shape()), start(x.shape());
    const Tensor<T> x0 = guess.tensor(), eps = noise.tensor(), v = velocity.tensor(),
                    before = start.tensor();
    for (std::size_t i = path.size() - 1; i > 0; --i) {
        const Level from = path[i].level, to = path[i - 1].level;
        // Seen from 0, a level lies in the direction phi, a = r cos(phi), s = r sin(phi): in units
        // of r the step turns the pair (x, v) by the difference of the angles.
        const double r = std::hypot(from.a, from.s), R = std::hypot(to.a, to.s);
        const T cosine = static_cast<T>((from.a * to.a + from.s * to.s) / (r * R)),
                sine = static_cast<T>((from.a * to.s - from.s * to.a) / (r * R));
        const T a = static_cast<T>(to.a), s = static_cast<T>(to.s), unit = static_cast<T>(1 / R),
                grow = static_cast<T>(R / r);
        if (from.s == 0) {  // clean pictures have many answers: one is drawn
            options.noise(0, eps);
            flat(x) = static_cast<T>(to.a / from.a) * flat(x) + s * flat(eps);
            if (options.observer) options.observer(path[i - 1], x);
            continue;
        }
        flat(before) = grow * flat(x);
        for (int round = 0; round < options.rounds; ++round) {
            denoiser(x, path[i - 1], x0);
            // >>> exercise 6.5 points=3 hint="(6.16): the noise that the guess implies; v by (3.12), with a and s divided by R; then the next guess of x_t, in which v counts R times"
            flat(eps) = (flat(x) - a * flat(x0)) / s;
            flat(v) = a * unit * flat(eps) - s * unit * flat(x0);       // (3.12)
            flat(x) = (flat(before) + sine * flat(v) / unit) / cosine;  // (6.16)
            // <<<
        }
        if (options.observer) options.observer(path[i - 1], x);
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
    flat(between) = static_cast<T>(of_a) * flat(a) + static_cast<T>(of_b) * flat(b);  // (6.17)
}

template <class T>
void inpaint(const Denoiser<T>& denoiser, std::span<const Moment> path, Tensor<const T> known,
             Tensor<const T> keep, const InpaintOptions<T>& options, Tensor<T> x) {
    check_path("inpaint", path);
    require_same_shape("inpaint", known, keep, x);
    require(options.repeats >= 1, "inpaint: repeats is ", options.repeats, ", expected 1 or more");
    require(path.back().level.s == 0, "inpaint: the path ends at t = ", path.back().t,
            " with noise, expected a grid that ends at 0");
    Array<T> noise(x.shape());
    const Tensor<T> z = noise.tensor();
    int draws = 0;  // each has noise of its own
    const Noise<T> step_noise = [&](int, Tensor<T> fresh) { options.noise(draws++, fresh); };
    for (std::size_t i = 0; i + 1 < path.size(); ++i) {
        const Level from = path[i].level, to = path[i + 1].level;
        const T a = static_cast<T>(to.a), s = static_cast<T>(to.s);
        const T scale = static_cast<T>(from.a / to.a),
                sigma = static_cast<T>(std::sqrt(posterior(from, to).large_variance));  // (1.9)
        const int repeats = to.s == 0 ? 1 : options.repeats;  // nothing is mended at the end
        for (int r = 0; r < repeats; ++r) {
            ddim_sample<T>(denoiser, path.subspan(i, 2),
                           {.clip = options.clip, .eta = 1, .noise = step_noise}, x);
            options.noise(draws++, z);
            flat(x) = flat(keep) * (a * flat(known) + s * flat(z)) +
                      (1 - flat(keep)) * flat(x);  // (6.18)
            if (r + 1 == repeats) continue;
            options.noise(draws++, z);
            flat(x) = scale * flat(x) + sigma * flat(z);  // (6.19)
        }
        if (options.observer) options.observer(path[i + 1], x);
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
void start_edit(const Moment& at, const Noise<T>& noise, Tensor<T> x) {
    Array<T> fresh(x.shape());
    noise(0, fresh.tensor());
    const LevelOf<T> level = at.level.as<T>();
    flat(x) = level.a * flat(x) + level.s * flat(fresh.tensor());  // (6.20)
}

#define DIFFUSION_INSTANTIATE(T)                                                        \
    template void start_edit(const Moment&, const Noise<T>&, Tensor<T>);                \
    template void ddim_invert(const Denoiser<T>&, std::span<const Moment>,              \
                              const InvertOptions<T>&, Tensor<T>);                      \
    template void slerp(Tensor<const T>, Tensor<const T>, double, Tensor<T>);           \
    template void inpaint(const Denoiser<T>&, std::span<const Moment>, Tensor<const T>, \
                          Tensor<const T>, const InpaintOptions<T>&, Tensor<T>);
DIFFUSION_INSTANTIATE(float)
DIFFUSION_INSTANTIATE(double)
#undef DIFFUSION_INSTANTIATE

}  // namespace diffusion
