#pragma once
// What a .cu file needs of the machine: memory on the device, copies, time, and one way to start a
// kernel. nvcc compiles it for a GPU. Every other compiler takes the same file for the host
// executor (host_executor.hpp), where the "device" is this process and a block's threads take
// turns, so that kernels are tested where there is no GPU. Only .cu files include this header.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "tensor/arena.hpp"
#include "tensor/check.hpp"

#if defined(__CUDACC__)
#include <cuda_runtime.h>
#elif defined(DIFFUSION_HOST_EXECUTOR)
#include "cuda/host_executor.hpp"
#else
#error "cuda/device.hpp is for .cu files: compile them with nvcc, or for the host executor"
#endif

namespace diffusion::cuda {

/// How many kernels have been started, to be looked at before and after.
inline std::int64_t& launch_count() {
    static std::int64_t count = 0;
    return count;
}

#if defined(__CUDACC__)
inline constexpr bool kOnGpu = true;

/// Fails with the CUDA library's own words unless a call succeeded. `what` says what was being
/// done.
inline void check(cudaError_t error, const std::string& what) {
    if (error == cudaSuccess) return;
    static_cast<void>(cudaGetLastError());  // an error that is told is not told again
    fail("cuda: ", what, ": ", cudaGetErrorString(error));
}

/// Does nothing; it tells whether this program has code for the GPU.
template <class>
__global__ void any_kernel() {}

/// The stream on which everything here runs, in order. The first call looks for a GPU and fails, in
/// one line, if there is none that this program can use.
inline cudaStream_t stream() {
    static const cudaStream_t only = [] {
        int devices = 0, driver = 0;
        check(cudaDriverGetVersion(&driver), "looking for a driver");
        require(driver > 0, "cuda: this machine has no NVIDIA driver");
        const auto text = [](int version) {
            return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
        };
        require(driver / 1000 >= CUDART_VERSION / 1000, "cuda: the NVIDIA driver is made for CUDA ",
                text(driver), ", this program for ", text(CUDART_VERSION),
                ": install a newer driver, or build with an older nvcc");
        check(cudaGetDeviceCount(&devices), "looking for a GPU");
        require(devices > 0, "cuda: there is no GPU");
        cudaFuncAttributes attributes{};
        if (cudaFuncGetAttributes(&attributes, any_kernel<void>) != cudaSuccess) {
            static_cast<void>(cudaGetLastError());
            cudaDeviceProp gpu{};
            check(cudaGetDeviceProperties(&gpu, 0), "asking for the GPU's name");
            fail("cuda: this program has no code for ", gpu.name, ", sm_", gpu.major, gpu.minor,
                 ": build it there, or with -DCMAKE_CUDA_ARCHITECTURES=", gpu.major, gpu.minor);
        }
        cudaStream_t made = nullptr;
        check(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking), "opening a stream");
        return made;
    }();
    return only;
}

inline std::string device_name() {
    cudaDeviceProp properties{};
    static_cast<void>(stream());
    check(cudaGetDeviceProperties(&properties, 0), "asking for the GPU's name");
    return std::string(properties.name) + ", sm_" + std::to_string(properties.major) +
           std::to_string(properties.minor);
}

/// Waits until everything that was started has ended. An error inside a kernel shows up here.
inline void synchronize(const std::string& what = "running kernels") {
    check(cudaStreamSynchronize(stream()), what);
}

inline std::size_t mebibytes(std::size_t bytes) {
    return (bytes + 1048575) / 1048576;
}
inline void* allocate_bytes(std::size_t bytes) {
    void* memory = nullptr;
    static_cast<void>(stream());
    const cudaError_t error = cudaMalloc(&memory, bytes);
    if (error == cudaErrorMemoryAllocation) {
        std::size_t left = 0, all = 0;
        static_cast<void>(cudaGetLastError());
        static_cast<void>(cudaMemGetInfo(&left, &all));
        fail("cuda: ", mebibytes(bytes), " MiB are needed on the GPU, of whose ", mebibytes(all),
             " MiB ", mebibytes(left), " are free: take a smaller batch or model");
    }
    check(error, "allocating memory on the GPU");
    return memory;
}
inline void free_bytes(void* memory) {
    static_cast<void>(cudaFree(memory));
}
/// One of the numbers that describe the GPU.
inline int attribute(cudaDeviceAttr which) {
    int value = 0;
    static_cast<void>(stream());
    check(cudaDeviceGetAttribute(&value, which, 0), "asking the GPU");
    return value;
}
/// Whether the GPU multiplies TF32 and BF16 (Ampere and later).
inline bool has_tensor_cores() {
    static const bool yes = attribute(cudaDevAttrComputeCapabilityMajor) >= 8;
    return yes;
}
/// How many blocks keep the GPU busy: a few for each of its multiprocessors.
inline int blocks_wanted() {
    static const int blocks = 2 * attribute(cudaDevAttrMultiProcessorCount);
    return blocks;
}
inline void copy_bytes(void* to, const void* from, std::size_t bytes) {
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream()), "copying");
}

