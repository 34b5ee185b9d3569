#pragma once
// Emoji as things to put on a canvas.
#include <filesystem>
#include <string>

#include "data/sprites.hpp"

namespace diffusion {

/// Height of an emoji in memory, in pixels: a little more than it has on a canvas.
inline constexpr int kEmojiHeight = 32;

/// The pictures of a folder with captions (captions.hpp), of which those of data/emoji.sh are
/// meant: each is cropped to what is not transparent, reduced to kEmojiHeight, and called what its
/// caption says. Fails, naming the file, on pictures without captions and on one that is all
/// transparent.
SpriteSet emoji_sprites(const std::filesystem::path& folder);

/// The folder that data/emoji.sh filled: one of data_places (find.hpp), or its subfolder emoji.
/// Fails, saying how to get one, where there is none.
std::filesystem::path find_emoji(const std::string& data_dir);

}  // namespace diffusion
