// Chapter 3 on a GPU: a million particles walk back from noise, each guided by the exact denoiser
// of a Gaussian mixture in the plane (3.16), by ancestral sampling (3.17). A particle is two
// numbers; all else is arithmetic: for every step and every component an exponential.
#include <vector>

#include "03_reverse_process/ancestral.hpp"
#include "03_reverse_process/mixture.hpp"
#include "03_reverse_process/posterior.hpp"
#include "03_reverse_process/prediction.hpp"
#include "03_reverse_process/shapes.hpp"
#include "cuda/normal.hpp"
#include "cuda/reduce.hpp"
#include "cuda/stage.hpp"

namespace diffusion::cuda {
namespace {

/// One component of the data, N((x, y), variance I) with the logarithm of its weight.
struct Component {
    float x, y, variance, log_weight;
};
/// What a step needs: the level, the posterior's coefficients, and the deviation of its noise.
struct ReverseStep {
    float a, s, of_x0, of_xt, sigma;
    std::uint32_t number;  ///< the stream of its noise
};

/// A component at one level: its mean there, log of weight over variance, 1 / (2 variance), and the
/// gain of (3.16).
struct Noised {
    float x, y, log_factor, half_precision, gain;
};
__device__ __forceinline__ Noised noised_component(const Component& c, float a, float s) {
    const float variance = a * a * c.variance + s * s;  // (3.19)
    return {a * c.x, a * c.y, c.log_weight - logf(variance), 0.5f / variance,
            a * c.variance / variance};
}

/// What one component adds to the guess: its share, not yet divided by the sum of all, is
/// e^(log - largest).
__device__ __forceinline__ float log_share(const Noised& n, float2 p) {
    const float dx = p.x - n.x, dy = p.y - n.y;
    return n.log_factor - (dx * dx + dy * dy) * n.half_precision;
}
/// The guess of x_0 (3.16): the mean of what each component says, by their shares. `at` gives
/// component k at this level, and its mean in the data.
template <class At>
__device__ __forceinline__ float2 guess_x0(float2 p, int components, At at) {
    float largest = -INFINITY, total = 0;
    for (int k = 0; k < components; ++k) largest = fmaxf(largest, log_share(at(k).first, p));
    float2 sum = make_float2(0, 0);
    for (int k = 0; k < components; ++k) {
        const auto [n, data] = at(k);
        const float share = expf(log_share(n, p) - largest);
        total += share;
        sum.x += share * (data.x + n.gain * (p.x - n.x));
        sum.y += share * (data.y + n.gain * (p.y - n.y));
    }
    return make_float2(sum.x / total, sum.y / total);
}

template <class A, class B>
struct Two {
    A first;
    B second;
};

__device__ __forceinline__ float2 step_back(const ReverseStep& r, float2 p, float2 x0,
                                            std::uint64_t seed, std::uint32_t sample) {
    float2 to = make_float2(r.of_x0 * x0.x + r.of_xt * p.x, r.of_x0 * x0.y + r.of_xt * p.y);
    if (r.sigma > 0) {  // (3.17)
        const float2 z = two_normals({seed, Purpose::ancestral_noise, r.number}, sample, 0);
        to.x += r.sigma * z.x;
        to.y += r.sigma * z.y;
    }
    return to;
}

// ---- Version 1, the obvious one: a launch for each step, a thread for each particle. Every thread
// works out what the level makes of every component, and the particles go to memory and back.
__global__ void step_obvious(float2* particles, int count, const Component* components, int k,
                             ReverseStep r, std::uint64_t seed) {
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= count) return;
    const float2 p = particles[i];
    const float2 x0 = guess_x0(p, k, [&](int c) {
        return Two<Noised, Component>{noised_component(components[c], r.a, r.s), components[c]};
    });
    particles[i] = step_back(r, p, x0, seed, static_cast<std::uint32_t>(i));
}

// ---- Version 2: one launch. A particle stays in registers from noise to data; what the level
// makes of the components is worked out once for a block, in shared memory, while all wait.
constexpr int kThreads = kBlockThreads, kMostComponents = 128;
__global__ void walk_back(float2* particles, int count, const Component* components, int k,
                          const ReverseStep* steps, int step_count, std::uint64_t seed) {
    __shared__ Noised noised_ones[kMostComponents];
    __shared__ Component data[kMostComponents];
    uninitialised(noised_ones, data);
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    for (int c = static_cast<int>(threadIdx.x); c < k; c += kThreads) data[c] = components[c];
    float2 p = i < count ? particles[i] : make_float2(0, 0);
    for (int step = 0; step < step_count; ++step) {
        const ReverseStep r = steps[step];
        __syncthreads();  // everybody has read the last level's
        for (int c = static_cast<int>(threadIdx.x); c < k; c += kThreads)
            noised_ones[c] = noised_component(data[c], r.a, r.s);
        __syncthreads();
        const float2 x0 = guess_x0(p, k, [&](int c) {
            return Two<const Noised&, const Component&>{noised_ones[c], data[c]};
        });
        p = step_back(r, p, x0, seed, static_cast<std::uint32_t>(i));
    }
    if (i < count) particles[i] = p;
}

/// Everything that a walk needs, on the GPU.
struct Walk {
    Buffer<Component> components;
    Buffer<ReverseStep> steps;
    std::vector<ReverseStep> host_steps;

