#pragma once
// Data sets as other programs keep them, which are not read here but can be named.
#include <filesystem>
#include <string>

namespace diffusion {

/// "; it holds CIFAR-10's Matlab version (cifar-10-batches-mat): ..." with what can be done about
/// it, where a folder holds one of those; else nothing.
std::string known_form_in(const std::filesystem::path& folder);

/// What lies in a folder that is not as we expect it: one of those, or its first names.
std::string what_lies_in(const std::filesystem::path& folder);

}  // namespace diffusion
