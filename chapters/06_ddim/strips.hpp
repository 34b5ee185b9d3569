#pragma once
// What the subcommands and the experiment share: a model ready to draw, pictures, and strips of
// them.
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "06_ddim/runs.hpp"
#include "data/dataset.hpp"
#include "io/image.hpp"
#include "io/run_folder.hpp"
#include "tensor/check.hpp"

namespace diffusion {

std::filesystem::path model_path(const CommonOptions& common, const DrawSettings& draw);

/// A model with what drawing with it takes.
struct Drawing {
    LoadedModel loaded;
    Denoiser<float> denoiser;
    std::string grid;  ///< the one asked for, or the sampler's own
    std::vector<int> times;
    std::vector<Moment> path;
    Sampler sampler;  ///< with the model's own clipping, where none is asked for

    Drawing(const CommonOptions& common, const DrawSettings& draw, const Device& device);
    Drawing(const Drawing&) = delete;
    Drawing& operator=(const Drawing&) = delete;

    const Schedule& schedule() const { return loaded.model.schedule; }
    Shape shape(int n) const { return loaded.model.shape(n); }
    std::size_t steps() const { return path.size() - 1; }
};

/// Counts steps on a progress line, and stops after Ctrl-C.
class Steps {
public:
    explicit Steps(std::size_t count)
        : progress_("draw", static_cast<std::int64_t>(count), "steps") {}
    Observer<float> observer() {
        return [this](const Moment&, Tensor<const float>) {
            require(!interrupted(), "stopped while drawing");
            progress_.update(++done_);
        };
    }

    void print(const std::string& text) { progress_.print(text); }
    void finish() { progress_.finish(); }

private:
    Progress progress_;
    std::int64_t done_ = 0;
};

/// Writes a picture into the run's folder and tells its gallery.
void put(RunFolder& folder, const std::string& file, const Image& image,
         const std::string& caption);

/// The test pictures of the data set that the model learned. Fails if that was a folder, or is not
/// here.
Dataset find_test_pictures(const CommonOptions& common, const DrawSettings& draw, const Drawing& d);

/// A picture of the reader's own, or, where none is named, the first test picture.
void find_picture(const CommonOptions& common, const DrawSettings& draw, const Drawing& d,
                  const std::filesystem::path& path, bool negative, Tensor<float> out);

/// Copies the first picture of a batch over all others.
void repeat_first(Tensor<float> x);

/// x[i] at equal distances on the great circle (6.17) from one noise to another.
void on_circle(Tensor<const float> from, Tensor<const float> to, Tensor<float> x);

/// There and back; returns the mean absolute error per pixel, in units of [-1, 1].
double round_trip(const Drawing& d, int rounds, std::uint64_t seed, Tensor<const float> pictures,
                  Tensor<float> noise, Tensor<float> again, Steps& steps);

/// A mask that keeps the upper half.
void keep_upper_half(Tensor<float> keep);

/// A picture, what was kept of it (the rest dark grey), and the completions.
Image inpainting_strip(Tensor<const float> known, Tensor<const float> keep, Tensor<const float> x);

/// SDEdit: x is noised to `strength` (6.20), with noise from the sampler's seed, and denoised.
void edit(const Drawing& d, const Sampler& sampler, double strength, Tensor<float> x,
          const Observer<float>& observer);

}  // namespace diffusion
