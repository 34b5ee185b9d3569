// Opening a large model against copying its bytes, and the memory that it takes.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <memory>

#include "02_gradients/parameters.hpp"
#include "bench.hpp"
#include "io/csv.hpp"
#include "tensor/random.hpp"

namespace diffusion {
namespace {

/// The weights of a model, as it registers them and as its file has them.
struct LargeModel {
    ParameterList list;
    std::vector<ArrayView> file;
};

/// The layers of Stable Diffusion's UNet at its widest, as often as fit into 1 GiB. They all show
/// the same numbers.
LargeModel large_model(std::span<const float> numbers) {
    LargeModel model;
    const auto add = [&](const std::string& name, Shape shape, Layout layout,
                         std::vector<int> stored) {
        model.list.add(name, shape, layout, Init::constant(0));
        model.file.push_back(
            {name, std::move(stored), numbers.first(static_cast<std::size_t>(shape.numel()))});
    };
    for (int i = 0; model.list.count() < (1 << 28) - 30'000'000; ++i) {
        const std::string name = "blocks." + std::to_string(i);
        add(name + ".conv.weight", {3, 3, 1280, 1280}, Layout::conv, {1280, 1280, 3, 3});
        add(name + ".conv.bias", {1280}, Layout::plain, {1280});
        add(name + ".proj.weight", {1, 1, 1280, 1280}, Layout::conv, {1280, 1280, 1, 1});
        add(name + ".to_q.weight", {1280, 1280}, Layout::linear, {1280, 1280});
        add(name + ".up.weight", {1280, 5120}, Layout::linear, {5120, 1280});
        add(name + ".down.weight", {5120, 1280}, Layout::linear, {1280, 5120});
    }
    return model;
}

double megabytes(std::ptrdiff_t numbers) {
    return static_cast<double>(numbers) * sizeof(float) / (1 << 20);
}

/// Seconds to map the file and copy it with that many threads to memory of its size, or to new
/// memory, which the copy is then the first to touch.
double seconds_to_copy(const std::filesystem::path& path, int threads, std::byte* to) {
    const auto start = Clock::now();
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    const auto size = static_cast<std::size_t>(std::filesystem::file_size(path));
    void* const mapping = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0);
    require(file >= 0 && mapping != MAP_FAILED, path.string(), ": cannot be mapped");
    std::unique_ptr<std::byte[]> own(to == nullptr ? new std::byte[size] : nullptr);
    std::byte* const target = to == nullptr ? own.get() : to;
    parallel_for(threads, threads, [&](int thread) {
        const std::size_t part = size / static_cast<std::size_t>(threads),
                          begin = part * static_cast<std::size_t>(thread),
                          end = thread + 1 == threads ? size : begin + part;
        std::memcpy(target + begin, static_cast<const std::byte*>(mapping) + begin, end - begin);
    });
    const double seconds = seconds_since(start);
    ::munmap(mapping, size);
    ::close(file);
    return seconds;
}

double seconds_to_open(const ParameterList& list, const std::filesystem::path& path,
                       FileReader::Access access) {
    const auto start = Clock::now();
    const SafetensorsFile file(path, access);
    const Array<float> values = list.from_file<float>(file);
    return seconds_since(start);
}

}  // namespace

void bench_open(int threads, const std::filesystem::path& folder) {
    constexpr int kRounds = 9;
    using Access = FileReader::Access;
    const std::filesystem::path path = folder / "large.safetensors";
    ParameterList list;
    {
        std::vector<float> numbers(9 * 1280 * 1280);
        fill_normal(Tensor<float>(numbers.data(), {static_cast<int>(numbers.size())}),
                    Random(1, Purpose::test));
        LargeModel model = large_model(numbers);
        write_safetensors(path, model.file, {});
        list = std::move(model.list);
    }
    const double size = megabytes(list.count());
    seconds_to_open(list, path, Access::mapped);
    const double peak = peak_memory();
    const auto bytes = static_cast<std::size_t>(std::filesystem::file_size(path));
    std::vector<std::byte> touched(bytes);
    std::vector<double> open, plain, copy, copy_again;
    for (int round = 0; round < kRounds; ++round) {
        open.push_back(seconds_to_open(list, path, Access::mapped));
        copy.push_back(seconds_to_copy(path, threads, nullptr));
        plain.push_back(seconds_to_open(list, path, Access::plain));
        copy_again.push_back(seconds_to_copy(path, threads, touched.data()));
    }
    std::filesystem::remove(path);
    Table table(folder / "open.csv", "what,seconds,times_a_copy");
    std::printf("a model of %.0f MiB, %d threads, median of %d\n", size, threads, kRounds);
    const auto line = [&](const char* what, const std::vector<double>& seconds) {
        const double s = median(seconds), times = s / median(copy);
        std::printf("%-44s%10.3f s, %.2f times a copy\n", what, s, times);
        table.row({what, shortest(s), shortest(times)});
    };
    line("a copy from a mapping to new memory", copy);
    line("the same to memory in use", copy_again);
    line("opening it, mapped", open);
    line("opening it, read", plain);
    std::printf("%-44s%10.0f MiB, %.0f more than the model\n\n", "memory, at most", peak,
                peak - size);
}

}  // namespace diffusion
