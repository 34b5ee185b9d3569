// Chapter 3's program: particles flow back onto shapes in the plane, by the exact score and by a
// learned one; and the exact denoiser of a training set shows that it only remembers.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>

#include "03_reverse_process/bound.hpp"
#include "03_reverse_process/learned.hpp"
#include "app/app.hpp"
#include "data/find.hpp"
#include "io/csv.hpp"
#include "io/image.hpp"
#include "io/run_folder.hpp"

namespace diffusion {
namespace {

constexpr int kT = 200;
constexpr int kSize = 112;  // pixels of a picture of the plane, which shows [-3, 3] x [-3, 3]

struct Work {
    int points, steps, digits;
    double seconds;  ///< as measured once on two cores
};
const std::map<std::string, Work> kWork = {{"smoke", {300, 20, 50, 1}},
                                           {"quick", {4'000, 4'000, 1'000, 30}},
                                           {"standard", {20'000, 20'000, 5'000, 150}},
                                           {"long", {50'000, 100'000, 10'000, 600}}};

/// Where the points are, as brightness.
Image picture(Tensor<const float> points) {
    Arena arena;
    const Tensor<float> density = arena.zeros<float>({kSize, kSize, 1});
    const float gain = 2000.0f / static_cast<float>(points.size(0));
    for (int n = 0; n < points.size(0); ++n) {
        const float x = points(n, 0), y = points(n, 1);
        if (!(std::abs(x) < 3 && std::abs(y) < 3)) continue;
        const int column = static_cast<int>((x + 3) / 6 * kSize);
        const int row = static_cast<int>((3 - y) / 6 * kSize);
        if (column < kSize && row < kSize) density(row, column, 0) += gain;
    }
    for (float& d : density) d = 2 * (1 - std::exp(-0.5f * d)) - 1;
    return to_image(density);
}

/// Pictures side by side.
Image beside(const std::vector<Image>& images) {
    Image wide{images[0].height, 0, 1, {}};
    for (const Image& image : images) wide.width += image.width + 2;
    const int count = wide.height * wide.width;
    wide.pixels.assign(static_cast<std::size_t>(count), 60);
    int left = 0;
    for (const Image& image : images) {
        for (int row = 0; row < image.height; ++row) {
            std::copy_n(image.pixels.begin() + row * image.width, image.width,
                        wide.pixels.begin() + row * wide.width + left);
        }
        left += image.width + 2;
    }
    return wide;
}

/// Mean log density of the points under the shape, in nats: what is lost against fresh data is a
/// distance from it.
double mean_log_density(const GaussianMixture& shape, Tensor<const float> points) {
    double sum = 0;
    for (int n = 0; n < points.size(0); ++n) {
        const double x[2] = {static_cast<double>(points(n, 0)), static_cast<double>(points(n, 1))};
        sum += std::max(-50.0, log_density(shape, x));
    }
    return sum / points.size(0);
}

/// Walks noise back onto the shape. Returns the pictures of six moments; the last is the result.
std::vector<Image> walk(const Denoiser<float>& denoiser, const Schedule& schedule,
                        std::uint64_t seed, Tensor<float> x, std::vector<Image>& film) {
    start_noise<float>(seed, x);
    std::vector<Image> stops{picture(x)};
    film.push_back(stops[0]);
    const auto look = [&](const Moment& at, Tensor<const float> xs) {
        const int s = static_cast<int>(at.t);
        if (s == 150 || s == 100 || s == 50 || s == 20 || s == 0) stops.push_back(picture(xs));
        if (s % 5 == 0) film.push_back(picture(xs));
    };
    ancestral_sample<float>(denoiser, moments(schedule, all_times(schedule)),
                            {.clip = 3.0, .noise = fresh_noise<float>(seed), .observer = look}, x);
    return stops;
}

/// The scores of two denoisers on a grid of points, at two times: a row of the table for each.
void tabulate_scores(CsvWriter& table, int shape, const Schedule& schedule,
                     const Denoiser<float>& exact, const Denoiser<float>& learned) {
    constexpr int kGrid = 16;
    Arena arena;
    const Tensor<float> grid = arena.make<float>({kGrid * kGrid, 2}),
                        a = arena.make<float>(grid.shape()), b = arena.make<float>(grid.shape());
    for (int i = 0; i < kGrid * kGrid; ++i) {
        const int column = i % kGrid, row = i / kGrid;
        grid(i, 0) = -2.5f + 5.0f * static_cast<float>(column) / (kGrid - 1);
        grid(i, 1) = -2.5f + 5.0f * static_cast<float>(row) / (kGrid - 1);
    }
    for (const int t : {40, 100}) {
        const Level level = level_at(schedule, t);
        const Moment moment{static_cast<double>(t), level};
        exact(grid, moment, a);
        learned(grid, moment, b);
        const auto score = [&](float x, float x0) {  // (3.14) with (3.11)
            return score_from_eps(
                level, eps_from_x0(level, static_cast<double>(x), static_cast<double>(x0)));
        };
        for (int i = 0; i < kGrid * kGrid; ++i) {
            table.row({static_cast<double>(shape), static_cast<double>(t),
                       static_cast<double>(grid(i, 0)), static_cast<double>(grid(i, 1)),
                       score(grid(i, 0), a(i, 0)), score(grid(i, 1), a(i, 1)),
                       score(grid(i, 0), b(i, 0)), score(grid(i, 1), b(i, 1))});
        }
    }
}

/// The tables and pictures of all shapes.
struct Flow {
    CsvWriter fields, densities;
    std::vector<Image> rows;                         ///< of flow.png: two for each shape
    std::vector<std::vector<Image>> exact, learned;  ///< films, one of each kind for each shape

    explicit Flow(RunFolder& folder)
        : fields(folder.path("fields.csv"),
                 {"shape", "t", "x", "y", "exact_x", "exact_y", "learned_x", "learned_y"}),
          densities(folder.path("densities.csv"), {"shape", "data", "exact", "learned"}) {}
};

/// Noise becomes one shape, by the exact score and by a learned one.
void walk_shape(RunFolder& folder, Flow& flow, int k, const Work& work, std::uint64_t seed) {
    const std::string name = kShapeNames[static_cast<std::size_t>(k)];
    const Schedule schedule = make_schedule("cosine", kT);
    const GaussianMixture shape = make_shape(name);
    const NoisePredictor net;
    Array<float> values = learn(net, shape, schedule, work.steps, seed);
    const Denoiser<float> exact = exact_denoiser<float>(shape),
                          learned = learned_denoiser(net, values, schedule.steps());
    Arena arena;
    const Shape points{work.points, 2};
    const Tensor<float> data = arena.make<float>(points), by_exact = arena.make<float>(points),
                        by_net = arena.make<float>(points);
    draw(shape, seed, 0xFFFFFFFF, data);  // a step that training never reaches
    std::vector<Image> upper = walk(exact, schedule, seed, by_exact, flow.exact.emplace_back());
    std::vector<Image> lower = walk(learned, schedule, seed, by_net, flow.learned.emplace_back());
    upper.push_back(picture(data));
    lower.push_back(picture(data));
    flow.rows.push_back(beside(upper));
    flow.rows.push_back(beside(lower));

    const double of_data = mean_log_density(shape, data),
                 of_exact = mean_log_density(shape, by_exact),
                 of_learned = mean_log_density(shape, by_net);
    std::printf("%-12s%12.3f%12.3f%12.3f\n", name.c_str(), of_data, of_exact, of_learned);
    flow.densities.row({static_cast<double>(k), of_data, of_exact, of_learned});
    folder.number(name + ": learned", of_learned,
                  "mean log density of samples, nats; fresh data " +
                      shortest(std::round(1000 * of_data) / 1000));
    tabulate_scores(flow.fields, k, schedule, exact, learned);
}

/// The f-th picture of each film, side by side.
Image frame(const std::vector<std::vector<Image>>& films, std::size_t f) {
    std::vector<Image> row;
    for (const std::vector<Image>& film : films) row.push_back(film[f]);
    return beside(row);
}

void walk_shapes(RunFolder& folder, const Work& work, std::uint64_t seed) {
    Flow flow(folder);
    std::printf("\n%-12s%36s\n%-12s%12s%12s%12s\n", "", "mean log density of the samples, nats",
                "shape", "data", "exact", "learned");
    for (int k = 0; k < 4; ++k) walk_shape(folder, flow, k, work, seed);

    write_png(folder.path("flow.png"), stack_rows(flow.rows));
    std::vector<Image> frames;
    for (std::size_t f = 0; f < flow.exact[0].size(); ++f) {
        const std::vector<Image> both = {frame(flow.exact, f), frame(flow.learned, f)};
        frames.push_back(stack_rows(both));
    }
    write_gif(folder.path("flow.gif"), frames, 8);
    folder.picture("flow.gif",
                   "Particles flow back onto four shapes: above by the exact score (3.20), below "
                   "by a learned one.");
    folder.picture("flow.png",
                   "For each shape the exact score (upper row) and the learned one (lower row), at "
                   "t = 200, 150, 100, 50, 20 and 0; last, fresh data.");
}

/// The first digits of a data set.
Array<float> first_digits(const Dataset& data, int count) {
    Array<float> digits(Shape{count, data.height, data.width, 1});
    for (int i = 0; i < count; ++i) decode(data, i, false, digits.tensor()[i]);
    return digits;
}

/// Samples of the exact denoiser (3.21) beside the training pictures nearest to them.
void remember(RunFolder& folder, const CommonOptions& options, const Dataset& data,
              Tensor<const float> train) {
    constexpr int kShown = 10;
    const int count = train.size(0);
    Arena arena;
    const Tensor<float> x = arena.make<float>({kShown, data.height, data.width, 1}),
                        nearest = arena.make<float>(x.shape());
    const Schedule schedule = make_schedule("cosine", 50);
    start_noise<float>(options.seed, x);
    ancestral_sample<float>(exact_denoiser<float>(empirical_mixture(train)),
                            moments(schedule, all_times(schedule)),
                            {.noise = fresh_noise<float>(options.seed)}, x);
    double largest = 0;
    for (int n = 0; n < kShown; ++n) {
        double best = 1e300;
        for (int i = 0; i < count; ++i) {
            double distance = 0;
            for (std::ptrdiff_t p = 0; p < x[n].numel(); ++p) {
                const double d = static_cast<double>(x[n].data()[p] - train[i].data()[p]);
                distance += d * d;
            }
            if (distance < best) {
                best = distance;
                std::copy(train[i].begin(), train[i].end(), nearest[n].begin());
            }
        }
        largest = std::max(largest, std::sqrt(best / static_cast<double>(x[n].numel())));
    }
    const std::vector<Image> rows = {image_grid(x, kShown, 3), image_grid(nearest, kShown, 3)};
    write_png(folder.path("memory.png"), stack_rows(rows));
    folder.picture("memory.png", "Above, samples of the exact denoiser of " +
                                     std::to_string(count) +
                                     " digits; below, the training pictures nearest to them.");
    folder.number("distance to the nearest training picture", largest,
                  "root mean square, largest of 10 samples");
    std::printf(
        "\nthe exact denoiser of %d digits (%s):\nits samples differ from training pictures by at "
        "most %.1e a pixel\n",
        count, data.source.c_str(), largest);
}

/// What the exact denoiser's chain would need to write down digits (3.26): some that it remembers,
/// and some that it has never seen.
void count_bits(RunFolder& folder, const CommonOptions& options, Tensor<const float> train) {
    constexpr int kCounted = 10, kChain = 1000, kSteps = 60;
    const Dataset others = find_dataset("mnist", options.data, false);
    const Array<float> unseen = first_digits(others, std::min(kCounted, others.count));
    // Few times, closer together towards 0, so that the last steps are those of the whole chain.
    std::vector<int> times;
    for (int i = 0; i <= kSteps; ++i) {
        const double part = static_cast<double>(i) / kSteps;
        times.push_back(static_cast<int>(std::lround(std::pow(kChain, 1 - part))));
    }
    times.push_back(0);
    times.erase(std::unique(times.begin(), times.end()), times.end());
    const std::vector<Moment> path = moments(make_schedule("cosine", kChain), times);
    const Denoiser<float> denoiser = exact_denoiser<float>(empirical_mixture(train));
    std::printf("\nbits a pixel, at most, in %zu of %d steps (3.26)\n%-20s%12s%12s%12s%12s\n",
                path.size() - 1, kChain, "", "prior", "steps", "decoder", "total");
    const auto count = [&](const char* name, Tensor<const float> digits) {
        const BitsPerDimension bits = bits_per_dimension<float>(
            denoiser, path, digits, {.noise = fresh_noise<float>(options.seed)});
        std::printf("%-20s%12.4f%12.4f%12.4f%12.4f\n", name, bits.prior, bits.steps, bits.decoder,
                    bits.total());
        folder.number(std::string("bits a pixel, ") + name, bits.total(),
                      "bound (3.26) of the exact denoiser");
    };
    const int remembered = std::min(kCounted, train.size(0));
    count("remembered digits",
          {train.data(), {remembered, train.size(1), train.size(2), train.size(3)}});
    count("other digits", unseen);
}

void experiment(const CommonOptions& options) {
    const auto start = Clock::now();
    pick_threads(options.threads);
    RunFolder folder(options.out, "03_reverse_process", "Particles flow back");
    const Work& work = kWork.at(options.preset);
    no_state_to_resume(options);
    banner("Chapter 3: the reverse process",
           {{"shapes", "moons, swiss roll, eight Gaussians, rings"},
            {"particles", std::to_string(work.points)},
            {"training", std::to_string(work.steps) + " steps of 256 points for each shape"},
            {"seed", std::to_string(options.seed)},
            {"expected time", about(work.seconds)}});
    folder.setting("preset", options.preset);
    folder.setting("seed", options.seed);
    const Dataset data = find_dataset("mnist", options.data, true);
    folder.setting("data", data.source);
    folder.begin();
    walk_shapes(folder, work, options.seed);
    const Array<float> train = first_digits(data, std::min(work.digits, data.count));
    remember(folder, options, data, train);
    count_bits(folder, options, train);
    const double seconds = seconds_since(start);
    folder.finish(seconds);
    std::printf("\nPictures and tables are in %s (%.1f s)\n", options.out.string().c_str(),
                seconds);
}

}  // namespace
}  // namespace diffusion

int main(int argc, char** argv) {
    using namespace diffusion;
    CLI::App app("Walks noise back onto data, with the exact score and with a learned one.",
                 "03_reverse_process");
    CommonOptions options;
    add_common_options(app, options, "03_reverse_process");
    return run_app(app, argc, argv, [&] { experiment(options); });
}
