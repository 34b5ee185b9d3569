#pragma once
// Our modules against numbers that other libraries gave for the same folders and inputs:
// tests/data/peers/CLASS/SETTING, which scripts/peers.sh --write renews.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "io/safetensors.hpp"
#include "support/process.hpp"
#include "support/temporary_folder.hpp"

namespace diffusion {

/// The folders of a class's settings.
inline std::vector<std::filesystem::path> peer_settings(const std::string& class_name) {
    const std::filesystem::path all =
        std::filesystem::path(DIFFUSION_SOURCE_DIR) / "tests" / "data" / "peers" / class_name;
    std::vector<std::filesystem::path> folders;
    for (const auto& entry : std::filesystem::directory_iterator(all))
        if (entry.is_directory()) folders.push_back(entry.path());
    std::ranges::sort(folders);
    return folders;
}

/// Whether `module` is there to be asked: a student's tree may lack it.
inline bool has_module() {
    return std::filesystem::exists(std::filesystem::path(DIFFUSION_BIN_DIR) / "module");
}

/// What `module` makes of a folder's inputs against its out.safetensors: the largest difference /
/// the largest value, of the output where that is largest. Fails if the outputs are not the same
/// ones.
inline double difference_from_peer(const std::filesystem::path& folder) {
    const TemporaryFolder scratch;
    const std::filesystem::path out = scratch / "out.safetensors";
    const ProcessResult run =
        run_program({"module", "--model", folder.string(), "--inputs",
                     (folder / "in.safetensors").string(), "--out", out.string()});
    require(run.exit_code == 0, "module: ", run.err);
    const SafetensorsFile mine(out), theirs(folder / "out.safetensors");
    require(mine.tensors().size() == theirs.tensors().size(), folder.string(), ": ",
            mine.tensors().size(), " outputs, expected ", theirs.tensors().size());
    double worst = 0;
    for (const StoredTensor& tensor : theirs.tensors()) {
        const StoredTensor* same = mine.find(tensor.name);
        require(same != nullptr && same->shape == tensor.shape, theirs.place_of(tensor),
                ": the output is missing, or of another shape");
        std::vector<double> a(tensor.count), b(tensor.count);
        mine.read<double>(*same, 0, a);
        theirs.read<double>(tensor, 0, b);
        double difference = 0, largest = 0;
        for (std::size_t i = 0; i < a.size(); ++i) {
            difference = std::max(difference, std::abs(a[i] - b[i]));
            largest = std::max(largest, std::abs(b[i]));
            if (!std::isfinite(a[i])) return std::numeric_limits<double>::infinity();
        }
        worst = std::max(worst, difference / largest);
    }
    return worst;
}

}  // namespace diffusion
