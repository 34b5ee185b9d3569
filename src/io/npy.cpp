#include "io/npy.hpp"

#include <algorithm>
#include <bit>
#include <cctype>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "io/files.hpp"
#include "io/json.hpp"
#include "io/zip.hpp"

namespace diffusion {
namespace {

namespace fs = std::filesystem;
static_assert(std::endian::native == std::endian::little,
              "arrays are copied as they lie in memory");

constexpr std::string_view kMagic = "\x93NUMPY";

struct Header {
    std::optional<std::string> dtype;
    std::optional<bool> fortran_order;
    std::optional<std::vector<int>> shape;
};

/// Reads the header, a Python dictionary such as {'descr': '<f4', 'fortran_order': False, 'shape':
/// (2, 3), }.
class HeaderReader {
public:
    HeaderReader(std::string_view text, std::string where)
        : rest_(text), where_(std::move(where)) {}

    Header read() {
        Header header;
        expect('{');
        while (!accept('}')) {
            const std::string key = string();
            expect(':');
            if (key == "descr") {
                require(peek() != '[', where_, ": a structured array; save one field of it");
                header.dtype = string();
            } else if (key == "fortran_order") {
                header.fortran_order = boolean();
            } else if (key == "shape") {
                header.shape = tuple();
            } else {
                fail(where_, ": unknown key ", in_quotes(key));
            }
            if (peek() != '}') expect(',');
        }
        require(peek() == '\0', where_, ": text after the dictionary");
        require(header.dtype && header.fortran_order && header.shape, where_,
                ": 'descr', 'fortran_order' or 'shape' is missing");
        return header;
    }

private:
    /// The next character that is not white space, or 0 at the end.
    char peek() {
        while (!rest_.empty() && std::isspace(static_cast<unsigned char>(rest_.front()))) {
            rest_.remove_prefix(1);
        }
        return rest_.empty() ? '\0' : rest_.front();
    }
    bool accept(char c) {
        if (peek() != c) return false;
        rest_.remove_prefix(1);
        return true;
    }
    void expect(char c) {
        require(accept(c), where_, ": expected '", c, "' before ", in_quotes(rest_.substr(0, 20)));
    }
    std::string string() {
        const char quote = peek() == '"' ? '"' : '\'';
        expect(quote);
        const std::size_t length = rest_.find(quote);
        require(length != std::string_view::npos, where_, ": a string does not end");
        const std::string value(rest_.substr(0, length));
        rest_.remove_prefix(length + 1);
        return value;
    }
    bool boolean() {
        peek();
        const bool value = rest_.starts_with("True");
        require(value || rest_.starts_with("False"), where_, ": expected True or False before ",
                in_quotes(rest_.substr(0, 20)));
        rest_.remove_prefix(value ? 4 : 5);
        return value;
    }
    std::vector<int> tuple() {
        std::vector<int> sizes;
        expect('(');
        while (!accept(')')) {
            peek();
            int size = -1;
            const auto [end, error] =
                std::from_chars(rest_.data(), rest_.data() + rest_.size(), size);
            require(error == std::errc() && size >= 0, where_,
                    ": expected a size from 0 to 2147483647 before ",
                    in_quotes(rest_.substr(0, 20)));
            rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
            sizes.push_back(size);
            if (peek() != ')') expect(',');
        }
        return sizes;
    }

