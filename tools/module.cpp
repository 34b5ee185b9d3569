// Runs the network that a folder holds on given inputs, so that other libraries can be compared
// with this one, number by number:
//
//   module --model FOLDER --inputs in.safetensors --out out.safetensors
//   module --model FOLDER --save OTHER       writes it as this book's programs write theirs
//
// Inputs and outputs have the names and layouts of the peers: pictures [N,C,H,W], whole numbers as
// I64.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <numeric>

#include "02_gradients/tape.hpp"
#include "04_unet/unet_file.hpp"
#include "app/app.hpp"
#include "app/ranges.hpp"
#include "io/json.hpp"
#include "io/safetensors.hpp"
#include "kernels/threads.hpp"
#include "tensor/finite.hpp"
#include "tensor/shape_text.hpp"

namespace diffusion {
namespace {

/// The tensors of the inputs' file. Every Error names the file and the tensor.
class Inputs {
public:
    explicit Inputs(const std::filesystem::path& path) : file_(path) {}

    /// As floats. `shape`: the sizes that it must have, 0 for any.
    NamedArray floats(const std::string& name, const std::vector<int>& shape) {
        const StoredTensor& tensor = get(name, shape);
        NamedArray array{name, tensor.shape, std::vector<float>(tensor.count)};
        file_.read<float>(tensor, 0, array.values);
        require(all_finite<float>(array.values), file_.place_of(tensor),
                ": holds a number that is not finite");
        return array;
    }
    /// Whole numbers from 0 to `below` - 1.
    std::vector<int> whole(const std::string& name, const std::vector<int>& shape, int below) {
        const StoredTensor& tensor = get(name, shape);
        std::vector<std::int64_t> values(tensor.count);
        file_.read<std::int64_t>(tensor, 0, values);
        const auto odd =
            std::ranges::find_if(values, [&](std::int64_t v) { return v < 0 || v >= below; });
        require(odd == values.end(), file_.place_of(tensor), ": holds ",
                odd == values.end() ? 0 : *odd, ", expected 0 to ", below - 1);
        return {values.begin(), values.end()};
    }
    /// Fails, naming it, if the file holds a tensor that was not asked for.
    void done() const {
        for (const StoredTensor& tensor : file_.tensors())
            require(std::ranges::find(asked_, tensor.name) != asked_.end(), file_.place_of(tensor),
                    ": the module takes no such input, it takes ", listed());
    }

private:
    const StoredTensor& get(const std::string& name, const std::vector<int>& shape) {
        asked_.push_back(name);
        const StoredTensor* tensor = file_.find(name);
        require(tensor != nullptr, file_.path().string(), ": the input ", name, " is missing");
        bool fits = tensor->shape.size() == shape.size();
        for (std::size_t i = 0; fits && i < shape.size(); ++i)
            fits = tensor->shape[i] > 0 && (shape[i] == 0 || tensor->shape[i] == shape[i]);
        require(fits, file_.place_of(*tensor), ": has shape ", shape_text(tensor->shape),
                ", expected ", shape_text(shape), ", where 0 is any size");
        return *tensor;
    }
    std::string listed() const {
        std::string all;
        for (const std::string& name : asked_) all += (all.empty() ? "" : ", ") + name;
        return all;
    }

