// The whole network: training steps, calls, and drawing.
#include <array>
#include <cstdio>

#include "04_unet/model.hpp"
#include "app/machine.hpp"
#include "bench.hpp"
#include "io/csv.hpp"
#include "tensor/random.hpp"

namespace diffusion {
namespace {

/// Random pictures: what they show takes no time.
Dataset random_pictures(const NetworkOptions& options) {
    Dataset data{"noise",        "random numbers", 256, options.pixels,
                 options.pixels, options.channels, {},  {}};
    data.pixels.resize(data.image_size() * 256);
    Random random(1, Purpose::test);
    for (std::uint8_t& pixel : data.pixels)
        pixel = static_cast<std::uint8_t>(256 * random.uniform());
    return data;
}

struct Rates {
    double training, call;  ///< pictures per second
};

class TimedNetwork {
public:
    explicit TimedNetwork(const NetworkOptions& options)
        : options_(options),
          data_(random_pictures(options)),
          model_(unet_config(options.channels, options.base, options.multipliers),
                 make_schedule("cosine", 1000), Prediction::eps, options.pixels, options.pixels),
          values_(model_.parameters.block()) {
        model_.parameters.initialise<float>(values_, 1);
    }

    double parameters() const { return static_cast<double>(model_.parameters.count()); }

    /// Seconds of a training step.
    double step() const {
        Trainer trainer(model_.parameters,
                        {.batch = options_.batch, .muon = options_.optimizer == "muon"});
        const Trainer::Loss loss = denoising_loss(model_.network().on_cpu,
                                                  picture_source(data_, {.batch = options_.batch}),
                                                  model_.objective(1), options_.batch, 1);
        std::vector<double> times;
        for (int i = 0; i < options_.rounds + 2; ++i) {
            const auto start = Clock::now();
            trainer.step(loss);
            if (i >= 2) times.push_back(seconds_since(start));
        }
        return median(times);
    }
    /// Seconds of one call of the network for a batch.
    double call() {
        Arena memory;
        const Tensor<float> x = pictures(options_.batch, memory),
                            x0 = memory.make<float>(x.shape());
        const Denoiser<float> denoiser = model_denoiser(model_, values_);
        const Moment at = model_.path(std::array{500}).front();
        std::vector<double> times;
        for (int i = 0; i < options_.rounds + 2; ++i) {
            const auto start = Clock::now();
            denoiser(x, at, x0);
            if (i >= 2) times.push_back(seconds_since(start));
        }
        return median(times);
    }
    /// Seconds of drawing n pictures in 50 steps.
    double draw(int n) {
        Arena memory;
        const Tensor<float> x = pictures(n, memory);
        const Denoiser<float> denoiser = model_denoiser(model_, values_);
        const std::vector<Moment> path = model_.path(even_times(1000, 50));
        std::vector<double> times;
        for (int i = 0; i < 4; ++i) {
            const auto start = Clock::now();
            ancestral_sample<float>(denoiser, path, {}, x);
            if (i >= 1) times.push_back(seconds_since(start));
        }
        return median(times);
    }

private:
    Tensor<float> pictures(int n, Arena& memory) const {
        const Tensor<float> x =
            memory.make<float>({n, options_.pixels, options_.pixels, options_.channels});
        fill_normal(x, Random(1, Purpose::test));
        return x;
    }

    NetworkOptions options_;
    Dataset data_;
    DenoisingModel model_;
    Array<float> values_;
};

}  // namespace

void bench_network(const NetworkOptions& options, int threads,
                   const std::filesystem::path& folder) {
    TimedNetwork network(options);
    const double training = options.batch / network.step(), memory = peak_memory(),
                 call = options.batch / network.call(), draw = network.draw(options.batch);
    const double one = network.draw(1);
    const double message = threads > 1 ? message_and_back() : 0;
    pick_threads(1);
    const double one_alone = threads > 1 ? network.draw(1) : one;
    const double training_alone = threads > 1 ? options.batch / network.step() : training;
    pick_threads(threads);
    std::printf("UNet, base %d, multipliers %s, %dx%dx%d, batch %d, %s, %d threads\n", options.base,
                joined(options.multipliers).c_str(), options.pixels, options.pixels,
                options.channels, options.batch, options.optimizer.c_str(), threads);
    std::printf("%-44s%10.0f pictures/s  (1 thread: %.0f, %.2f times)\n", "training", training,
                training_alone, training / training_alone);
    std::printf("%-44s%10.0f pictures/s\n", "a call of the network", call);
    std::printf("%-44s%10.2f s, %.0f network calls/s\n", "drawing a batch in 50 steps", draw,
                50 * options.batch / draw);
    std::printf("%-44s%10.3f s  (1 thread: %.3f, %.2f times)\n", "drawing one picture in 50 steps",
                one, one_alone, one_alone / one);
    if (message > 0)
        std::printf("%-44s%10.0f ns\n", "a message to another core and back", 1e9 * message);
    std::printf("%-44s%10.0f MiB\n\n", "most memory in training", memory);
    Table table(folder / "network.csv",
                "base,batch,pixels,channels,threads,training,training_one_thread,call,draw_batch,"
                "draw_one,draw_one_one_thread,memory_mib,message_ns");
    std::vector<std::string> row;
    for (const double value :
         {static_cast<double>(options.base), static_cast<double>(options.batch),
          static_cast<double>(options.pixels), static_cast<double>(options.channels),
          static_cast<double>(threads), training, training_alone, call, draw, one, one_alone,
          memory, 1e9 * message})
        row.push_back(shortest(value));
    table.row(row);
}

void bench_growth(int threads, const std::filesystem::path& folder) {
    Table table(folder / "growth.csv", "series,base,batch,pixels,threads,parameters,step_seconds");
    std::printf("%-12s%8s%8s%8s%8s%14s%16s\n", "growth", "base", "batch", "pixels", "threads",
                "ms a step", "ms a picture");
    const auto run = [&](const char* series, int base, int batch, int pixels, int on) {
        NetworkOptions options{.base = base,
                               .batch = batch,
                               .pixels = pixels,
                               .channels = pixels == 32 ? 3 : 1,
                               .rounds = 3};
        const TimedNetwork network(options);
        const double step = network.step();
        std::printf("%-12s%8d%8d%8d%8d%14.1f%16.2f\n", series, base, batch, pixels, on, 1e3 * step,
                    1e3 * step / batch);
        table.row({series, std::to_string(base), std::to_string(batch), std::to_string(pixels),
                   std::to_string(on), shortest(network.parameters()), shortest(step)});
    };
    for (const int base : {16, 32, 64, 128}) {
        for (const int pixels : {28, 32}) run("base", base, 16, pixels, threads);
    }
    for (const int batch : {1, 4, 16, 64, 256}) run("batch", 16, batch, 28, threads);
    for (int on = 1; on <= threads; on = on < threads ? std::min(2 * on, threads) : threads + 1) {
        pick_threads(on);
        run("threads", 32, 64, 28, on);
    }
    pick_threads(threads);
    std::printf("\n");
}

}  // namespace diffusion
