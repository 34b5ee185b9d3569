#include "module/inputs.hpp"

#include <algorithm>

#include "tensor/finite.hpp"
#include "tensor/shape_text.hpp"

namespace diffusion {

bool Inputs::has(const std::string& name) {
    asked_.push_back(name);
    return file_.find(name) != nullptr;
}

NamedArray Inputs::floats(const std::string& name, const std::vector<int>& shape) {
    const StoredTensor& tensor = get(name, shape);
    NamedArray array{name, tensor.shape, std::vector<float>(tensor.count)};
    file_.read<float>(tensor, 0, array.values);
    require(all_finite<float>(array.values), file_.place_of(tensor),
            ": holds a number that is not finite");
    return array;
}

std::vector<int> Inputs::whole(const std::string& name, const std::vector<int>& shape, int below) {
    const StoredTensor& tensor = get(name, shape);
    std::vector<std::int64_t> values(tensor.count);
    file_.read<std::int64_t>(tensor, 0, values);
    const auto odd =
        std::ranges::find_if(values, [&](std::int64_t v) { return v < 0 || v >= below; });
    require(odd == values.end(), file_.place_of(tensor), ": holds ", odd == values.end() ? 0 : *odd,
            ", expected 0 to ", below - 1);
    return {values.begin(), values.end()};
}

void Inputs::done() const {
    for (const StoredTensor& tensor : file_.tensors())
        require(std::ranges::find(asked_, tensor.name) != asked_.end(), file_.place_of(tensor),
                ": the module takes no such input, it takes ", listed());
}

const StoredTensor& Inputs::get(const std::string& name, const std::vector<int>& shape) {
    if (std::ranges::find(asked_, name) == asked_.end()) asked_.push_back(name);
    const StoredTensor* tensor = file_.find(name);
    require(tensor != nullptr, file_.path().string(), ": the input ", name, " is missing");
    bool fits = tensor->shape.size() == shape.size();
    for (std::size_t i = 0; fits && i < shape.size(); ++i)
        fits = tensor->shape[i] > 0 && (shape[i] == 0 || tensor->shape[i] == shape[i]);
    std::string wanted;
    for (const int size : shape)
        wanted += (wanted.empty() ? "" : ",") + (size == 0 ? "?" : std::to_string(size));
    require(fits, file_.place_of(*tensor), ": has shape ", shape_text(tensor->shape),
            ", expected [", wanted, "]");
    return *tensor;
}

std::string Inputs::listed() const {
    std::string all;
    for (const std::string& name : asked_) all += (all.empty() ? "" : ", ") + name;
    return all;
}

Tensor<float> channels_last(const NamedArray& x, Arena& arena) {
    const Tensor<float> y = arena.make<float>({x.shape[0], x.shape[2], x.shape[3], x.shape[1]});
    const float* from = x.values.data();
    for (int n = 0; n < y.size(0); ++n)
        for (int c = 0; c < y.size(3); ++c)
            for (int h = 0; h < y.size(1); ++h)
                for (int w = 0; w < y.size(2); ++w) y(n, h, w, c) = *from++;
    return y;
}

NamedArray channels_first(const std::string& name, Tensor<const float> x) {
    NamedArray y{name, {x.size(0), x.size(3), x.size(1), x.size(2)}, {}};
    for (int n = 0; n < x.size(0); ++n)
        for (int c = 0; c < x.size(3); ++c)
            for (int h = 0; h < x.size(1); ++h)
                for (int w = 0; w < x.size(2); ++w) y.values.push_back(x(n, h, w, c));
    return y;
}

}  // namespace diffusion
