#include "08_text_conditioning/byte_pairs.hpp"

#include <algorithm>
#include <limits>

#include "tensor/check.hpp"

namespace diffusion {
namespace {

/// A character up to U+07FF.
std::string as_utf8(int code) {
    if (code < 0x80) return {static_cast<char>(code)};
    return {static_cast<char>(0xc0 | code >> 6), static_cast<char>(0x80 | (code & 0x3f))};
}

bool is_printable(int byte) {
    return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

/// Makes the pair one symbol wherever it stands, from left to right.
void join(std::vector<std::string>& symbols, const BytePairs::Pair& pair) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < symbols.size(); ++kept) {
        const bool here =
            i + 1 < symbols.size() && symbols[i] == pair.first && symbols[i + 1] == pair.second;
        std::string symbol = here ? pair.first + pair.second : std::move(symbols[i]);
        i += here ? 2 : 1;
        symbols[kept] = std::move(symbol);
    }
    symbols.resize(kept);
}

}  // namespace

const std::vector<std::string>& byte_symbols() {
    static const std::vector<std::string> symbols = [] {
        std::vector<std::string> all;
        int next = 256;
        for (int byte = 0; byte < 256; ++byte)
            all.push_back(as_utf8(is_printable(byte) ? byte : next++));
        return all;
    }();
    return symbols;
}

const std::vector<unsigned char>& bytes_in_order() {
    static const std::vector<unsigned char> bytes = [] {
        std::vector<unsigned char> all;
        for (const bool printable : {true, false})
            for (int byte = 0; byte < 256; ++byte)
                if (is_printable(byte) == printable)
                    all.push_back(static_cast<unsigned char>(byte));
        return all;
    }();
    return bytes;
}

std::string bytes_of_symbols(std::string_view symbols) {
    static const std::map<std::string, char> byte_of = [] {
        std::map<std::string, char> all;
        for (std::size_t byte = 0; byte < 256; ++byte)
            all[byte_symbols()[byte]] = static_cast<char>(byte);
        return all;
    }();
    std::string bytes;
    for (std::size_t i = 0; i < symbols.size();) {
        const auto lead = static_cast<unsigned char>(symbols[i]);
        const std::string symbol(symbols.substr(i, lead < 0xc0   ? 1
                                                   : lead < 0xe0 ? 2
                                                   : lead < 0xf0 ? 3
                                                                 : 4));
        const auto at = byte_of.find(symbol);
        require(at != byte_of.end(), "byte pairs: ", symbol, " stands for no byte");
        bytes += at->second;
        i += symbol.size();
    }
    return bytes;
}

BytePairs::BytePairs(std::vector<Pair> merges) : merges_(std::move(merges)) {
    for (std::size_t i = 0; i < merges_.size(); ++i)
        require(rank_.emplace(merges_[i], static_cast<int>(i)).second,
                "byte pairs: ", merges_[i].first, " ", merges_[i].second, " are merged twice");
}

BytePairs BytePairs::learn(std::vector<std::pair<std::vector<std::string>, std::int64_t>> words,
                           int count) {
    std::vector<Pair> merges;
    while (std::ssize(merges) < count) {
        std::map<Pair, std::int64_t> found;  // in alphabetical order
        for (const auto& [symbols, times] : words)
            for (std::size_t i = 0; i + 1 < symbols.size(); ++i)
                found[{symbols[i], symbols[i + 1]}] += times;
        const auto most = std::ranges::max_element(
            found, {}, [](const auto& pair) { return pair.second; });  // (8.1); the first of equals
        if (most == found.end() || most->second < 2) break;
        merges.push_back(most->first);
        for (auto& word : words) join(word.first, merges.back());
    }
    return BytePairs(std::move(merges));
}

std::vector<std::string> BytePairs::merge(std::vector<std::string> symbols) const {
    for (;;) {
        auto first = rank_.end();
        for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
            const auto at = rank_.find({symbols[i], symbols[i + 1]});
            if (at != rank_.end() && (first == rank_.end() || at->second < first->second))
                first = at;
        }
        if (first == rank_.end()) return symbols;
        join(symbols, first->first);  // (8.2)
    }
}

}  // namespace diffusion
