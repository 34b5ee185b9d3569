// Chapter 7 on a GPU: the draw of a latent, its KL, and the training of an autoencoder. The
// network is that of autoencoder_forward.hpp, for numbers on the GPU.
#include <memory>

#include "02_gradients/compare.hpp"
#include "04_unet/conv.hpp"
#include "04_unet/device.hpp"
#include "04_unet/gpu_batch.hpp"
#include "07_latent_vae/autoencoder_forward.hpp"
#include "07_latent_vae/vae_loss.hpp"
#include "cuda/reduce.hpp"
#include "tensor/random.hpp"

namespace diffusion::cuda {
namespace {

constexpr float kLeast = static_cast<float>(kLeastLogVariance),
                kMost = static_cast<float>(kMostLogVariance);

struct Clamp {
    const float* x;
    float* y;
    __device__ void operator()(int i) const { y[i] = fminf(fmaxf(x[i], kLeast), kMost); }
};
struct ClampVjp {
    const float *x, *dy;
    float* dx;
    __device__ void operator()(int i) const {
        if (x[i] >= kLeast && x[i] <= kMost) dx[i] += dy[i];
    }
};

struct Draw {
    const float *mean, *log_variance, *eps;
    float* z;
    __device__ void operator()(int i) const {
        z[i] = mean[i] + expf(log_variance[i] / 2) * eps[i];  // (7.6)
    }
};
struct DrawVjp {
    const float *log_variance, *eps, *dz;
    float* d_log_variance;
    __device__ void operator()(int i) const {
        d_log_variance[i] += dz[i] * expf(log_variance[i] / 2) * eps[i] / 2;  // (7.7)
    }
};

/// (7.8): a block for each picture. Near mean 0 and variance 1 the parts of a term nearly cancel,
/// so each is computed in double, as on the CPU.
__global__ void kl_of_picture(const float* mean, const float* log_variance, int numbers,
                              float* kl) {
    __shared__ float shared[33];
    uninitialised(shared);
    const std::ptrdiff_t first = static_cast<std::ptrdiff_t>(blockIdx.x) * numbers;
    float sum = 0;
    for (int i = static_cast<int>(threadIdx.x); i < numbers; i += kBlockThreads) {
        const auto mu = static_cast<double>(mean[first + i]),
                   l = static_cast<double>(log_variance[first + i]);
        sum += static_cast<float>(0.5 * (mu * mu + ::exp(l) - l - 1));
    }
    sum = block_sum(sum, shared);
    if (threadIdx.x == 0) kl[blockIdx.x] = sum;
}
struct KlOfMeanVjp {
    const float *mean, *dkl;
    Divisor numbers;
    float* d_mean;
    __device__ void operator()(int i) const { d_mean[i] += dkl[i / numbers] * mean[i]; }  // (7.9)
};
struct KlOfVarianceVjp {
    const float *log_variance, *dkl;
    Divisor numbers;
    float* d_log_variance;
    __device__ void operator()(int i) const {
        d_log_variance[i] += dkl[i / numbers] * expm1f(log_variance[i]) / 2;  // (7.9)
    }
};

/// (7.11), its second term: one block.
__global__ void add_kl(const float* mean_square, const float* kl, int pictures, float share,
                       float* loss) {
    __shared__ float shared[33];
    uninitialised(shared);
    float sum = 0;
    for (int n = static_cast<int>(threadIdx.x); n < pictures; n += kBlockThreads) sum += kl[n];
    sum = block_sum(sum, shared);
    if (threadIdx.x == 0) *loss = *mean_square + share * sum;
}
struct AddKlVjp {
    const float* dloss;
    float share;
    float* dkl;
    __device__ void operator()(int i) const { dkl[i] += share * *dloss; }
};

Var<Float> clamped(Var<Float> x) {
    const Var<Float> y = x.tape().result(x.shape(), x);
    for_each_number(x.value().numel(), Clamp{raw(x.value()), raw(y.value())});
    x.tape().record(y, [=] {
        for_each_number(x.value().numel(), ClampVjp{raw(x.value()), raw(y.grad()), raw(x.grad())});
    });
    return y;
}

Var<Float> with_kl(Var<Float> mean_square, Var<Float> kl, double share_) {
    const auto share = static_cast<float>(share_);
    const int pictures = kl.size(0);
    const Var<Float> loss = kl.tape().result({1}, mean_square, kl);
    launch(add_kl, 1u, kBlockThreads, raw(mean_square.value()), raw(kl.value()), pictures, share,
           raw(loss.value()));
    kl.tape().record(loss, [=] {
        for_each_number(pictures, AddKlVjp{raw(loss.grad()), share, raw(kl.grad())});
        mean_square.add_to_grad(loss.grad(), Float(1));
    });
    return loss;
}

}  // namespace
}  // namespace diffusion::cuda

