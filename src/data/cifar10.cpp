#include "data/cifar10.hpp"

#include "data/cifar10_python.hpp"
#include "io/files.hpp"

namespace diffusion {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kPlane = 32 * 32, kRecord = 1 + 3 * kPlane;
constexpr std::size_t kFullBatch = 10000;

/// Appends a picture whose planes lie one after the other; here channels come last.
void append_picture(const std::uint8_t* planes, Dataset& data) {
    for (std::size_t p = 0; p < kPlane; ++p) {
        for (std::size_t c = 0; c < 3; ++c) data.pixels.push_back(planes[c * kPlane + p]);
    }
}

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
    data.pixels.reserve(data.pixels.size() + records * 3 * kPlane);
    for (std::size_t r = 0; r < records; ++r) {
        const auto* record = reinterpret_cast<const std::uint8_t*>(file.data()) + r * kRecord;
        require(record[0] <= 9, path.string(), ": byte ", r * kRecord, ": label ", int{record[0]},
                " of record ", r, ", expected 0 to 9");
        data.labels.push_back(record[0]);
        append_picture(record + 1, data);
    }
    return records;
}

std::size_t append_python_batch(const fs::path& path, Dataset& data) {
    const PythonBatch batch = read_python_batch(path);
    for (std::size_t r = 0; r < batch.labels.size(); ++r) {
        require(batch.labels[r] <= 9, path.string(), ": label ", int{batch.labels[r]},
                " of picture ", r, ", expected 0 to 9");
        data.labels.push_back(batch.labels[r]);
        append_picture(batch.planes.data() + r * 3 * kPlane, data);
    }
    return batch.labels.size();
}

}  // namespace

Dataset read_cifar10(const fs::path& folder, bool train) {
    Dataset data;
    data.name = "cifar10";
    data.height = data.width = 32;
    data.channels = 3;
    std::size_t previous = kFullBatch;
    for (int batch = 1; batch <= (train ? 5 : 1); ++batch) {
        const fs::path python =
            folder / (train ? "data_batch_" + std::to_string(batch) : "test_batch");
        const fs::path path = python.string() + ".bin";
        std::error_code ignored;
        if (!fs::exists(path, ignored) && fs::is_regular_file(python, ignored)) {
            previous = append_python_batch(python, data);
            continue;
        }
        if (!fs::exists(path, ignored)) {
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
