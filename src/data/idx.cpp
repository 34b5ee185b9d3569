#include "data/idx.hpp"

#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>

#include "io/files.hpp"
#include "tensor/check.hpp"

namespace diffusion {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxBytes = std::size_t{1} << 31;  // forty times MNIST, and within int
constexpr std::size_t kChunk = std::size_t{1} << 22;     // unpacked at a time

/// The bytes of a file in order, unpacked when it is gzip. We drive inflate ourselves: zlib's own
/// gzread passes over bytes that follow the compressed stream without a word.
class ByteStream {
public:
    explicit ByteStream(const fs::path& path) : name_(path.string()) {
        std::error_code error;
        const auto size = fs::file_size(path, error);  // fails on folders, too
        require(!error, name_, ": ", error.message(), ", expected an IDX file");
        require(size > 0, name_, ": the file is empty, expected IDX data");
        require(size <= kMaxBytes, name_, ": the file has ", size, " bytes, at most ", kMaxBytes,
                " are accepted");
        file_ = read_file(path);
        gzip_ = starts_gzip(0);
        if (!gzip_) return;
        require(inflateInit2(&z_, 15 + 16) == Z_OK, name_, ": zlib does not start");  // 16: gzip
        z_.next_in = bytes();
        z_.avail_in = static_cast<uInt>(file_.size());
    }
    ~ByteStream() {
        if (gzip_) inflateEnd(&z_);
    }
    ByteStream(const ByteStream&) = delete;
    ByteStream& operator=(const ByteStream&) = delete;

    /// Up to n bytes; fewer only at the end.
    std::size_t read(std::uint8_t* out, std::size_t n) {
        if (gzip_) return unpack(out, n);
        n = std::min(n, file_.size() - used_);
        std::memcpy(out, file_.data() + used_, n);
        used_ += n;
        return n;
    }

    const std::string& name() const { return name_; }
    bool packed() const { return gzip_; }
    std::size_t left() const { return file_.size() - used_; }  // of a plain file

private:
    std::uint8_t* bytes() { return reinterpret_cast<std::uint8_t*>(file_.data()); }
    bool starts_gzip(std::size_t at) {
        return file_.size() >= at + 2 && bytes()[at] == 0x1f && bytes()[at + 1] == 0x8b;
    }

    std::size_t unpack(std::uint8_t* out, std::size_t n) {
        std::size_t done = 0;
        while (done < n && !ended_) {
            const std::size_t room = std::min(n - done, kChunk);
            z_.next_out = out + done;
            z_.avail_out = static_cast<uInt>(room);
            const int status = inflate(&z_, Z_NO_FLUSH);
            done += room - z_.avail_out;
            const std::size_t at = file_.size() - z_.avail_in;
            if (status == Z_STREAM_END) {  // checksum and length were right
                ended_ = z_.avail_in == 0;
                if (!ended_ && starts_gzip(at)) {  // streams may follow one another (RFC 1952)
                    inflateReset(&z_);
                } else {
                    require(ended_, name_, ": byte ", at, ": ", z_.avail_in,
                            " bytes follow the gzip data, expected the end of the file");
                }
            } else if (status == Z_BUF_ERROR) {
                fail(name_, ": byte ", at,
                     ": the file ends inside the gzip data; it was cut short, fetch it again");
            } else {
                require(status == Z_OK, name_, ": byte ", at, ": corrupt gzip data (",
                        z_.msg ? z_.msg : "no reason given", "); fetch the file again");
            }
        }
        return done;
    }

