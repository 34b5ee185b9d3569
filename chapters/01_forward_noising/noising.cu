// Chapter 1 on a GPU: a batch of pictures is noised, x_t = a x_0 + s eps (1.4), and eps is made on
// the way. Random numbers by counting are what a GPU likes best: a thread needs no state, only the
// number of what it makes.
#include "01_forward_noising/noising.hpp"
#include "01_forward_noising/q_sample.hpp"
#include "cuda/index.hpp"
#include "cuda/stage.hpp"

namespace diffusion::cuda {
namespace {

// ---- Version 1, the obvious one: a thread for each number. Philox gives bits for two of them, so
// half of its work is thrown away, and every access to memory moves four bytes.
__global__ void noise_each(const float* x0, const LevelOf<float>* levels, NoiseKey key,
                           std::uint32_t first_sample, int pixels, int size, float* eps,
                           float* xt) {
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= size) return;
    const int n = i / pixels, k = i % pixels;
    const float2 two = two_normals(key, first_sample + static_cast<std::uint32_t>(n),
                                   static_cast<std::uint32_t>(k / 2));
    const float e = k % 2 == 0 ? two.x : two.y;
    eps[i] = e;
    if (xt != nullptr) xt[i] = noised(levels[n], x0[i], e);  // (1.4)
}

// ---- Version 2: a thread makes four neighbours of one picture. Both results of every pair are
// used, the memory is read and written 16 bytes at a time, and the picture's number is found
// without a division (cuda/index.hpp).
__global__ void noise_four(const float4* x0, const LevelOf<float>* levels, NoiseKey key,
                           std::uint32_t first_sample, Divisor quads, int size, float4* eps,
                           float4* xt) {
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= size) return;
    const int n = i / quads;
    const auto quad = static_cast<std::uint32_t>(i % quads);
    const std::uint32_t sample = first_sample + static_cast<std::uint32_t>(n);
    const float2 p = two_normals(key, sample, 2 * quad), q = two_normals(key, sample, 2 * quad + 1);
    eps[i] = make_float4(p.x, p.y, q.x, q.y);
    if (xt == nullptr) return;
    const float4 x = x0[i];
    const LevelOf<float> l = levels[n];
    xt[i] = make_float4(noised(l, x.x, p.x), noised(l, x.y, p.y), noised(l, x.z, q.x),
                        noised(l, x.w, q.y));  // (1.4)
}

/// The bits themselves, for the check.
__global__ void philox_words(std::array<std::uint32_t, 2> key, std::uint32_t* words) {
    const std::uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    const auto block = philox4x32({i, 2, 3, 4}, key);
    for (std::uint32_t k = 0; k < 4; ++k) words[4 * i + k] = block[k];
}

constexpr int kThreads = 256;

void noise_obvious(const float* x0, const LevelOf<float>* levels, NoiseKey key,
                   std::uint32_t first_sample, int count, int pixels, float* eps, float* xt) {
    const int size = index_count(static_cast<std::ptrdiff_t>(count) * pixels);
    launch_apart(noise_each, blocks_for(size, kThreads), kThreads, x0, levels, key, first_sample,
                 pixels, size, eps, xt);
}

}  // namespace

void noise_batch(const float* x0, const LevelOf<float>* levels, NoiseKey key,
                 std::uint32_t first_sample, int count, int pixels, float* eps, float* xt) {
    if (pixels % 4 != 0) {  // a thread's four numbers would belong to two pictures
        noise_obvious(x0, levels, key, first_sample, count, pixels, eps, xt);
        return;
    }
    const int size = index_count(static_cast<std::ptrdiff_t>(count) * (pixels / 4));
    launch_apart(noise_four, blocks_for(size, kThreads), kThreads,
                 reinterpret_cast<const float4*>(x0), levels, key, first_sample, pixels / 4, size,
                 reinterpret_cast<float4*>(eps), reinterpret_cast<float4*>(xt));
}

void fill_normal(NoiseKey key, std::uint32_t first_sample, int count, int pixels, float* x) {
    noise_batch(nullptr, nullptr, key, first_sample, count, pixels, x, nullptr);
}