    SafetensorsFile file_;
    std::vector<std::string> asked_;
};

/// [N,C,H,W] to [N,H,W,C].
Tensor<float> channels_last(const NamedArray& x, Arena& arena) {
    const Tensor<float> y = arena.make<float>({x.shape[0], x.shape[2], x.shape[3], x.shape[1]});
    const float* from = x.values.data();
    for (int n = 0; n < y.size(0); ++n)
        for (int c = 0; c < y.size(3); ++c)
            for (int h = 0; h < y.size(1); ++h)
                for (int w = 0; w < y.size(2); ++w) y(n, h, w, c) = *from++;
    return y;
}

/// [N,H,W,C] to [N,C,H,W].
NamedArray channels_first(const std::string& name, Tensor<const float> x) {
    NamedArray y{name, {x.size(0), x.size(3), x.size(1), x.size(2)}, {}};
    for (int n = 0; n < x.size(0); ++n)
        for (int c = 0; c < x.size(3); ++c)
            for (int h = 0; h < x.size(1); ++h)
                for (int w = 0; w < x.size(2); ++w) y.values.push_back(x(n, h, w, c));
    return y;
}

using Outputs = std::vector<NamedArray>;

Array<float> read_unet(const ParameterList& parameters, const std::filesystem::path& folder) {
    return parameters.from_file<float>(SafetensorsFile(find_weights(folder, kWeightsName)),
                                       unet_loading());
}

/// sample [N,C,H,W], timestep [N], class_labels [N] where there are classes, to sample.
Outputs run_unet(const Config& config, const std::filesystem::path& folder, Inputs& inputs) {
    const UNetConfig settings = read_unet_config(config);
    const NamedArray sample = inputs.floats("sample", {0, settings.in_channels, 0, 0});
    const int n = sample.shape[0];
    const NamedArray times = inputs.floats("timestep", {n});
    const std::vector<int> labels = settings.classes > 0
                                        ? inputs.whole("class_labels", {n}, settings.classes)
                                        : std::vector<int>();
    inputs.done();
    ParameterList parameters;
    const UNet unet(parameters, "", settings);
    Array<float> values = read_unet(parameters, folder);
    Arena arena;
    Tape<float> tape(arena);
    tape.bind(values.data());
    Condition<float> condition;
    condition.labels = labels;
    const Var<float> x = tape.constant(channels_last(sample, arena));
    return {channels_first("sample", unet(x, times.values, condition).value())};
}

/// Writes the UNet into another folder, in float32 and with today's names.
void copy_unet(const Config& config, const std::filesystem::path& folder,
               const std::filesystem::path& to) {
    const UNetConfig settings = read_unet_config(config);
    ParameterList parameters;
    const UNet unet(parameters, "", settings);
    const Array<float> values = read_unet(parameters, folder);
    std::filesystem::create_directories(to);
    write_json(to / kConfigFile, unet_config_json(settings));
    write_safetensors(to / (std::string(kWeightsName) + ".safetensors"),
                      {parameters.to_arrays<float>(values), {{"format", "pt"}}});
}

/// The classes that a folder may hold. A chapter adds its own here.
struct Module {
    const char* name;
    Outputs (*run)(const Config&, const std::filesystem::path& folder, Inputs&);
    void (*copy)(const Config&, const std::filesystem::path& folder,
                 const std::filesystem::path& to);
};
constexpr Module kModules[] = {{kUNet2DModel, run_unet, copy_unet}};

const Module& module_named(const std::string& name, const std::filesystem::path& file) {
    std::string all;
    for (const Module& each : kModules) {
        if (name == each.name) return each;
        all += (all.empty() ? "" : ", ") + std::string(each.name);
    }
    fail(file.string(), ": the class ", in_quotes(name), " is not known here; known are ", all);
}

}  // namespace
}  // namespace diffusion

int main(int argc, char** argv) {
    using namespace diffusion;
    std::filesystem::path model, in, out, copy;
    int threads = 0;
    CLI::App app("Runs the network that a folder holds on given inputs.", "module");
    app.add_option("--model", model, "folder with config.json and weights, as diffusers writes it")
        ->required();
    CLI::Option* inputs =
        app.add_option("--inputs", in, "a safetensors file with the inputs, named as in the peer");
    CLI::Option* outputs = app.add_option("--out", out, "the safetensors file to write");
    app.add_option("--save", copy, "instead: a folder to write the model into, in float32")
        ->excludes(inputs)
        ->excludes(outputs);
    app.add_option("--threads", threads, "0: all cores")
        ->capture_default_str()
        ->transform(at_least(0));
    return run_app(app, argc, argv, [&] {
        require(!copy.empty() || (!in.empty() && !out.empty()),
                "give --inputs and --out, or --save");
        pick_threads(threads);
        std::error_code ignored;  // what is not there is no input
        require(!std::filesystem::equivalent(in, out, ignored) &&
                    !std::filesystem::equivalent(model, copy, ignored),
                "--out or --save would replace what is read");
        require(!std::filesystem::exists(model / "model_index.json") ||
                    std::filesystem::exists(model / kConfigFile),
                model.string(), ": a pipeline; name one of its parts, such as ",
                (model / "unet").string());
        const Config config(model / kConfigFile);
        const Module& module = module_named(config.class_name(), config.path());
        if (copy.empty()) {
            Inputs given(in);
            write_safetensors(out, {module.run(config, model, given), {}});
        } else {
            module.copy(config, model, copy);
        }
        std::printf("%s: %s\n", module.name, (copy.empty() ? out : copy).string().c_str());
    });
}