namespace diffusion {

using cuda::Float;
using cuda::raw;

template <>
Posterior<Float> posterior_of(Var<Float> moments) {
    const int channels = latent_channels_of(moments.shape());
    return {slice_channels(moments, 0, channels),
            cuda::clamped(slice_channels(moments, channels, channels))};
}

template <>
Var<Float> draw_latent(const Posterior<Float>& posterior, Tensor<const Float> eps) {
    const Var<Float> mean = posterior.mean, log_variance = posterior.log_variance;
    require_same_shape("draw_latent", mean.value(), log_variance.value(), eps);
    const Var<Float> z = mean.tape().result(mean.shape(), mean, log_variance);
    const std::ptrdiff_t n = z.value().numel();
    cuda::for_each_number(
        n, cuda::Draw{raw(mean.value()), raw(log_variance.value()), raw(eps), raw(z.value())});
    mean.tape().record(z, [=] {
        if (mean.needs_grad()) mean.add_to_grad(z.grad(), Float(1));  // (7.7)
        if (!log_variance.needs_grad()) return;
        cuda::for_each_number(n, cuda::DrawVjp{raw(log_variance.value()), raw(eps), raw(z.grad()),
                                               raw(log_variance.grad())});
    });
    return z;
}

template <>
Var<Float> latent_kl(const Posterior<Float>& posterior) {
    const Var<Float> mean = posterior.mean, log_variance = posterior.log_variance;
    require_same_shape("latent_kl", mean.value(), log_variance.value());
    const int pictures = mean.size(0);
    const std::ptrdiff_t n = mean.value().numel();
    const int numbers = cuda::index_count(n) / pictures;
    const Var<Float> kl = mean.tape().result({pictures}, mean, log_variance);
    cuda::launch(cuda::kl_of_picture, static_cast<unsigned>(pictures), cuda::kBlockThreads,
                 raw(mean.value()), raw(log_variance.value()), numbers, raw(kl.value()));
    mean.tape().record(kl, [=] {
        if (mean.needs_grad())
            cuda::for_each_number(
                n, cuda::KlOfMeanVjp{raw(mean.value()), raw(kl.grad()), numbers, raw(mean.grad())});
        if (log_variance.needs_grad())
            cuda::for_each_number(
                n, cuda::KlOfVarianceVjp{raw(log_variance.value()), raw(kl.grad()), numbers,
                                         raw(log_variance.grad())});
    });
    return kl;
}

template Var<Float> MiddleBlock::operator()(Var<Float>) const;
template Posterior<Float> Autoencoder::encode(Var<Float>) const;
template Var<Float> Autoencoder::decode(Var<Float>) const;

namespace cuda {
namespace {

/// (7.11) for a GPU: pictures and noise come from the host, the same that the CPU's form has.
class AutoencoderLoss : public DeviceLoss {
public:
    AutoencoderLoss(const Autoencoder& autoencoder, Source source, double weight, int batch,
                    std::uint64_t seed)
        : autoencoder_(autoencoder),
          source_(std::move(source)),
          weight_(weight),
          batch_(batch),
          seed_(seed),
          ones_(Buffer<float>::of(std::vector<float>(static_cast<std::size_t>(batch), 1.0f))) {}

    void prepare(std::int64_t step) override {
        arena_.reset();
        const Tensor<float> x = source_(arena_, step, 0, batch_).x0;
        if (x_.size() == 0) {
            shape_ = x.shape();
            latent_ = autoencoder_.latent_shape(shape_);
            x_ = Buffer<float>(static_cast<std::size_t>(shape_.numel()));
            eps_ = Buffer<float>(static_cast<std::size_t>(latent_.numel()));
        }
        require(x.shape() == shape_, "autoencoder: pictures are ", x.shape(), ", before they were ",
                shape_);
        x_.upload(x.data());
        const Tensor<float> eps = arena_.make<float>(latent_);
        for (int n = 0; n < batch_; ++n)
            fill_normal(eps[n], Random(seed_, Purpose::noise, static_cast<std::uint32_t>(step),
                                       static_cast<std::uint32_t>(n)));
        eps_.upload(eps.data());
    }

