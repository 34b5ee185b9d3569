#include "data/image_folder.hpp"

#include <algorithm>
#include <cctype>

#include "data/captions.hpp"
#include "io/image.hpp"

namespace diffusion {
namespace {

namespace fs = std::filesystem;

bool is_picture(const fs::path& path) {
    std::string extension = path.extension().string();
    std::transform(extension.begin(), extension.end(), extension.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return path.filename().string().front() != '.' &&
           (extension == ".png" || extension == ".jpg" || extension == ".jpeg");
}

std::string size_text(int height, int width, int channels) {
    return std::to_string(width) + " x " + std::to_string(height) +
           (channels == 1 ? " grey" : " colour");
}

}  // namespace

std::vector<fs::path> picture_files(const fs::path& folder) {
    std::error_code error;
    const fs::directory_iterator entries(folder, error);
    require(!error, folder.string(), ": ", error.message(), ", expected a folder of pictures");
    std::vector<fs::path> paths;
    for (const fs::directory_entry& entry : entries) {
        if (entry.is_regular_file() && is_picture(entry.path())) paths.push_back(entry.path());
    }
    require(!paths.empty(), folder.string(), ": no pictures, expected .png, .jpg or .jpeg files");
    std::sort(paths.begin(), paths.end());
    return paths;
}

Dataset read_image_folder(const fs::path& folder) {
    const std::vector<fs::path> paths = picture_files(folder);
    Dataset data;
    data.name = "folder";
    for (const fs::path& path : paths) {
        const Image image = read_image(path);
        if (data.count == 0) {
            data.height = image.height;
            data.width = image.width;
            data.channels = image.channels;
        }
        require(image.height == data.height && image.width == data.width &&
                    image.channels == data.channels,
                path.string(), ": ", size_text(image.height, image.width, image.channels), ", but ",
                paths.front().string(), " is ", size_text(data.height, data.width, data.channels),
                "; all must be alike");
        data.pixels.insert(data.pixels.end(), image.pixels.begin(), image.pixels.end());
        ++data.count;
    }
    data.captions = read_captions(folder, paths);
    data.source = std::to_string(data.count) +
                  (data.captions.empty() ? " pictures from the folder "
                                         : " pictures with captions from the folder ") +
                  folder.string();
    return data;
}

}  // namespace diffusion
