#include "data/cifar10_python.hpp"

#include <algorithm>
#include <string>
#include <string_view>

#include "io/files.hpp"
#include "tensor/check.hpp"

namespace diffusion {
namespace {

constexpr std::size_t kPicture = 3 * 32 * 32;
constexpr const char* kInstead = "; data/download.sh cifar10 fetches the binary version";

constexpr std::string_view kShortText = "UC\x8c", kText = "TBX", kLongText = "\x8e";

/// A word of a pickle: its code, and the bytes that belong to it.
struct Word {
    char code;
    std::string_view content;
};

/// The words of a pickle, one after the other; protocol 2 and later. How each is laid out is in
/// Python's pickletools.
class Pickle {
public:
    Pickle(std::string_view file, std::string where) : file_(file), where_(std::move(where)) {}

    /// False at the end.
    bool next(Word& word) {
        if (at_ >= file_.size()) return false;
        word = {file_[at_++], {}};
        const auto is = [&](std::string_view codes) { return codes.find(word.code) != codes.npos; };
        if (is("Kqh\x80")) {
            word.content = take(1);
        } else if (is("M")) {
            word.content = take(2);
        } else if (is("Jrj")) {
            word.content = take(4);
        } else if (is("\x95")) {
            word.content = take(8);
        } else if (is(kShortText)) {
            word.content = take(length(1));
        } else if (is(kText)) {
            word.content = take(length(4));
        } else if (is(kLongText)) {
            word.content = take(length(8));
        } else if (is("c")) {  // a name, in two lines
            for (int line = 0; line < 2; ++line) take(file_.find('\n', at_) + 1 - at_);
        } else {
            require(is("()}]aesutbRN.\x81\x85\x86\x87\x88\x89\x93\x94"), where_, ": byte ", at_ - 1,
                    ": not a batch of CIFAR-10 as Python keeps it", kInstead);
        }
        return true;
    }

private:
    std::string_view take(std::size_t count) {
        require(count <= file_.size() - at_, where_, ": ends at byte ", file_.size(),
                " inside a batch of CIFAR-10: it was cut short", kInstead);
        at_ += count;
        return file_.substr(at_ - count, count);
    }
    std::size_t length(std::size_t bytes) {
        const std::string_view text = take(bytes);
        std::size_t value = 0;
        for (std::size_t i = bytes; i-- > 0;)
            value = value << 8 | static_cast<unsigned char>(text[i]);
        return value;
    }

    std::string_view file_;
    std::string where_;
    std::size_t at_ = 0;
};

bool is_text(char code) {
    for (const std::string_view codes : {kShortText, kText, kLongText}) {
        if (codes.find(code) != codes.npos) return true;
    }
    return false;
}

}  // namespace

PythonBatch read_python_batch(const std::filesystem::path& path) {
    const std::vector<std::byte> file = read_file(path);
    Pickle pickle(as_text(file), path.string());
    PythonBatch batch;
    std::string_view entry;  // whose value is being read
    for (Word word{}; pickle.next(word);) {
        const bool text = is_text(word.code);
        if (text && entry == "data" && word.content.size() >= kPicture)
            batch.planes.assign(word.content.begin(), word.content.end());
        if (text && (entry != "data" || !batch.planes.empty())) entry = word.content;
        if (word.code == 'K' && entry == "labels")
            batch.labels.push_back(static_cast<std::uint8_t>(word.content.front()));
    }
    require(!batch.labels.empty() && batch.planes.size() == batch.labels.size() * kPicture,
            path.string(), ": ", batch.labels.size(), " labels and ", batch.planes.size(),
            " bytes of pictures, expected 3072 for each label", kInstead);
    return batch;
}

}  // namespace diffusion
