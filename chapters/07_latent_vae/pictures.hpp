#pragma once
// What an autoencoder learns: pictures of one size, to train on, and others to judge it by.
#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "04_unet/batch.hpp"
#include "tensor/array.hpp"

namespace diffusion {

struct Pictures {
    std::string name;    ///< of what is composed its kind, or as find_dataset has it
    std::string source;  ///< one line for the reader
    int height = 0, width = 0, channels = 0;
    int count = 0;  ///< of the training set; 0: without end
    /// What a saved training must agree in.
    std::map<std::string, std::string> identity = {};
    Source train = {};
    /// Pictures first .. first + count - 1 of the training set in its own order, [count,H,W,C], and
    /// what is said of one of them. Of data sets without captions nothing is said.
    std::function<Array<float>(std::int64_t first, int count)> learned = {};
    std::function<std::string(std::int64_t index)> caption = {};
    /// Pictures first .. first + count - 1 of those that training does not see, [count,H,W,C], and
    /// what they are called. (A folder has one set only: there they are those of the training.)
    std::string others = "pictures that training does not see";
    std::function<Array<float>(std::int64_t first, int count)> held_out = {};
    /// Of emoji: canvases with none that is trained on.
    std::function<Array<float>(std::int64_t first, int count)> unseen = {};
};

inline bool is_composed(const std::string& kind) {  ///< of 64 x 64 pixels, in colour
    return kind == "scenes" || kind == "emoji" || kind == "words" || kind == "free_words";
}
/// `kind`: "scenes" (canvases with digits, composed as they are needed; those that training does
/// not see have other writers' digits), "emoji" (canvases with emoji; those that training does not
/// see are other canvases), "words" or "free_words" (with words of a stroke alphabet; those that
/// training does not see are held-out words), or a data set as find_dataset has them. A
/// step's batch has `batch` pictures.
Pictures find_pictures(const std::string& kind, const std::string& data_dir, int batch,
                       std::uint64_t seed);

}  // namespace diffusion
