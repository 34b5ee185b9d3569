#pragma once
// Byte-pair encoding (Gage 1994; Sennrich, Haddow, Birch 2015, arXiv:1508.07909): a text becomes
// symbols, frequent pairs of which were made one symbol, again and again.
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace diffusion {

/// The printable character that stands for each byte in files of merges and vocabularies, as UTF-8:
/// itself for those that can be printed, and for the others the characters from U+0100 on (Radford
/// et al. 2019). So every text is made of 256 symbols, and none is unknown.
const std::vector<std::string>& byte_symbols();
/// The bytes of a text in byte symbols. Fails, naming it, on a character that stands for no byte.
std::string bytes_of_symbols(std::string_view symbols);

/// Bytes in the order in which vocabularies have their symbols.
const std::vector<unsigned char>& bytes_in_order();

/// Pairs of symbols that become one, the earlier the more frequent they were.
class BytePairs {
public:
    using Pair = std::pair<std::string, std::string>;

    BytePairs() = default;
    /// Fails if a pair is there twice.
    explicit BytePairs(std::vector<Pair> merges);

    /// (8.1) Learns up to `count` merges from words, given as their first symbols, and how often
    /// each occurs. Of pairs that are equally frequent the alphabetically first is taken. Ends
    /// early if no pair occurs twice.
    static BytePairs learn(std::vector<std::pair<std::vector<std::string>, std::int64_t>> words,
                           int count);

    /// (8.2) The symbols of a word after all merges: the earliest one that applies is made
    /// everywhere in the word, until none applies.
    std::vector<std::string> merge(std::vector<std::string> symbols) const;

    const std::vector<Pair>& merges() const { return merges_; }

private:
    std::vector<Pair> merges_;
    std::map<Pair, int> rank_;
};

}  // namespace diffusion
