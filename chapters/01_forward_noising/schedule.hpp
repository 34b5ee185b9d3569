#pragma once
// Noise schedules: how much of the picture is left, and how much noise is in, after t steps.
#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace diffusion {

/// Schedule of the variance-preserving chain, t = 1..T (Ho, Jain, Abbeel 2020, arXiv:2006.11239).
/// Both arrays have T + 1 entries. Index 0 is the clean picture: beta[0] = 0, alpha_bar[0] = 1.
/// The functions take t in 0..T and fail on any other t.
struct Schedule {
    std::string name;
    std::vector<double> beta;       ///< variance that step t adds (1.1), in (0, 1] for t >= 1
    std::vector<double> alpha_bar;  ///< share of the signal's power left after t steps (1.4)

    int steps() const { return static_cast<int>(beta.size()) - 1; }  ///< T

    double signal(int t) const;  ///< a(t), the factor of x_0 in (1.4)
    double noise(int t) const;   ///< s(t), the factor of eps in (1.4)
    double sigma(
        int t) const;  ///< s(t) / a(t), the noise level once the picture is not shrunk (1.8)
    double log_snr(int t) const;  ///< lambda(t), in nats; +infinity at t = 0 (1.10)

    std::size_t at(int t) const;  ///< t as an index, checked: fails outside 0..T
};

/// The factors of picture and noise in (1.4), x_t = a x_0 + s eps. Both are 0 or more. On a
/// schedule a^2 + s^2 = 1; later chapters have levels of which that is not true.
template <class T>
struct LevelOf {
    T a = 1, s = 0;

    template <class U>
    constexpr LevelOf<U> as() const {
        return {static_cast<U>(a), static_cast<U>(s)};
    }
};
using Level = LevelOf<double>;
inline Level level_at(const Schedule& schedule, int t) {
    return {schedule.signal(t), schedule.noise(t)};
}

/// A point on the path from picture to noise, whatever schedule it is on: what samplers and losses
/// know of time.
struct Moment {
    double t = 0;  ///< in the network's own unit: here 0..T
    Level level;
};
/// The moments of some times of a schedule. Fails on times outside 0..T.
std::vector<Moment> moments(const Schedule& schedule, std::span<const int> times);

/// (1.4) for one number.
template <class T>
constexpr T noised(LevelOf<T> l, T x0, T eps) {
    return l.a * x0 + l.s * eps;
}

/// The schedule with the given variances beta_1..beta_T. Fails unless there is at least one and all
/// are in (0, 1].
Schedule schedule_from_betas(std::string name, const std::vector<double>& betas);

/// The schedule with the given alpha_bar_1..alpha_bar_T (1.17). Fails unless they fall from below 1
/// to 0 or more.
Schedule schedule_from_alpha_bars(std::string name, const std::vector<double>& alpha_bars);

/// The schedule with the given noise levels sigma_1..sigma_T of (1.8), made variance preserving
/// (1.17). Fails unless they rise from above 0. The last may be infinite: pure noise.
Schedule schedule_from_sigmas(std::string name, const std::vector<double>& sigmas);

/// The schedule rescaled so that it ends in pure noise (1.18): alpha_bar[1] stays and alpha_bar[T]
/// is 0. Lin et al. 2023, arXiv:2305.08891. Fails on a schedule of one step. A network must then
/// predict v or x_0: at t = T eps is the input itself.
Schedule zero_terminal_snr(const Schedule& schedule);

/// Whether the two ends of a beta ramp, which were chosen for T = 1000, are multiplied by 1000 / T.
/// With it the total amount of noise hardly depends on T; without it (as the diffusers library
/// does) a short chain stops early.
enum class Ends { scaled_by_1000_over_T, as_given };

/// beta rises in a straight line (1.11). Ho et al. 2020. With scaled ends T must be at least 20.
Schedule linear_schedule(int T, double first = 1e-4, double last = 0.02,
                         Ends ends = Ends::scaled_by_1000_over_T);

/// sqrt(beta) rises in a straight line (1.12). Rombach et al. 2022, arXiv:2112.10752 (Stable
/// Diffusion). With scaled ends T must be at least 12.
Schedule scaled_linear_schedule(int T, double first = 0.00085, double last = 0.012,
                                Ends ends = Ends::scaled_by_1000_over_T);

/// alpha_bar falls as a squared cosine (1.13). Nichol and Dhariwal 2021, arXiv:2102.09672.
/// No beta exceeds max_beta. In practice that clips the last one alone, which would be 1.
Schedule cosine_schedule(int T, double offset = 0.008, double max_beta = 0.999);

/// alpha_bar falls as a sigmoid, stretched to run from 1 to 0 (1.14). Jabri, Fleet, Chen 2022,
/// arXiv:2212.11972. start < end and tau > 0 shape the curve. The last beta is clipped as in
/// cosine_schedule.
Schedule sigmoid_schedule(int T, double start = -3.0, double end = 3.0, double tau = 1.0,
                          double max_beta = 0.999);

inline constexpr std::array<const char*, 4> kScheduleNames = {"linear", "scaled_linear", "cosine",
                                                              "sigmoid"};

/// One of kScheduleNames with its default shape and T steps. Fails on any other name.
Schedule make_schedule(const std::string& name, int T);

}  // namespace diffusion
