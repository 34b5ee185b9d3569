// Chapter 4's loss and denoiser on a GPU, for any network, source and objective. The host composes
// a batch and says at which times its pictures are noised; noise (chapter 1), network and loss are
// made where the numbers are.
#include <memory>
#include <mutex>
#include <utility>

#include "01_forward_noising/noising.hpp"
#include "03_reverse_process/prediction.hpp"
#include "04_unet/device.hpp"
#include "04_unet/gpu_batch.hpp"
#include "04_unet/unet.hpp"
#include "cuda/index.hpp"

namespace diffusion {

extern template Var<cuda::Float> UNet::operator()(Var<cuda::Float>, std::span<const float>,
                                                  const Condition<cuda::Float>&) const;

NetworkOf<cuda::Float> network_on_gpu(const UNet& unet) {
    return [&unet](Var<cuda::Float> xt, std::span<const float> t,
                   const Condition<cuda::Float>& condition) { return unet(xt, t, condition); };
}

}  // namespace diffusion

namespace diffusion::cuda {
namespace {

/// What a network is asked for (prediction.hpp).
struct Wanted {
    const float *x0, *eps;
    const LevelOf<float>* level;
    Prediction prediction;
    Divisor size;
    float* wanted;
    __device__ void operator()(int i) const {
        wanted[i] = wanted_from(prediction, level[i / size], x0[i], eps[i]);
    }
};

/// The guess of x_0 from the network's output (prediction.hpp).
struct Guess {
    Prediction prediction;
    LevelOf<float> level;
    const float *xt, *y;
    float* x0;
    __device__ void operator()(int i) const { x0[i] = x0_from(prediction, level, xt[i], y[i]); }
};

/// (4.15)
class DenoisingOnGpu : public DeviceLoss {
public:
    DenoisingOnGpu(NetworkOf<Float> network, Source source, Objective objective, int batch,
                   std::uint64_t seed)
        : network_(std::move(network)),
          source_(std::move(source)),
          objective_(std::move(objective)),
          batch_(batch),
          seed_(seed),
          t_(static_cast<std::size_t>(batch)),
          weight_(t_.size()),
          level_(t_.size()) {}

    /// x_t, and what the network shall say of it, for the batch of a step.
    void prepare(std::int64_t step) override {
        host_.reset();
        const Batch batch = source_(host_, step, 0, batch_);
        // A recording keeps the shapes it was made with.
        require(x0_.size() == 0 || (batch.x0.shape() == shape_ && condition_.has_shapes_of(batch)),
                "training on a GPU: the batch of step ", step + 1,
                " has other shapes than the one before");
        shape_ = batch.x0.shape();
        condition_.upload(batch);
        std::vector<float> t, weight;
        std::vector<LevelOf<float>> level;
        for (int i = 0; i < batch_; ++i) {
            const Drawn drawn = draw_moment(objective_, batch_, seed_, step, i);
            t.push_back(drawn.t);
            weight.push_back(drawn.weight);
            level.push_back(drawn.level);
        }
        t_.upload(t.data());
        weight_.upload(weight.data());
        level_.upload(level.data());
        const auto numbers = static_cast<std::size_t>(shape_.numel());
        if (x0_.size() != numbers) {
            for (Buffer<float>* buffer : {&x0_, &eps_, &xt_, &wanted_})
                *buffer = Buffer<float>(numbers);
        }
        x0_.upload(batch.x0.data());
        const int size = static_cast<int>(shape_.numel() / batch_);
        noise_batch(x0_.data(), level_.data(),
                    {seed_, Purpose::noise, static_cast<std::uint32_t>(step)}, 0, batch_, size,
                    eps_.data(), xt_.data());
        for_each_number(shape_.numel(), Wanted{x0_.data(), eps_.data(), level_.data(),
                                               objective_.prediction, size, wanted_.data()});
    }

    Var<Float> operator()(Tape<Float>& tape) override {
        const auto of_batch = [&](const Buffer<float>& numbers) {
            return Tensor<Float>(as_device(numbers.data()), shape_);
        };
        const Noised<Float> noised{of_batch(xt_),
                                   of_batch(wanted_),
                                   {t_.data(), t_.size()},
                                   {as_device(weight_.data()), {batch_}},
                                   condition_.on(tape)};
        return network_loss(network_, tape, noised).loss;
    }

private:
    NetworkOf<Float> network_;
    Source source_;
    Objective objective_;
    int batch_;
    std::uint64_t seed_;
    Arena host_;   ///< of a batch
    Shape shape_;  ///< of its pictures
    Buffer<float> x0_, eps_, xt_, wanted_;
    Buffer<float> t_, weight_;
    Buffer<LevelOf<float>> level_;
    GpuCondition condition_;
};

constexpr int kPiece = 512;  // pictures whose activations lie on the GPU at a time

/// What a denoiser needs for a piece. One caller at a time has it.
struct Drawing {
    std::mutex one_at_a_time;
    DeviceTape tape;
    GpuCondition condition;
    std::pair<int, int> piece{0, 0};  ///< whose condition it is: the first picture, and how many
    Buffer<float> times;
};

}  // namespace

Denoiser<float> gpu_denoiser(const Network& network, Prediction prediction, std::span<float> values,
                             const Batch& condition) {
    require(static_cast<bool>(network.on_gpu), "drawing: this network is not on a GPU");
    const auto on_gpu = std::make_shared<Buffer<float>>(Buffer<float>::of(values));
    const auto memory = std::make_shared<Drawing>();
    return [=, network = network.on_gpu, condition = without_pictures(condition)](
               Tensor<const float> xt, const Moment& at, Tensor<float> x0) {
        check_level(prediction, at.level);
        const std::lock_guard<std::mutex> lock(memory->one_at_a_time);
        Tape<Float>& tape = memory->tape.tape;
        for (int first = 0; first < xt.size(0); first += kPiece) {
            const int count = std::min(kPiece, xt.size(0) - first);
            tape.reset();
            tape.bind(as_device(on_gpu->data()));
            Shape shape = xt.shape();
            shape.n[0] = count;
            const std::size_t bytes = static_cast<std::size_t>(shape.numel()) * sizeof(float);
            const Tensor<Float> x = tape.numbers().make<Float>(shape);
            copy_bytes(raw(x), xt[first].data(), bytes);
            Buffer<float>& times = memory->times;
            if (times.size() != static_cast<std::size_t>(count))
                times = Buffer<float>(static_cast<std::size_t>(count));
            times.upload(std::vector<float>(times.size(), static_cast<float>(at.t)).data());
            if (memory->piece != std::pair(first, count)) {
                memory->condition.upload(part_of(condition, first, count));
                memory->piece = {first, count};
            }
            const Tensor<Float> y =
                network(tape.constant(x), {times.data(), times.size()}, memory->condition.on(tape))
                    .value();
            for_each_number(shape.numel(),
                            Guess{prediction, at.level.as<float>(), raw(x), raw(y), raw(y)});
            copy_bytes(x0[first].data(), raw(y), bytes);
            synchronize("drawing");
        }
    };
}

}  // namespace diffusion::cuda

namespace diffusion {

std::function<std::shared_ptr<cuda::DeviceLoss>()> denoising_on_gpu(NetworkOf<cuda::Float> network,
                                                                    Source source,
                                                                    Objective objective, int batch,
                                                                    std::uint64_t seed) {
    return [=] {
        return std::make_shared<cuda::DenoisingOnGpu>(network, source, objective, batch, seed);
    };
}

}  // namespace diffusion
