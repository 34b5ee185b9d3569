#pragma once
// What goes with a batch of pictures, and the loss, on a GPU. Only .cu files include this header.
#include <algorithm>

#include "02_gradients/device_ops.hpp"
#include "04_unet/batch.hpp"
#include "04_unet/condition.hpp"
#include "04_unet/denoising.hpp"
#include "04_unet/weighted_mse.hpp"

namespace diffusion::cuda {

/// A batch's condition in memory that stays where it is as long as its shape is the same, so that a
/// recording may read it.
class GpuCondition {
public:
    void upload(const Batch& batch) {
        for (int n = 0; batch.keep && n < batch.keep.size(0); ++n) {
            const Tensor<unsigned char> of_image = batch.keep[n];
            require(std::ranges::count(of_image, 0) < of_image.numel(), "condition: image ", n,
                    " keeps no token");
        }
        put(tokens_, tokens_shape_, batch.tokens);
        put(pooled_, pooled_shape_, batch.pooled);
        put(keep_, keep_shape_, batch.keep);
        put(ids_, ids_shape_, batch.ids);
        put(labels_, labels_shape_, batch.labels);
    }
    bool has_shapes_of(const Batch& batch) const {
        return shape_of(batch.tokens) == tokens_shape_ && shape_of(batch.pooled) == pooled_shape_ &&
               shape_of(batch.keep) == keep_shape_ && shape_of(batch.ids) == ids_shape_ &&
               shape_of(batch.labels) == labels_shape_;
    }
    Condition<Float> on(Tape<Float>& tape) const {
        Condition<Float> condition;
        if (tokens_.size() > 0)
            condition.tokens = tape.constant({as_device(tokens_.data()), tokens_shape_});
        if (pooled_.size() > 0)
            condition.pooled = tape.constant({as_device(pooled_.data()), pooled_shape_});
        if (keep_.size() > 0) condition.keep = {keep_.data(), keep_.size()};
        if (ids_.size() > 0) condition.ids = {ids_.data(), ids_shape_};
        condition.labels = {labels_.data(), labels_.size()};
        return condition;
    }

private:
    template <class T>
    static Shape shape_of(Tensor<T> numbers) {
        return numbers ? numbers.shape() : Shape{};
    }
    template <class T>
    static void put(Buffer<T>& buffer, Shape& shape, Tensor<T> numbers) {
        if (!numbers) return;
        const auto size = static_cast<std::size_t>(numbers.numel());
        if (buffer.size() != size) buffer = Buffer<T>(size);
        shape = numbers.shape();
        buffer.upload(numbers.data());
    }

    Buffer<float> tokens_, pooled_;
    Buffer<unsigned char> keep_;
    Buffer<int> ids_, labels_;
    Shape tokens_shape_, pooled_shape_, keep_shape_, ids_shape_, labels_shape_;
};

/// A loss that is made on a GPU, in two parts: what a step brings from the host, and what is
/// launched, which the trainer records and replays.
class DeviceLoss {
public:
    virtual ~DeviceLoss() = default;
    /// Brings the batch of a step, and makes what is not recorded. Fails if its shapes are not
    /// those of the step before.
    virtual void prepare(std::int64_t step) = 0;
    /// The mean loss, on a tape to which the parameters are bound, of what prepare() has brought.
    /// Neither waits nor allocates, but on the tape.
    virtual Var<Float> operator()(Tape<Float>& tape) = 0;
};

/// network_denoiser on a GPU.
Denoiser<float> gpu_denoiser(const Network& network, Prediction prediction, std::span<float> values,
                             const Batch& condition);

}  // namespace diffusion::cuda

namespace diffusion {

template <>
WeightedError<cuda::Float> weighted_mse(Var<cuda::Float> x, Tensor<cuda::Float> target,
                                        Tensor<cuda::Float> weight);  // loss.cu

}  // namespace diffusion