/// Starts kernel(arguments...) with `grid` blocks of `block` threads. Returns at once; blocks may
/// run in any order. An empty grid starts nothing.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, Arguments... arguments) {
    if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
    ++launch_count();
    kernel<<<grid, block, 0, stream()>>>(static_cast<Parameters>(arguments)...);
    check(cudaGetLastError(), "starting a kernel");
}

/// The same for a kernel without barriers and shuffles: no difference here, but the host executor
/// is faster then.
template <class... Parameters, class... Arguments>
void launch_apart(void (*kernel)(Parameters...), dim3 grid, dim3 block, Arguments... arguments) {
    launch(kernel, grid, block, arguments...);
}

/// Launches that were recorded once and are started again as a whole: the GPU then need not wait
/// for the host to start each. What is recorded keeps its arguments, and must neither wait nor
/// allocate.
class Graph {
public:
    Graph() = default;
    Graph(const Graph&) = delete;
    Graph& operator=(const Graph&) = delete;
    ~Graph() { clear(); }

    template <class F>
    void record(F f) {
        cudaGraph_t graph = nullptr;
        clear();
        check(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeThreadLocal), "recording");
        f();  // if it fails the program ends
        check(cudaStreamEndCapture(stream(), &graph), "recording");
        check(cudaGraphInstantiate(&ready_, graph, 0), "preparing a recording");
        static_cast<void>(cudaGraphDestroy(graph));
    }
    void replay() const { check(cudaGraphLaunch(ready_, stream()), "starting a recording"); }

private:
    void clear() {
        if (ready_ != nullptr) static_cast<void>(cudaGraphExecDestroy(ready_));
        ready_ = nullptr;
    }
    cudaGraphExec_t ready_ = nullptr;
};

/// Time on the device between start() and seconds().
class Timer {
public:
    Timer() {
        check(cudaEventCreate(&start_), "making an event");
        check(cudaEventCreate(&end_), "making an event");
    }
    ~Timer() {
        static_cast<void>(cudaEventDestroy(start_));
        static_cast<void>(cudaEventDestroy(end_));
    }
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;

    void start() { check(cudaEventRecord(start_, stream()), "recording an event"); }
    double seconds() {
        float milliseconds = 0;
        check(cudaEventRecord(end_, stream()), "recording an event");
        check(cudaEventSynchronize(end_), "running kernels");
        check(cudaEventElapsedTime(&milliseconds, start_, end_), "reading an event");
        return 1e-3 * static_cast<double>(milliseconds);
    }

private:
    cudaEvent_t start_ = nullptr, end_ = nullptr;
};
#else
inline constexpr bool kOnGpu = false;

