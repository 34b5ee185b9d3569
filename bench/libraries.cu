// What NVIDIA's libraries make of the same work: cuBLAS the matrix product of chapter 2, cuDNN the
// convolution of chapter 4 with both its VJPs. Ours and theirs run in turn, in the same precision,
// and must agree. In BF16 cuBLAS rounds floats as ours does, while cuDNN is given numbers of two
// bytes, half of the memory. Only this benchmark needs the libraries.
#include <cublas_v2.h>
#include <cudnn.h>

#include "02_gradients/compare.hpp"
#include "02_gradients/product.hpp"
#include "04_unet/conv.hpp"
#include "cuda/index.hpp"

namespace diffusion::cuda {
namespace {

void check(cublasStatus_t status, const char* what) {
    require(status == CUBLAS_STATUS_SUCCESS, "cuBLAS: ", what, ": ", cublasGetStatusString(status));
}
void check(cudnnStatus_t status, const char* what) {
    require(status == CUDNN_STATUS_SUCCESS, "cuDNN: ", what, ": ", cudnnGetErrorString(status));
}

/// Whether cuDNN's search found an algorithm that works. Where it has none, some versions say so by
/// the search's own status, some by finding nothing, some by the status of what was found.
bool is_usable(cudnnStatus_t search, int found, cudnnStatus_t algorithm) {
    return search == CUDNN_STATUS_SUCCESS && found > 0 && algorithm == CUDNN_STATUS_SUCCESS;
}

/// Inputs rounded in two ways lead to sums that differ by about this much, in units of their root
/// mean square.
double allowed(Precision precision) {
    return precision == Precision::fp32 ? 1e-4 : precision == Precision::tf32 ? 1e-2 : 5e-2;
}
double relative_difference(const std::vector<float>& a, const std::vector<float>& b) {
    double square = 0;
    for (const float v : b) square += static_cast<double>(v) * static_cast<double>(v);
    return largest_difference(a, b) / std::sqrt(square / static_cast<double>(b.size()));
}

void compare_products(Stage& s) {
    constexpr int kSize = 4096;
    const auto square = static_cast<std::size_t>(kSize) * kSize;
    const Buffer<float> a(square), b(square), ours(square), theirs(square);
    for_each_number(static_cast<std::ptrdiff_t>(square), Mixed{a.data()});
    for_each_number(static_cast<std::ptrdiff_t>(square), Mixed{b.data()});
    cublasHandle_t handle = nullptr;
    check(cublasCreate(&handle), "starting");
    check(cublasSetStream(handle, stream()), "starting");
    const double operations = 2.0 * kSize * kSize * kSize;
    for (const Precision p : {Precision::fp32, Precision::tf32, Precision::bf16}) {
        if (p != Precision::fp32 && !has_tensor_cores()) continue;
        const std::string name = std::string(precision_name(p)) + ", product of 4096 x 4096: ";
        s.time(
            name + "ours", 0, operations,
            [&] {
                product(p, ByRows(a.data(), kSize, kSize, kSize),
                        ByColumns(b.data(), kSize, kSize, kSize), Plain{ours.data(), kSize, false},
                        kSize, kSize, kSize);
            },
            p);
        const cublasComputeType_t kind = p == Precision::fp32   ? CUBLAS_COMPUTE_32F
                                         : p == Precision::tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32
                                                                : CUBLAS_COMPUTE_32F_FAST_16BF;
        s.time(
            name + "cuBLAS", 0, operations,
            [&] {
                // Its matrices go by columns: C^T = B^T A^T.
                const float one = 1, zero = 0;
                check(cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, kSize, kSize, kSize, &one,
                                   b.data(), CUDA_R_32F, kSize, a.data(), CUDA_R_32F, kSize, &zero,
                                   theirs.data(), CUDA_R_32F, kSize, kind, CUBLAS_GEMM_DEFAULT),
                      "product");
            },
            p);
        s.check(name + "difference", relative_difference(ours.download(), theirs.download()),
                allowed(p));
    }
    check(cublasDestroy(handle), "ending");
}

/// Our weights [u,v,c,o] as cuDNN's [o,u,v,c].
struct TurnWeights {
    const float* from;
    Divisor in, taps;
    int out;
    float* to;
    __device__ void operator()(int i) const {
        const int c = i % in, tap = i / in % taps, o = i / in / taps;
        to[i] = from[(tap * in + c) * out + o];
    }
};
struct ToBf16 {
    const float* from;
    std::uint16_t* to;
    __device__ void operator()(int i) const {
        to[i] = static_cast<std::uint16_t>(to_bf16(from[i], 0));
    }
};
struct FromBf16 {
    const std::uint16_t* from;
    float* to;
    __device__ void operator()(int i) const {
        const std::uint32_t bits = static_cast<std::uint32_t>(from[i]) << 16;
        memcpy(to + i, &bits, sizeof bits);
    }
};

/// Numbers as cuDNN takes them: float, or two bytes each.
class Operand {
public:
    Operand(std::ptrdiff_t count, bool half) : count_(count), half_(half) {
        bits_ = Buffer<std::uint16_t>(half ? static_cast<std::size_t>(count) : 0);
        numbers_ = Buffer<float>(half ? 0 : static_cast<std::size_t>(count));
    }
    void set(const float* x) {
        if (half_) {
            for_each_number(count_, ToBf16{x, bits_.data()});
        } else {
            copy_bytes(numbers_.data(), x, static_cast<std::size_t>(count_) * sizeof(float));
        }
    }
    std::vector<float> get() const {
        if (!half_) return numbers_.download();
        const Buffer<float> x(static_cast<std::size_t>(count_));
        for_each_number(count_, FromBf16{bits_.data(), x.data()});
        return x.download();
    }
    void* data() const {
        return half_ ? static_cast<void*>(bits_.data()) : static_cast<void*>(numbers_.data());
    }

private:
    std::ptrdiff_t count_;
    bool half_;
    Buffer<std::uint16_t> bits_;
    Buffer<float> numbers_;
};

/// A 3 x 3 convolution of as many channels as it makes, both VJPs: (4.1), (4.2), (4.3).
void compare_convolution(Stage& s, Precision p, int images, int side, int channels) {
    const Shape image{images, side, side, channels}, window{3, 3, channels, channels};
    const auto pixels = static_cast<std::size_t>(image.numel()),
               weights = static_cast<std::size_t>(window.numel());
    const Buffer<float> x(pixels), dy(pixels), y(pixels), dx(pixels), w(weights), dw(weights),
        turned(weights);
    for_each_number(image.numel(), Mixed{x.data()});
    for_each_number(image.numel(), Mixed{dy.data()});
    for_each_number(window.numel(), Mixed{w.data()});
    const bool half = p == Precision::bf16;
    Operand their_x(image.numel(), half), their_dy(image.numel(), half),
        their_y(image.numel(), half), their_dx(image.numel(), half), their_w(window.numel(), half),
        their_dw(window.numel(), half);
    const TurnWeights turn{w.data(), channels, 9, channels, turned.data()};
    for_each_number(window.numel(), turn);
    their_x.set(x.data());
    their_dy.set(dy.data());
    their_w.set(turned.data());

    cudnnHandle_t handle = nullptr;
    cudnnTensorDescriptor_t of_image = nullptr;
    cudnnFilterDescriptor_t of_window = nullptr;
    cudnnConvolutionDescriptor_t convolution = nullptr;
    const cudnnDataType_t type = half ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
    check(cudnnCreate(&handle), "starting");
    check(cudnnSetStream(handle, stream()), "starting");
    check(cudnnCreateTensorDescriptor(&of_image), "describing");
    check(cudnnCreateFilterDescriptor(&of_window), "describing");
    check(cudnnCreateConvolutionDescriptor(&convolution), "describing");
    check(
        cudnnSetTensor4dDescriptor(of_image, CUDNN_TENSOR_NHWC, type, images, channels, side, side),
        "describing");
    check(cudnnSetFilter4dDescriptor(of_window, type, CUDNN_TENSOR_NHWC, channels, channels, 3, 3),
          "describing");
    check(cudnnSetConvolution2dDescriptor(convolution, 1, 1, 1, 1, 1, 1, CUDNN_CROSS_CORRELATION,
                                          CUDNN_DATA_FLOAT),
          "describing");
    const cudnnMathType_t kind = p == Precision::fp32 ? CUDNN_FMA_MATH : CUDNN_TENSOR_OP_MATH;
    check(cudnnSetConvolutionMathType(convolution, kind), "describing");

    const double operations = 2.0 * images * side * side * 9 * channels * channels;
    const float one = 1, zero = 0;
    Arena scratch(kGpuMemory);
    const Tensor<Float> tx{as_device(x.data()), image}, tdy{as_device(dy.data()), image},
        ty{as_device(y.data()), image}, tdx{as_device(dx.data()), image},
        tw{as_device(w.data()), window}, tdw{as_device(dw.data()), window};
    const std::string name = std::string(precision_name(p)) + ", " + std::to_string(side) + "x" +
                             std::to_string(side) + "x" + std::to_string(channels) + ": ";
    const Precision before = precision();
    precision() = p;
    int found = 0;
    const auto not_supported = [&] { std::printf("  %scuDNN has none\n", name.c_str()); };
    const auto forward = [&] {
        cudnnConvolutionFwdAlgoPerf_t best{};
        const cudnnStatus_t status = cudnnFindConvolutionForwardAlgorithm(
            handle, of_image, of_window, convolution, of_image, 1, &found, &best);
        if (!is_usable(status, found, best.status)) return not_supported();
        check(cudnnSetConvolutionMathType(convolution, best.mathType), "describing");
        const Buffer<char> room(best.memory);
        s.time(
            name + "y, ours", 0, operations, [&] { conv2d<Float>(tx, tw, 1, ty, scratch); }, p);
        s.time(
            name + "y, cuDNN", 0, operations,
            [&] {
                check(cudnnConvolutionForward(handle, &one, of_image, their_x.data(), of_window,
                                              their_w.data(), convolution, best.algo, room.data(),
                                              best.memory, &zero, of_image, their_y.data()),
                      "y");
            },
            p);
        s.check(name + "y, difference", relative_difference(y.download(), their_y.get()),
                allowed(p));
    };
    const auto data_vjp = [&] {
        cudnnConvolutionBwdDataAlgoPerf_t best{};
        check(cudnnSetConvolutionMathType(convolution, kind), "describing");
        const cudnnStatus_t status = cudnnFindConvolutionBackwardDataAlgorithm(
            handle, of_window, of_image, convolution, of_image, 1, &found, &best);
        if (!is_usable(status, found, best.status)) return not_supported();
        check(cudnnSetConvolutionMathType(convolution, best.mathType), "describing");
        const Buffer<char> room(best.memory);
        s.time(
            name + "dx, ours", 0, operations,
            [&] { conv2d_data_vjp<Float>(tdy, tw, 1, false, tdx, scratch); }, p);
        s.time(
            name + "dx, cuDNN", 0, operations,
            [&] {
                check(cudnnConvolutionBackwardData(handle, &one, of_window, their_w.data(),
                                                   of_image, their_dy.data(), convolution,
                                                   best.algo, room.data(), best.memory, &zero,
                                                   of_image, their_dx.data()),
                      "dx");
            },
            p);
        s.check(name + "dx, difference", relative_difference(dx.download(), their_dx.get()),
                allowed(p));
    };
    const auto weight_vjp = [&] {
        cudnnConvolutionBwdFilterAlgoPerf_t best{};
        check(cudnnSetConvolutionMathType(convolution, kind), "describing");
        const cudnnStatus_t status = cudnnFindConvolutionBackwardFilterAlgorithm(
            handle, of_image, of_image, convolution, of_window, 1, &found, &best);
        if (!is_usable(status, found, best.status)) return not_supported();
        check(cudnnSetConvolutionMathType(convolution, best.mathType), "describing");
        const Buffer<char> room(best.memory);
        s.time(
            name + "dw, ours", 0, operations,
            [&] { conv2d_weight_vjp<Float>(tx, tdy, 1, tdw, scratch); }, p);
        s.time(
            name + "dw, cuDNN", 0, operations,
            [&] {
                check(cudnnConvolutionBackwardFilter(handle, &one, of_image, their_x.data(),
                                                     of_image, their_dy.data(), convolution,
                                                     best.algo, room.data(), best.memory, &zero,
                                                     of_window, their_dw.data()),
                      "dw");
            },
            p);
        // Ours has been added to in every run.
        fill(tdw, Float(0));
        conv2d_weight_vjp<Float>(tx, tdy, 1, tdw, scratch);
        for_each_number(window.numel(),
                        TurnWeights{dw.data(), channels, 9, channels, turned.data()});
        s.check(name + "dw, difference", relative_difference(turned.download(), their_dw.get()),
                allowed(p));
    };
    forward();
    data_vjp();
    weight_vjp();
    precision() = before;
    check(cudnnDestroyConvolutionDescriptor(convolution), "ending");
    check(cudnnDestroyFilterDescriptor(of_window), "ending");
    check(cudnnDestroyTensorDescriptor(of_image), "ending");
    check(cudnnDestroy(handle), "ending");
}

}  // namespace

void libraries_stage(Stage& s) {
    if (!s.times()) return;
    compare_products(s);
    for (const Precision p : {Precision::fp32, Precision::tf32, Precision::bf16}) {
        if (p != Precision::fp32 && !has_tensor_cores()) continue;
        compare_convolution(s, p, 128, 32, 128);  // DDPM's network for CIFAR-10
        compare_convolution(s, p, 128, 16, 256);
        compare_convolution(s, p, 64, 28, 32);  // the reference network for MNIST
    }
}

}  // namespace diffusion::cuda
