#pragma once
// ZIP archives made without the code under test, as numpy.savez writes them.
#include <zlib.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "support/file_checks.hpp"

namespace diffusion {

inline std::string deflated(std::string text) {
    z_stream z{};
    require(deflateInit2(&z, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) == Z_OK, "zlib starts");
    std::string packed(text.size() + 100, '\0');
    z.next_in = reinterpret_cast<Bytef*>(text.data());
    z.avail_in = static_cast<uInt>(text.size());
    z.next_out = reinterpret_cast<Bytef*>(packed.data());
    z.avail_out = static_cast<uInt>(packed.size());
    require(deflate(&z, Z_FINISH) == Z_STREAM_END, "zlib ends");
    packed.resize(z.total_out);
    deflateEnd(&z);
    return packed;
}

/// An archive of files (name and content), packed or stored.
inline std::string zip_of(const std::vector<std::pair<std::string, std::string>>& files,
                          bool pack) {
    using U16 = std::uint16_t;
    using U32 = std::uint32_t;
    std::string archive, directory;
    for (const auto& [name, content] : files) {
        const std::string data = pack ? deflated(content) : content;
        const auto checksum = static_cast<U32>(crc32(
            0, reinterpret_cast<const Bytef*>(content.data()), static_cast<uInt>(content.size())));
        const std::string common = bytes_of<U16>({20, 0, static_cast<U16>(pack ? 8 : 0), 0, 0x21}) +
                                   bytes_of<U32>({checksum});
        // As NumPy does: the sizes are in a field of their own here, and in the directory as usual.
        const std::string extra =
            bytes_of<U16>({1, 16}) + bytes_of<std::uint64_t>({content.size(), data.size()});
        directory +=
            bytes_of<U32>({0x02014b50}) + bytes_of<U16>({20}) + common +
            bytes_of<U32>({static_cast<U32>(data.size()), static_cast<U32>(content.size())}) +
            bytes_of<U16>({static_cast<U16>(name.size()), 0, 0, 0, 0}) +
            bytes_of<U32>({0, static_cast<U32>(archive.size())}) + name;
        archive += bytes_of<U32>({0x04034b50}) + common + bytes_of<U32>({0xffffffff, 0xffffffff}) +
                   bytes_of<U16>({static_cast<U16>(name.size()), static_cast<U16>(extra.size())}) +
                   name + extra + data;
    }
    const auto count = static_cast<U16>(files.size());
    return archive + directory + bytes_of<U32>({0x06054b50}) + bytes_of<U16>({0, 0, count, count}) +
           bytes_of<U32>({static_cast<U32>(directory.size()), static_cast<U32>(archive.size())}) +
           bytes_of<U16>({0});
}

}  // namespace diffusion