    std::string_view rest_;
    std::string where_;
};

/// Splits a file into its header text and its data.
std::string_view split_header(std::string_view file, const std::string& where,
                              std::string_view& data) {
    require(file.starts_with(kMagic) && file.size() >= 12, where,
            ": not a .npy file: it does not start with \\x93NUMPY");
    const int version = static_cast<unsigned char>(file[6]);
    require(version >= 1 && version <= 3, where, ": .npy version ", version,
            " is unknown; versions 1 to 3 can be read");
    std::uint32_t length = 0;  // 2 bytes in version 1, 4 bytes since
    const std::size_t width = version == 1 ? 2 : 4;
    std::memcpy(&length, file.data() + 8, width);
    file.remove_prefix(8 + width);
    require(length <= file.size(), where, ": the header should have ", length, " bytes, but only ",
            file.size(), " follow: the file is truncated");
    data = file.substr(length);
    return file.substr(0, length);
}

template <class T>
void convert(std::string_view data, std::vector<float>& values) {
    for (std::size_t i = 0; i < values.size(); ++i) {
        T value;
        std::memcpy(&value, data.data() + i * sizeof(T), sizeof(T));
        values[i] = static_cast<float>(value);
    }
}

/// How many numbers of `width` bytes the shape asks for. Fails unless `bytes` bytes are just
/// enough.
std::size_t count_of(const std::vector<int>& shape, std::size_t width, std::size_t bytes,
                     const std::string& where) {
    std::size_t count = std::ranges::find(shape, 0) == shape.end() ? 1 : 0;
    for (int size : shape) {
        if (count == 0) break;
        require(static_cast<std::size_t>(size) <= bytes / width / count, where,
                ": truncated: the shape asks for more than the ", bytes,
                " bytes of data that follow");
        count *= static_cast<std::size_t>(size);
    }
    require(count * width == bytes, where, ": the shape asks for ", count * width,
            " bytes of data, but ", bytes, " follow");
    return count;
}

/// An array from the text of an .npy file.
NpyArray parse(std::string_view file, const std::string& where) {
    std::string_view data;
    const std::string_view text = split_header(file, where, data);
    const Header header = HeaderReader(text, where + ": header").read();
    const std::string& dtype = *header.dtype;
    require(dtype == "<f4" || dtype == "<f8" || dtype == "|u1", where, ": dtype ", in_quotes(dtype),
            " cannot be read; save it with x.astype('<f4')");
    require(!*header.fortran_order, where,
            ": Fortran order cannot be read; save it with numpy.ascontiguousarray(x)");
    const auto width = static_cast<std::size_t>(dtype[2] - '0');
    NpyArray array{*header.shape, {}, dtype == "|u1"};
    array.values.resize(count_of(array.shape, width, data.size(), where));
    if (dtype == "<f4") convert<float>(data, array.values);
    if (dtype == "<f8") convert<double>(data, array.values);
    if (dtype == "|u1") convert<std::uint8_t>(data, array.values);
    return array;
}

}  // namespace

void write_npy(const fs::path& path, Tensor<const float> x) {
    std::string sizes;
    for (int i = 0; i < x.rank(); ++i) sizes += (i > 0 ? ", " : "") + std::to_string(x.size(i));
    if (x.rank() == 1) sizes += ',';  // Python reads (3) as a number, (3,) as a tuple
    std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + sizes + "), }";
    header.append(63 - (10 + header.size()) % 64, ' ');  // the data begin at a multiple of 64
    header += '\n';

    std::string file(kMagic);
    file += {'\x01', '\x00', static_cast<char>(header.size() % 256),
             static_cast<char>(header.size() / 256)};
    file += header;
    file += as_text(std::as_bytes(x.flat()));
    write_file_atomically(path, std::as_bytes(std::span(file)));
}

NpyArray read_npy(const fs::path& path) {
    const std::vector<std::byte> file = read_file(path);
    return parse(as_text(file), path.string());
}

NpyArray read_npz(const fs::path& path) {
    const ZipFile archive(path);
    const std::vector<std::string> names = archive.names();
    const bool has_first = std::ranges::find(names, "arr_0.npy") != names.end();
    constexpr std::size_t kShown = 8;
    std::string some;
    for (std::size_t i = 0; i < std::min(names.size(), kShown); ++i)
        some += (some.empty() ? "" : ", ") + in_quotes(names[i]);
    if (names.size() > kShown) some += " and " + std::to_string(names.size() - kShown) + " more";
    require(has_first || names.size() == 1, path.string(), ": holds ",
            some.empty() ? "nothing" : some,
            ", expected arr_0.npy, or one array only; save it with numpy.savez(file, x)");
    const std::string name = has_first ? "arr_0.npy" : names.front();
    return parse(as_text(archive.read(name)), path.string() + ": " + in_quotes(name));
}

bool NpyArray::has_channels_first() const {
    const auto is_channels = [](int size) { return size == 1 || size == 3; };
    return shape.size() == 4 && is_channels(shape[1]) && !is_channels(shape[3]);
}

}  // namespace diffusion
