#include "06_ddim/strips.hpp"

#include <algorithm>
#include <cmath>

#include "04_unet/samples.hpp"
#include "05_measuring/reference.hpp"
#include "06_ddim/editing.hpp"
#include "06_ddim/grids.hpp"
#include "data/find.hpp"
#include "io/fit_picture.hpp"

namespace diffusion {

std::filesystem::path model_path(const CommonOptions& common, const DrawSettings& draw) {
    return model_of_chapter_4(common, draw.model);
}

Drawing::Drawing(const CommonOptions& common, const DrawSettings& draw, const Device& device)
    : loaded(load_model_of_chapter_4(model_path(common, draw))),
      denoiser(device.denoiser(loaded.model.network(), loaded.model.prediction, loaded.values, {})),
      grid(draw.grid.empty() ? own_grid(draw.sampler.name, draw.steps, schedule().steps())
                             : draw.grid),
      times(step_grid(grid, schedule(), draw.steps)),
      path(loaded.model.path(times)),
      sampler(draw.sampler) {
    sampler.seed = common.seed;
    sampler.clip = draw.clip.value_or(loaded.clip);
}

void put(RunFolder& folder, const std::string& file, const Image& image,
         const std::string& caption) {
    write_png(folder.path(file), image);
    folder.picture(file, caption);
}

Dataset find_test_pictures(const CommonOptions& common, const DrawSettings& draw,
                           const Drawing& d) {
    const DenoisingModel& model = d.loaded.model;
    require(model.data != "folder", model_path(common, draw).string(),
            ": the model learned a folder, which has no test pictures; give one with --image");
    require(!model.data.empty(), model_path(common, draw).string(),
            ": does not tell what the model learned; give a picture with --image");
    Dataset test = find_dataset(model.data, common.data, false);
    require_same_data(model, model_path(common, draw), test);
    return test;
}

void find_picture(const CommonOptions& common, const DrawSettings& draw, const Drawing& d,
                  const std::filesystem::path& path, bool negative, Tensor<float> out) {
    if (path.empty()) {
        decode(find_test_pictures(common, draw, d), 0, false, out);
    } else {
        fit_picture(read_image(path), negative, out);
    }
}

void repeat_first(Tensor<float> x) {
    for (int i = 1; i < x.size(0); ++i) std::copy(x[0].begin(), x[0].end(), x[i].begin());
}

void on_circle(Tensor<const float> from, Tensor<const float> to, Tensor<float> x) {
    for (int i = 0; i < x.size(0); ++i)
        slerp<float>(from, to, static_cast<double>(i) / (x.size(0) - 1), x[i]);
}

double round_trip(const Drawing& d, int rounds, std::uint64_t seed, Tensor<const float> pictures,
                  Tensor<float> noise, Tensor<float> again, Steps& steps) {
    std::copy(pictures.begin(), pictures.end(), noise.begin());
    ddim_invert<float>(
        d.denoiser, d.path,
        {.rounds = rounds, .noise = editing_noise<float>(seed), .observer = steps.observer()},
        noise);
    std::copy(noise.begin(), noise.end(), again.begin());
    ddim_sample<float>(d.denoiser, d.path, {.observer = steps.observer()}, again);
    double sum = 0;
    for (std::ptrdiff_t k = 0; k < again.numel(); ++k)
        sum += std::abs(static_cast<double>(pictures.data()[k] - again.data()[k]));
    return sum / static_cast<double>(again.numel());
}

void keep_upper_half(Tensor<float> keep) {
    for (int i = 0; i < keep.size(0); ++i) {
        for (float& k : keep[i]) k = 2 * i < keep.size(0) ? 1.0f : 0.0f;
    }
}

Image inpainting_strip(Tensor<const float> known, Tensor<const float> keep, Tensor<const float> x) {
    Array<float> strip(Shape{x.size(0) + 2, x.size(1), x.size(2), x.size(3)});
    const Tensor<float> all = strip.tensor();
    for (std::ptrdiff_t k = 0; k < known.numel(); ++k) {
        all[0].data()[k] = known.data()[k];
        all[1].data()[k] = keep.data()[k] > 0 ? known.data()[k] : -0.2f;
    }
    std::copy(x.begin(), x.end(), all[2].begin());
    return image_grid(all, all.size(0), 2);
}

void edit(const Drawing& d, const Sampler& sampler, double strength, Tensor<float> x,
          const Observer<float>& observer) {
    const std::vector<Moment> path =
        d.loaded.model.path(times_from(d.times, d.schedule().steps(), strength));
    start_edit<float>(path.front(), editing_noise<float>(sampler.seed), x);
    run_sampler(sampler, d.denoiser, path, x, observer);
}

}  // namespace diffusion