    Walk(const GaussianMixture& mixture, std::span<const Moment> path) {
        require(mixture.dimensions == 2 && mixture.components() <= kMostComponents,
                "particles: a mixture in the plane with at most ", kMostComponents,
                " components, got ", mixture.components(), " in ", mixture.dimensions,
                " dimensions");
        std::vector<Component> of;
        for (std::size_t k = 0; k < mixture.weights.size(); ++k) {
            of.push_back({static_cast<float>(mixture.means[2 * k]),
                          static_cast<float>(mixture.means[2 * k + 1]),
                          static_cast<float>(mixture.variances[k]),
                          static_cast<float>(std::log(mixture.weights[k]))});
        }
        for (std::size_t i = 0; i + 1 < path.size(); ++i) {
            const Level l = path[i].level;
            const Posterior q = posterior(l, path[i + 1].level);
            host_steps.push_back({static_cast<float>(l.a), static_cast<float>(l.s),
                                  static_cast<float>(q.x0), static_cast<float>(q.xt),
                                  static_cast<float>(std::sqrt(q.small_variance)),
                                  static_cast<std::uint32_t>(i)});
        }
        components = Buffer<Component>::of(of);
        steps = Buffer<ReverseStep>::of(host_steps);
    }
    void obvious(float2* particles, int count, std::uint64_t seed) const {
        for (const ReverseStep& r : host_steps) {
            launch_apart(step_obvious, blocks_for(count, kThreads), kThreads, particles, count,
                         components.data(), static_cast<int>(components.size()), r, seed);
        }
    }
    void fused(float2* particles, int count, std::uint64_t seed) const {
        launch(walk_back, blocks_for(count, kThreads), kThreads, particles, count,
               components.data(), static_cast<int>(components.size()), steps.data(),
               static_cast<int>(steps.size()), seed);
    }
};

struct Start {
    std::uint64_t seed;
    float2* particles;
    __device__ void operator()(int i) const {
        particles[i] =
            two_normals({seed, Purpose::start_noise, 0}, static_cast<std::uint32_t>(i), 0);
    }
};

}  // namespace

void particles_stage(Stage& s) {
    const Schedule schedule = make_schedule("cosine", 100);
    const GaussianMixture moons = make_shape("moons");
    const std::vector<Moment> path = moments(schedule, even_times(100, 10));
    const Walk walk(moons, path);
    constexpr int kFew = 300;
    constexpr std::uint64_t kSeed = 11;
    std::vector<float> expected(2 * kFew);
    const Tensor<float> x(expected.data(), {kFew, 2});
    start_noise<float>(kSeed, x);
    ancestral_sample<float>(exact_denoiser<float>(moons), path,
                            {.noise = fresh_noise<float>(kSeed)}, x);
    const Buffer<float2> particles(kFew);
    const auto difference = [&] {
        std::vector<float> found;
        for (const float2 p : particles.download()) found.insert(found.end(), {p.x, p.y});
        return largest_difference(found, expected);
    };
    // A step may stretch a difference: between two components the guess changes fast.
    for (const bool fused : {false, true}) {
        for_each_number(kFew, Start{kSeed, particles.data()});
        if (fused) {
            walk.fused(particles.data(), kFew, kSeed);
        } else {
            walk.obvious(particles.data(), kFew, kSeed);
        }
        s.check(fused ? "300 particles, 10 steps in one launch"
                      : "300 particles, a launch for each of 10 steps",
                difference(), 1e-4);
    }

    if (!s.times()) return;
    constexpr int kMany = 1 << 20;
    const Walk long_walk(moons, moments(schedule, all_times(schedule)));
    const Buffer<float2> many(kMany);
    for_each_number(kMany, Start{kSeed, many.data()});
    // Of a component: twice 7 for its distance, 11 for its part of the guess; the exponential is
    // not counted.
    const double operations = 25.0 * moons.components() * kMany * 100;
    s.time("a million particles, 100 launches", 0, operations,
           [&] { long_walk.obvious(many.data(), kMany, kSeed); });
    s.time("a million particles, 100 steps in one", 0, operations,
           [&] { long_walk.fused(many.data(), kMany, kSeed); });
}

}  // namespace diffusion::cuda