namespace {

// ---- The check against the CPU, and the time.
}  // namespace

void noising_stage(Stage& s) {
    constexpr int kBlocks = 64;
    const std::array<std::uint32_t, 2> philox_key = {0x12345678, 0x9abcdef0};
    Buffer<std::uint32_t> words(4 * kBlocks);
    launch_apart(philox_words, 2, kBlocks / 2, philox_key, words.data());
    int wrong = 0;
    const std::vector<std::uint32_t> found = words.download();
    for (std::uint32_t i = 0; i < kBlocks; ++i) {
        const auto expected = philox4x32({i, 2, 3, 4}, philox_key);
        for (std::uint32_t k = 0; k < 4; ++k) wrong += found[4 * i + k] == expected[k] ? 0 : 1;
    }
    s.check("Philox's integers: how many differ", wrong, 0);

    const Schedule schedule = cosine_schedule(1000);
    constexpr std::uint32_t kFirst = 40;
    for (const int pixels : {28 * 28, 3 * 5}) {
        const int count = pixels == 784 ? 24 : 7;
        const auto size = static_cast<std::size_t>(count) * static_cast<std::size_t>(pixels);
        const NoiseKey key{0x123456789abcdef, Purpose::noise, 17};
        std::vector<float> x0(size), eps(size), xt(size);
        std::vector<int> t;
        std::vector<LevelOf<float>> levels;
        for (int n = 0; n < count; ++n) {
            t.push_back(n * 1000 / (count - 1));
            levels.push_back({static_cast<float>(schedule.signal(t.back())),
                              static_cast<float>(schedule.noise(t.back()))});
            for (int k = 0; k < pixels; ++k)
                x0[static_cast<std::size_t>(n * pixels + k)] = std::sin(static_cast<float>(n + k));
            diffusion::fill_normal(
                Tensor<float>(eps.data() + n * pixels, {pixels}),
                Random(key.seed, key.purpose, key.step, kFirst + static_cast<std::uint32_t>(n)));
        }
        const Shape shape{count, pixels};
        q_sample<float>(Tensor<const float>(x0.data(), shape), t,
                        Tensor<const float>(eps.data(), shape), schedule,
                        Tensor<float>(xt.data(), shape));
        const Buffer<float> on_x0 = Buffer<float>::of(x0), on_eps(size), on_xt(size);
        const Buffer<LevelOf<float>> on_levels = Buffer<LevelOf<float>>::of(levels);
        const std::string name = " of " + std::to_string(pixels) + " pixels: ";
        for (const bool obvious : {true, false}) {
            (obvious ? noise_obvious : noise_batch)(on_x0.data(), on_levels.data(), key, kFirst,
                                                    count, pixels, on_eps.data(), on_xt.data());
            if (!obvious && pixels % 4 != 0) continue;  // it is version 1 then
            const std::string version = obvious ? "version 1" : "version 2";
            s.check(version + name + "normals, in units of the last place",
                    largest_difference_in_ulp(on_eps.download(), eps), 6);
            s.check(version + name + "x_t", largest_difference(on_xt.download(), xt), 3e-6);
        }
    }

    if (!s.times()) return;
    constexpr int kCount = 1 << 17, kPixels = 784;
    const std::size_t size = static_cast<std::size_t>(kCount) * kPixels;
    const NoiseKey key{1, Purpose::noise, 1};
    const Buffer<float> x0(size), eps(size), xt(size);
    const Buffer<LevelOf<float>> levels =
        Buffer<LevelOf<float>>::of(std::vector<LevelOf<float>>(kCount, {0.6f, 0.8f}));
    fill_normal(key, 0, kCount, kPixels, x0.data());
    const double bytes = 12.0 * static_cast<double>(size);  // x_0 in, eps and x_t out
    s.time("version 1: a thread for a number", bytes, 0, [&] {
        noise_obvious(x0.data(), levels.data(), key, 0, kCount, kPixels, eps.data(), xt.data());
    });
    s.time("version 2: a thread for four", bytes, 0, [&] {
        noise_batch(x0.data(), levels.data(), key, 0, kCount, kPixels, eps.data(), xt.data());
    });
}

}  // namespace diffusion::cuda
