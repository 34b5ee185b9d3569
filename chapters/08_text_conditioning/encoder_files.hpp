#pragma once
// Text encoders in the folders of the library transformers: CLIPTextModel, CLIPModel and
// T5EncoderModel, config.json and weights.
#include <filesystem>
#include <nlohmann/json.hpp>

#include "08_text_conditioning/clip.hpp"
#include "08_text_conditioning/t5.hpp"
#include "io/config.hpp"
#include "tensor/array.hpp"

namespace diffusion {

inline constexpr const char *kClipTextModel = "CLIPTextModel", *kClipModel = "CLIPModel",
                            *kT5EncoderModel = "T5EncoderModel";
/// What the file of weights in a folder of transformers is called, but for its ending.
inline constexpr const char* kTransformersWeights = "model";

struct ClipSettings {
    ClipTextConfig text;
    ClipVisionConfig vision;
    int width = 64;  ///< of the common space [projection_dim]
};

// The settings. Each fails, naming it, on one that the encoder does not have.
ClipTextConfig read_clip_text_config(const Config& file);
ClipSettings read_clip_config(const Config& file);
T5Config read_t5_config(const Config& file);

// The other way.
nlohmann::json clip_text_json(const ClipTextConfig& config);
nlohmann::json clip_json(const ClipSettings& settings);
nlohmann::json t5_json(const T5Config& config);

/// Weights from a folder. Of a CLIPTextModel the names may begin with "text_model.", as older
/// versions wrote them, and of a T5EncoderModel the table of tokens may be there under either name
/// or both.
Array<float> load_clip_text(const ParameterList& list, const std::filesystem::path& folder);
Array<float> load_clip(const ParameterList& list, const std::filesystem::path& folder);
Array<float> load_t5(const ParameterList& list, const std::filesystem::path& folder);

/// Settings and weights into a folder.
void save_encoder(const std::filesystem::path& folder, const nlohmann::json& config,
                  const ParameterList& list, std::span<const float> values);

}  // namespace diffusion
