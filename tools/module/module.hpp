#pragma once
// The classes that a folder may hold. A chapter that adds one gives it a file here and a line in
// module.cpp.
#include "io/config.hpp"
#include "module/inputs.hpp"

namespace diffusion {

struct Module {
    const char* name;  ///< as _class_name or architectures has it

    /// The network of the folder, on these inputs.
    Outputs (*run)(const Config&, const std::filesystem::path& folder, Inputs&);

    /// Writes the folder into another one, in float32 and with today's names.
    void (*copy)(const Config&, const std::filesystem::path& folder,
                 const std::filesystem::path& to);
};

extern const Module kUNet2D, kAutoencoder, kTiny, kTextUNet, kClipText, kClip, kT5;

}  // namespace diffusion