    std::string name_;
    std::vector<std::byte> file_;
    std::size_t used_ = 0;
    bool gzip_ = false, ended_ = false;
    z_stream z_{};
};

std::uint32_t big_endian(const std::uint8_t* p) {
    return (std::uint32_t{p[0]} << 24) | (std::uint32_t{p[1]} << 16) | (std::uint32_t{p[2]} << 8) |
           std::uint32_t{p[3]};
}

std::string join(std::span<const std::uint32_t> sizes) {
    std::string text;
    for (std::uint32_t size : sizes) text += (text.empty() ? "" : " x ") + std::to_string(size);
    return text;
}

/// Sizes of the array after the header, or one line that says why they cannot be.
std::vector<std::uint32_t> read_header(ByteStream& in, std::size_t min_rank, std::size_t max_rank,
                                       std::string_view expected) {
    std::uint8_t magic[4] = {};
    std::size_t got = in.read(magic, 4);
    require(got == 4, in.name(), ": ends at byte ", got, ", inside the IDX header");
    const std::size_t rank = magic[3];
    if (magic[0] != 0 || magic[1] != 0 || magic[2] != 8 || rank < min_rank || rank > max_rank) {
        std::ostringstream hex;
        hex << "0x" << std::hex;
        for (int byte : magic) hex << byte / 16 << byte % 16;
        const bool idx = magic[0] == 0 && magic[1] == 0 && magic[2] == 8;
        fail(in.name(), ": byte 0: magic number ", hex.str(), ", expected ", expected,
             !idx        ? "; this is not an IDX file of bytes"
             : rank == 1 ? "; this file holds labels"
             : rank == 3 ? "; this file holds images"
                         : "");
    }
    std::vector<std::uint8_t> header(4 * rank);
    got = in.read(header.data(), header.size());
    require(got == header.size(), in.name(), ": ends at byte ", 4 + got,
            ", inside the IDX header of ", 4 + header.size(), " bytes");
    std::vector<std::uint32_t> sizes(rank);
    for (std::size_t i = 0; i < rank; ++i) {
        sizes[i] = big_endian(header.data() + 4 * i);
        require(sizes[i] > 0, in.name(), ": byte ", 4 + 4 * i,
                ": a size of 0 in the header, expected at least 1");
    }
    return sizes;
}

IdxArray read_idx(const fs::path& path, std::size_t min_rank, std::size_t max_rank,
                  std::string_view expected) {
    ByteStream in(path);
    const std::vector<std::uint32_t> sizes = read_header(in, min_rank, max_rank, expected);
    const std::size_t header = 4 + 4 * sizes.size();
    std::size_t total = 1;
    for (std::uint32_t size : sizes) {
        require(size <= kMaxBytes / total, in.name(), ": byte 4: impossible sizes ", join(sizes),
                " in the header, at most ", kMaxBytes, " bytes are accepted");
        total *= size;
    }
    if (!in.packed()) {
        require(in.left() >= total, in.name(), ": the header promises ", join(sizes), " = ", total,
                " bytes after byte ", header, ", but the file has only ", in.left());
    }
    IdxArray array;
    array.shape.assign(sizes.begin(), sizes.end());
    while (array.bytes.size() < total) {  // grow with what is really there, whatever was promised
        const std::size_t begin = array.bytes.size(), wanted = std::min(kChunk, total - begin);
        array.bytes.resize(begin + wanted);
        const std::size_t got = in.read(array.bytes.data() + begin, wanted);
        require(got == wanted, in.name(), ": the header promises ", join(sizes), " = ", total,
                " bytes after byte ", header, ", but the unpacked data have only ", begin + got);
    }
    std::uint8_t extra = 0;  // asking for one byte more also makes gzip check its checksum
    require(in.read(&extra, 1) == 0, in.name(), ": byte ", header + total,
            ": data after the last of ", join(sizes), " bytes, expected the end of the file");
    return array;
}

}  // namespace

IdxArray read_idx_images(const fs::path& path) {
    return read_idx(path, 3, 4, "0x00000803 (images N x H x W) or 0x00000804 (N x H x W x C)");
}

std::vector<std::uint8_t> read_idx_labels(const fs::path& path) {
    return read_idx(path, 1, 1, "0x00000801 (labels)").bytes;
}

void write_idx(const fs::path& path, std::span<const int> shape,
               std::span<const std::uint8_t> bytes) {
    require(!shape.empty() && shape.size() <= 4, path.string(), ": an IDX file of ", shape.size(),
            " sizes, expected 1 to 4");
    std::vector<std::uint8_t> file{0, 0, 8, static_cast<std::uint8_t>(shape.size())};
    std::size_t total = 1;
    for (int size : shape) {
        require(size > 0, path.string(), ": an IDX size of ", size, ", expected at least 1");
        for (int shift = 24; shift >= 0; shift -= 8) {
            file.push_back(static_cast<std::uint8_t>((size >> shift) & 255));
        }
        if (total <= bytes.size()) total *= static_cast<std::size_t>(size);  // or it might overflow
    }
    require(total == bytes.size(), path.string(), ": the sizes ask for ", total,
            " bytes, there are ", bytes.size());
    file.insert(file.end(), bytes.begin(), bytes.end());
    write_file_atomically(path, std::as_bytes(std::span(file)));
}

}  // namespace diffusion
