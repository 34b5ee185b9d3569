#include "01_forward_noising/pictures.hpp"

#include <cmath>
#include <string>

#include "01_forward_noising/chain.hpp"
#include "01_forward_noising/q_sample.hpp"
#include "io/csv.hpp"
#include "io/image.hpp"
#include "tensor/arena.hpp"
#include "tensor/random.hpp"

namespace diffusion {

namespace {

constexpr int kTimes = 10;  // pictures in a strip after the clean one

/// One row of pictures at t = 0, T/10, ..., T; draw(t, out) makes each of them.
template <class Draw>
Image strip(Shape picture, int T, Draw draw) {
    Arena arena;
    Tensor<float> frames = arena.make<float>({kTimes + 1, picture[0], picture[1], picture[2]});
    for (int k = 0; k <= kTimes; ++k) draw(k * T / kTimes, frames[k]);
    return image_grid(frames, kTimes + 1, picture[0] <= 32 ? 3 : 1);
}

double mean_of(std::span<const double> values) {
    double sum = 0.0;
    for (double value : values) sum += value;
    return sum / static_cast<double>(values.size());
}

double deviation_of(std::span<const double> values) {
    const double mean = mean_of(values);
    double sum = 0.0;
    for (double value : values) sum += (value - mean) * (value - mean);
    return std::sqrt(sum / static_cast<double>(values.size() - 1));
}

}  // namespace

void draw_schedules(RunFolder& folder, const std::vector<Schedule>& schedules,
                    Tensor<const float> x0, Tensor<const float> eps) {
    const Shape batch{1, x0.size(0), x0.size(1), x0.size(2)};
    std::vector<Image> rows;
    std::vector<std::string> columns = {"t"};
    for (const Schedule& schedule : schedules) {
        rows.push_back(strip(x0.shape(), schedule.steps(), [&](int t, Tensor<float> out) {
            q_sample(x0.reshape(batch), {&t, 1}, eps.reshape(batch), schedule, out.reshape(batch));
        }));
        for (const char* column : {"_beta", "_abar", "_log_snr"})
            columns.push_back(schedule.name + column);
    }
    write_png(folder.path("filmstrip.png"), stack_rows(rows));
    folder.picture("filmstrip.png",
                   "One picture at t = 0, T/10, ..., T. From top to bottom: linear, scaled linear, "
                   "cosine, sigmoid. Every picture was given the same noise.");
    CsvWriter csv(folder.path("schedules.csv"), columns);
    for (int t = 1; t <= schedules.at(0).steps(); ++t) {
        std::vector<double> row = {static_cast<double>(t)};
        for (const Schedule& s : schedules)
            row.insert(row.end(), {s.beta[s.at(t)], s.alpha_bar[s.at(t)], s.log_snr(t)});
        csv.row(row);
    }
}

void draw_mistakes(RunFolder& folder, const Schedule& schedule, Tensor<const float> x0,
                   Tensor<const float> eps) {
    const std::vector<Recipe> recipes = right_and_wrong(schedule);
    std::vector<Image> rows;
    std::vector<std::string> columns = {"t"};
    for (const Recipe& recipe : recipes) {
        columns.push_back(recipe.name);
        rows.push_back(strip(x0.shape(), schedule.steps(), [&](int t, Tensor<float> out) {
            const float a = static_cast<float>(recipe.signal[schedule.at(t)]);
            const float s = static_cast<float>(recipe.noise[schedule.at(t)]);
            for (std::ptrdiff_t i = 0; i < out.numel(); ++i)
                out.data()[i] = a * x0.data()[i] + s * eps.data()[i];
        }));
    }
    write_png(folder.path("mistakes.png"), stack_rows(rows));
    folder.picture("mistakes.png",
                   "From top to bottom: right; 1 - abar without its root; beta without its root; "
                   "no shrinking; variance exploding. All on one grey scale.");
    CsvWriter csv(folder.path("variance.csv"), columns);
    for (std::size_t t = 0; t < schedule.beta.size(); ++t) {
        std::vector<double> row = {static_cast<double>(t)};
        for (const Recipe& m : recipes)
            row.push_back(m.signal[t] * m.signal[t] + m.noise[t] * m.noise[t]);
        csv.row(row);
    }
}

std::vector<ChainCheck> compare_chain(RunFolder& folder, const Schedule& schedule, int count,
                                      std::uint64_t seed) {
    constexpr int kBins = 80;
    constexpr double kLow = -4.0, kHigh = 4.0, kWidth = (kHigh - kLow) / kBins;
    const int T = schedule.steps();
    const std::vector<int> times = {T / 20, T / 5, T / 2, T};
    const auto chain = run_chain(schedule, 1.0, count, times, seed);
    CsvWriter csv(folder.path("histogram.csv"), {"t", "x", "chain", "jump", "exact"});
    std::vector<ChainCheck> checks;
    const Shape shape{count};
    std::vector<double> one(chain.at(0).size(), 1.0), eps(one), jump(one);
    for (std::size_t i = 0; i < times.size(); ++i) {
        const std::vector<int> t(one.size(), times[i]);
        fill_normal(Tensor<double>(eps.data(), shape),
                    Random(seed, Purpose::noise, static_cast<std::uint32_t>(times[i])));
        q_sample({one.data(), shape}, t, {eps.data(), shape}, schedule,
                 Tensor<double>(jump.data(), shape));
        const double a = schedule.signal(times[i]), s = schedule.noise(times[i]);
        checks.push_back({times[i], mean_of(chain[i]), mean_of(jump), a, deviation_of(chain[i]),
                          deviation_of(jump), s});
        const auto chained = histogram(chain[i], kLow, kHigh, kBins);
        const auto jumped = histogram(jump, kLow, kHigh, kBins);
        const auto below = [a, s](double x) {
            return 0.5 * std::erfc((a - x) / (s * std::sqrt(2.0)));
        };
        for (int b = 0; b < kBins; ++b) {
            const double left = kLow + b * kWidth;
            const std::size_t k = static_cast<std::size_t>(b);
            csv.row({static_cast<double>(times[i]), left + 0.5 * kWidth, chained[k], jumped[k],
                     (below(left + kWidth) - below(left)) / kWidth});
        }
    }
    return checks;
}

}  // namespace diffusion
