// The CUDA files of all chapters: checks them against the CPU's code, and times them on a GPU.
// Built without nvcc, for the host executor, it only checks.
#include <cstring>
#include <string_view>

#include "cuda/stage.hpp"

namespace diffusion::cuda {

// The last function of each .cu file.
void noising_stage(Stage&);
void adamw_stage(Stage&);
void muon_stage(Stage&);
void operations_stage(Stage&);
void products_stage(Stage&);
void rows_stage(Stage&);
void particles_stage(Stage&);
void unet_stage(Stage&);
void attention_stage(Stage&);
void convolution_stage(Stage&);
void norm_stage(Stage&);
void training_stage(Stage&);
void measuring_stage(Stage&);
void sampling_stage(Stage&);
void vae_stage(Stage&);
void libraries_stage(Stage&);

namespace {

struct StageOfChapter {
    std::string_view chapter, title;
    void (*run)(Stage&);
};
constexpr StageOfChapter kStages[] = {
    {"01", "noising a batch", noising_stage},
    {"02", "AdamW", adamw_stage},
    {"02", "Muon", muon_stage},
    {"02", "operations on the tape", operations_stage},
    {"02", "products", products_stage},
    {"02", "rows", rows_stage},
    {"03", "a million particles", particles_stage},
    {"04", "attention", attention_stage},
    {"04", "convolution", convolution_stage},
    {"04", "group norm", norm_stage},
    {"04", "the UNet", unet_stage},
    {"04", "training", training_stage},
    {"05", "features and neighbours", measuring_stage},
    {"06", "the whole way", sampling_stage},
    {"07", "an autoencoder", vae_stage},
#ifdef DIFFUSION_LIBRARIES
    {"libraries", "cuBLAS and cuDNN beside ours", libraries_stage},
#endif
};

constexpr int kChains = 8;  // multiplications that do not wait for each other

/// The same on tensor cores, from registers alone.
template <Precision precision>
__global__ void multiply_matrices(int rounds, std::uint32_t bits, float* out) {
    const std::uint32_t a[4] = {bits, bits, bits, bits}, b[2] = {bits, bits};
    float sum[kChains][4] = {};
    for (int r = 0; r < rounds; ++r) {
#pragma unroll
        for (int c = 0; c < kChains; ++c) {
            if constexpr (precision == Precision::tf32) {
                multiply_tf32(sum[c], a, b);
            } else {
                multiply_bf16(sum[c], a, b);
            }
        }
    }
    float total = 0;
    for (int c = 0; c < kChains; ++c) total += sum[c][0] + sum[c][1] + sum[c][2] + sum[c][3];
    out[blockIdx.x * blockDim.x + threadIdx.x] = total;
}

__global__ void multiply_and_add(int rounds, float x, float* out) {
    float sum[kChains];
    for (int c = 0; c < kChains; ++c) sum[c] = static_cast<float>(threadIdx.x + c);
    for (int r = 0; r < rounds; ++r) {
        for (int c = 0; c < kChains; ++c) sum[c] = sum[c] * x + x;
    }
    float total = 0;
    for (int c = 0; c < kChains; ++c) total += sum[c];
    out[blockIdx.x * blockDim.x + threadIdx.x] = total;  // or the compiler would drop the loop
}

int run(int argc, char** argv) {
    bool times = kOnGpu;
    std::vector<std::string> wanted;
    for (int i = 1; i < argc; ++i) {
        if (std::strcmp(argv[i], "--help") == 0 || std::strcmp(argv[i], "-h") == 0) {
            std::printf(
                "usage: cuda [--check] [PART..]\n"
                "  PART     only these: a chapter, 01, 02, .., or a title, such as training\n"
                "  --check  compare with the CPU's code, time nothing\n");
            return 0;
        }
        if (std::strcmp(argv[i], "--check") == 0) {
            times = false;
        } else {
            wanted.emplace_back(argv[i]);
        }
    }
    const auto names = [](const std::string& part, const StageOfChapter& s) {
        return part == s.chapter || part == s.title;
    };
    for (const std::string& part : wanted) {
        require(std::ranges::any_of(kStages, [&](const auto& s) { return names(part, s); }), "'",
                part, "' is no part of the CUDA files: give a chapter or a title");
    }
    std::printf("%s\n", device_name().c_str());
    Peaks peaks{};
    if (times) {
        peaks = measure_peaks();
        std::printf("measured now: copies %.0f GB/s (read plus written)", 1e-9 * peaks.copy);
        for (const Precision p : {Precision::fp32, Precision::tf32, Precision::bf16}) {
            if (p == Precision::fp32 || has_tensor_cores()) {
                std::printf(", %s %.1f TFLOP/s", precision_name(p),
                            1e-12 * peaks.multiply[static_cast<int>(p)]);
            }
        }
        std::printf("\n");
    }
    Stage stage(times ? &peaks : nullptr);
    for (const StageOfChapter& s : kStages) {
        if (!wanted.empty() &&
            std::ranges::none_of(wanted, [&](const std::string& part) { return names(part, s); }))
            continue;
        std::printf("\n%s, %s\n", std::string(s.chapter).c_str(), std::string(s.title).c_str());
        try {
            s.run(stage);
            synchronize();
        } catch (const Error& error) {  // the others may still tell something
            stage.failed(error.what());
        }
    }
    if (stage.all_good()) return 0;
    std::fprintf(stderr, "cuda: a kernel disagrees with the CPU's code\n");
    return 1;
}

}  // namespace

Peaks measure_peaks() {
    constexpr std::size_t kBytes = std::size_t{1} << 28;  // several times what caches hold
    constexpr int kThreads = 256, kBlocks = 132 * 16, kRounds = 4096;
    const Buffer<char> from(kBytes), to(kBytes);
    const Buffer<float> out(std::size_t{kBlocks} * kThreads);
    Timer timer;
    Peaks peaks{};
    for (int run = 0; run < 10; ++run) {
        timer.start();
        copy_bytes(to.data(), from.data(), kBytes);
        peaks.copy = std::max(peaks.copy, 2.0 * kBytes / timer.seconds());
        timer.start();
        launch(multiply_and_add, kBlocks, kThreads, kRounds, 0.999f, out.data());
        const double chains = double{kChains} * kRounds * kBlocks * kThreads;
        const auto note = [&](Precision p, double operations) {
            double& peak = peaks.multiply[static_cast<int>(p)];
            peak = std::max(peak, operations / timer.seconds());
        };
        note(Precision::fp32, 2 * chains);
        if (!has_tensor_cores()) continue;
        timer.start();
        launch(multiply_matrices<Precision::tf32>, kBlocks, kThreads, kRounds, 0x3a800000u,
               out.data());  // 2^-10, and for BF16 a pair of numbers
        note(Precision::tf32, 2 * chains / 32 * (16 * 8 * 8));
        timer.start();
        launch(multiply_matrices<Precision::bf16>, kBlocks, kThreads, kRounds, 0x3a803a80u,
               out.data());
        note(Precision::bf16, 2 * chains / 32 * (16 * 8 * 16));
    }
    return peaks;
}

}  // namespace diffusion::cuda

int main(int argc, char** argv) try {
    return diffusion::cuda::run(argc, argv);
} catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