    Var<Float> operator()(Tape<Float>& tape) override {
        const Tensor<Float> x{as_device(x_.data()), shape_};
        const Posterior<Float> posterior = autoencoder_.encode(tape.constant(x));
        const Tensor<const Float> eps{as_device(eps_.data()), latent_};
        const Var<Float> decoded = autoencoder_.decode(draw_latent<Float>(posterior, eps));
        const WeightedError<Float> error =
            weighted_mse(decoded, x, {as_device(ones_.data()), {batch_}});
        return with_kl(error.loss, latent_kl(posterior),
                       weight_ / static_cast<double>(shape_.numel()));
    }

private:
    const Autoencoder& autoencoder_;
    Source source_;
    double weight_;
    int batch_;
    std::uint64_t seed_;
    Arena arena_;
    Shape shape_, latent_;
    Buffer<float> x_, eps_, ones_;
};

// ---- The checks against the CPU's code, and the times.

void check_latents(Stage& s) {
    const Shape latent{3, 4, 3, 2};
    compare_on_tapes(s, "the posterior, clamped", {{3, 4, 3, 4}}, 1e-6, [](const auto& v) {
        const auto wide = mul(mul(mul(v[0], v[0]), mul(v[0], v[0])), v[0]);  // beyond the bounds
        const auto posterior = posterior_of(wide);
        return add(posterior.mean, posterior.log_variance);
    });
    compare_on_tapes(s, "a draw", {latent, latent, latent}, 1e-6, [](const auto& v) {
        using T = typename std::decay_t<decltype(v[0].value())>::value_type;
        return add(draw_latent<T>({v[0], v[1]}, v[2].value()), v[2]);
    });
    compare_on_tapes(s, "its KL", {latent, latent}, 1e-5, [](const auto& v) {
        using T = typename std::decay_t<decltype(v[0].value())>::value_type;
        return latent_kl<T>({v[0], v[1]});
    });
}

struct SmallTraining {
    ParameterList list;
    Autoencoder autoencoder;
    TrainOptions options;
    Source source;

    SmallTraining(const AutoencoderConfig& config, int side, int batch)
        : autoencoder(list, "", config),
          options{.batch = batch, .steps = 10, .warmup = 2, .seed = 3},
          source([=](Arena& arena, std::int64_t step, int first, int count) {
              Batch part;
              part.x0 = arena.make<float>({count, side, side, config.in_channels});
              for (int i = 0; i < count; ++i)
                  fill_normal(part.x0[i], Random(1, Purpose::test, static_cast<std::uint32_t>(step),
                                                 static_cast<std::uint32_t>(first + i)));
              return part;
          }) {}
    TrainingTask task() const {
        constexpr double kWeight = 0.5;
        return {autoencoder_task(autoencoder, source, kWeight, 3),
                autoencoder_on_gpu(autoencoder, source, kWeight, options.batch, 3)};
    }
};

/// Steps of training beside the CPU's: two as they are, two recorded.
void check_training(Stage& s) {
    AutoencoderConfig config;
    config.channels = {8, 16};
    config.latent_channels = 3;
    config.quant = config.post_quant = true;
    const SmallTraining small(config, 8, 4);
    const TrainingTask task = small.task();
    Trainer cpu(small.list, small.options), beside(small.list, small.options);
    const std::unique_ptr<Training> gpu = cuda_device("fp32").training(beside, task);
    double off = 0, off_norm = 0;
    for (int k = 0; k < 4; ++k) {
        const Trainer::Report a = cpu.step(task.on_cpu), b = gpu->step();
        off = std::max(off, std::abs(a.loss - b.loss) / a.loss);
        off_norm =
            std::max(off_norm, std::abs(a.gradient_norm - b.gradient_norm) / a.gradient_norm);
    }
    gpu->fetch();
    s.check("four steps of an autoencoder's training: losses, relative", off, 1e-5);
    s.check("four steps of an autoencoder's training: norms of the gradient, relative", off_norm,
            1e-4);
    s.check("four steps of an autoencoder's training: first moments",
            largest_difference(beside.state().at("first_moment"), cpu.state().at("first_moment")),
            1e-5);
}

void time_training(Stage& s) {
    AutoencoderConfig config;
    config.channels = {128, 256, 512, 512};
    config.groups = 32;
    config.blocks = 2;
    SmallTraining large(config, 256, 4);
    Trainer trainer(large.list, large.options);
    const std::unique_ptr<Training> gpu = cuda_device("tf32").training(trainer, large.task());
    for (int i = 0; i < 3; ++i) gpu->step();  // until they are recorded
    s.time("a step of 4 pictures of 256 x 256, Stable Diffusion's size", 0, 0,
           [&] { gpu->step(); });
}

}  // namespace

void vae_stage(Stage& s) {
    check_latents(s);
    check_training(s);
    if (s.times()) time_training(s);
}

}  // namespace cuda

std::function<std::shared_ptr<cuda::DeviceLoss>()> autoencoder_on_gpu(
    const Autoencoder& autoencoder, Source source, double weight, int batch, std::uint64_t seed) {
    return [=, &autoencoder, source = std::move(source)]() -> std::shared_ptr<cuda::DeviceLoss> {
        return std::make_shared<cuda::AutoencoderLoss>(autoencoder, source, weight, batch, seed);
    };
}

}  // namespace diffusion