inline std::string device_name() {
    return "host executor";
}
inline bool has_tensor_cores() {
    return true;
}
inline int blocks_wanted() {
    return 4;
}
/// The list to which launches and copies go while a Graph records; nullptr: they are made at once.
inline std::vector<std::function<void()>>*& recording() {
    static thread_local std::vector<std::function<void()>>* list = nullptr;
    return list;
}
inline void enqueue_or_record(std::function<void()> action) {
    if (recording() != nullptr) {
        recording()->push_back(std::move(action));
    } else {
        host_executor::enqueue(std::move(action));
    }
}
inline void synchronize(const std::string& what = "running kernels") {
    require(recording() == nullptr, "host executor: ", what, ": what is recorded must not wait");
    host_executor::synchronize();
}
inline void* allocate_bytes(std::size_t bytes) {
    require(recording() == nullptr, "host executor: what is recorded must not allocate");
    return host_executor::allocate(bytes);
}
inline void free_bytes(void* memory) {
    host_executor::free(memory);
}
inline void copy_bytes(void* to, const void* from, std::size_t bytes) {
    if (bytes > 0) enqueue_or_record([=] { std::memcpy(to, from, bytes); });
}
/// How much room a kernel's parameters take, one after the other.
template <class... Parameters>
constexpr std::size_t bytes_of_parameters() {
    std::size_t bytes = 0;
    ((bytes = (bytes + alignof(Parameters) - 1) / alignof(Parameters) * alignof(Parameters) +
              sizeof(Parameters)),
     ...);
    return bytes;
}
template <class Run, class... Parameters, class... Arguments>
void launch_by(Run run, void (*kernel)(Parameters...), dim3 grid, dim3 block,
               Arguments... arguments) {
    if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
    host_executor::check_launch(grid, block, bytes_of_parameters<Parameters...>());
    ++launch_count();
    enqueue_or_record(
        [=] { run(grid, block, [=] { kernel(static_cast<Parameters>(arguments)...); }); });
}
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, Arguments... arguments) {
    launch_by(host_executor::run, kernel, grid, block, arguments...);
}
template <class... Parameters, class... Arguments>
void launch_apart(void (*kernel)(Parameters...), dim3 grid, dim3 block, Arguments... arguments) {
    launch_by(host_executor::run_apart, kernel, grid, block, arguments...);
}
class Graph {
public:
    template <class F>
    void record(F f) {
        actions_.clear();
        const struct Mark {
            explicit Mark(std::vector<std::function<void()>>* list) { recording() = list; }
            ~Mark() { recording() = nullptr; }
        } mark(&actions_);
        f();
    }
    void replay() const {
        for (const auto& action : actions_) host_executor::enqueue(action);
    }

private:
    std::vector<std::function<void()>> actions_;
};
class Timer {
public:
    void start() {
        synchronize();
        start_ = std::chrono::steady_clock::now();
    }
    double seconds() const {
        synchronize();
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    }

private:
    std::chrono::steady_clock::time_point start_;
};
#endif

/// To be called for shared memory where it is declared: it begins as anything at all. On the host
/// executor that is NaN, so that what is read before it is written shows.
template <class... Shared>
__device__ __forceinline__ void uninitialised(Shared&... shared) {
#ifdef DIFFUSION_HOST_EXECUTOR
    (host_executor::begin_shared(&shared, sizeof shared), ...);
#else
    (static_cast<void>(shared), ...);
#endif
}

/// Numbers on the device.
template <class T>
class Buffer {
public:
    Buffer() = default;
    explicit Buffer(std::size_t size) : size_(size) {
        if (size > 0) memory_ = static_cast<T*>(allocate_bytes(size * sizeof(T)));
    }
    template <class Range>
    static Buffer of(const Range& numbers) {
        Buffer made(std::size(numbers));
        made.upload(std::data(numbers));
        return made;
    }
    ~Buffer() {
        if (memory_ != nullptr) free_bytes(memory_);
    }
    Buffer(Buffer&& other) noexcept { swap(other); }
    Buffer& operator=(Buffer&& other) noexcept {
        swap(other);
        return *this;
    }

    T* data() const { return memory_; }
    std::size_t size() const { return size_; }

    /// All of it from, or to, memory of the host; returns when that may be changed again.
    void upload(const T* from) {
        copy_bytes(memory_, from, size_ * sizeof(T));
        synchronize("copying to the GPU");
    }
    void download(T* to) const {
        copy_bytes(to, memory_, size_ * sizeof(T));
        synchronize("copying from the GPU");
    }
    std::vector<T> download() const {
        std::vector<T> numbers(size_);
        download(numbers.data());
        return numbers;
    }

private:
    void swap(Buffer& other) {
        std::swap(memory_, other.memory_);
        std::swap(size_, other.size_);
    }
    T* memory_ = nullptr;
    std::size_t size_ = 0;
};

/// Threads of a block where nothing asks for another number; few, but two warps, on the host
/// executor, where each has a stack and, under a sanitizer, is a thread of the machine.
inline constexpr int kBlockThreads = kOnGpu ? 256 : 64;

/// Blocks of `threads` that cover n items.
inline unsigned blocks_for(std::ptrdiff_t n, int threads) {
    return static_cast<unsigned>((n + threads - 1) / threads);
}

}  // namespace diffusion::cuda
