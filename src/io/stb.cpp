// The bodies of the stb single-file libraries. Formats that nobody needs are left out: each is one
// more parser that a damaged file could hurt, and TGA files cannot be told from noise. Animations
// are written by gif.cpp and not read.
#define STBI_NO_GIF
#define STBI_NO_HDR
#define STBI_NO_PIC
#define STBI_NO_PSD
#define STBI_NO_TGA
#define STBI_NO_STDIO
#define STBI_FAILURE_USERMSG  // reasons in words
#define STBI_MAX_DIMENSIONS 16384
#define STB_IMAGE_IMPLEMENTATION
#include <stb/stb_image.h>

#define STBI_WRITE_NO_STDIO
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb/stb_image_write.h>
