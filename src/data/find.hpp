#pragma once
// Where the pictures come from.
#include <filesystem>
#include <string>
#include <vector>

#include "data/dataset.hpp"

namespace diffusion {

/// A folder to look for data in.
struct DataPlace {
    std::filesystem::path folder;
    std::string named_by;  ///< "--data" or "DIFFUSION_DATA"; empty: it is data/
    std::string said() const;
};
/// --data DIR (`data_dir`) where it is not empty; else the folder that the environment variable
/// DIFFUSION_DATA names, if it names one, and data/.
std::vector<DataPlace> data_places(const std::string& data_dir);

/// kind: "mnist", "fashion", "cifar10", "builtin" (stroke digits made in memory) or "folder:PATH".
///
/// The first three are looked for in data_places. In each of them the folder itself counts and its
/// usual subfolders (DIR/mnist, DIR/fashion, DIR/cifar10), so that /x and /x/mnist both work.
/// Dataset::source says in one line which was taken.
///
/// Not found: "mnist" becomes the built-in digits, and the source says so; the others fail. What
/// was named by --data is never replaced: there, missing files are an error. Files that are there
/// but incomplete or broken are an error everywhere.
///
/// train = false gives the test split. A folder has one split, which both values return.
Dataset find_dataset(const std::string& kind, const std::string& data_dir, bool train);

/// The training and the test pictures of one data set.
struct Split {
    Dataset train, test;
};
Split find_split(const std::string& kind, const std::string& data_dir);

}  // namespace diffusion
