#include "data/cifar10.hpp"

#include "io/files.hpp"

namespace diffusion {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kPlane = 32 * 32, kRecord = 1 + 3 * kPlane;
constexpr std::size_t kFullBatch = 10000;

/// Appends one file; returns how many pictures it held.
std::size_t append_batch(const fs::path& path, Dataset& data) {
    std::error_code error;
    const auto length = fs::file_size(path, error);
    require(!error, path.string(), ": ", error.message());
    require(length > 0 && length % kRecord == 0, path.string(), ": ", length,
            " bytes, expected a multiple of 3073 (an official batch has 30730000)");
    require(length <= kFullBatch * kRecord, path.string(), ": ", length,
            " bytes, expected at most 30730000 (10000 records of 3073)");
    const std::vector<std::byte> file = read_file(path);
    const std::size_t records = file.size() / kRecord;
    const std::size_t first = data.pixels.size();
    data.pixels.resize(first + records * 3 * kPlane);
    for (std::size_t r = 0; r < records; ++r) {
        const std::byte* record = file.data() + r * kRecord;
        const int label = std::to_integer<int>(record[0]);
        require(label <= 9, path.string(), ": byte ", r * kRecord, ": label ", label, " of record ",
                r, ", expected 0 to 9");
        data.labels.push_back(static_cast<std::uint8_t>(label));
        std::uint8_t* out = data.pixels.data() + first + r * 3 * kPlane;
        for (std::size_t p = 0; p < kPlane; ++p) {  // planes in the file, channels last here
            for (std::size_t c = 0; c < 3; ++c) {
                *out++ = std::to_integer<std::uint8_t>(record[1 + c * kPlane + p]);
            }
        }
    }
    return records;
}

}  // namespace

Dataset read_cifar10(const fs::path& folder, bool train) {
    Dataset data;
    data.name = "cifar10";
    data.height = data.width = 32;
    data.channels = 3;
    std::size_t previous = kFullBatch;
    for (int batch = 1; batch <= (train ? 5 : 1); ++batch) {
        const fs::path path =
            folder / (train ? "data_batch_" + std::to_string(batch) + ".bin" : "test_batch.bin");
        if (std::error_code ignored; !fs::exists(path, ignored)) {
            require(previous < kFullBatch, path.string(), ": no such file, CIFAR-10 needs ",
                    train ? "data_batch_1.bin to data_batch_5.bin" : "test_batch.bin",
                    " (run data/download.sh cifar10)");
            break;
        }
        previous = append_batch(path, data);
    }
    data.count = static_cast<int>(data.labels.size());
    data.source = "CIFAR-10, " + std::to_string(data.count) + (train ? " training" : " test") +
                  " pictures from " + folder.string();
    return data;
}

}  // namespace diffusion
