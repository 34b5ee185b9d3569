#pragma once
// CLIP's tokenizer (Radford et al. 2021, arXiv:2103.00020): lower case, words, byte pairs.
#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "08_text_conditioning/byte_pairs.hpp"

namespace diffusion {

/// A text as a network reads it.
struct Tokens {
    std::vector<int> ids;             ///< of a fixed length
    std::vector<unsigned char> keep;  ///< 0 where an id is padding
    std::string cut;                  ///< the end of the text that found no room
};

/// Texts become ids of symbols. A word ends with a symbol that says so, "</w>"; what a word is and
/// which spaces and capitals are lost is the same for any merges:
/// - runs of white space are one space, which only separates; A to Z become small letters;
/// - 's, 't, 're, 've, 'm, 'll and 'd stand alone, so does every digit; other words are runs of
///   letters, or runs of what is neither letter, digit nor space. Bytes above 127 count as letters.
/// The vocabulary is the 256 byte symbols, the same with "</w>", the merges in their order, and at
/// last the two marks where a text begins and ends. For ASCII this is what the original and the
/// library transformers do; they differ from each other, and from this, on other text: they lower
/// other capitals, and tell letters from marks there.
class ClipTokenizer {
public:
    explicit ClipTokenizer(BytePairs pairs);
    /// From a folder with merges.txt, or such a file. If vocab.json lies beside it, the ids must be
    /// its. Errors name the file and the line.
    static ClipTokenizer load(const std::filesystem::path& path);
    /// merges.txt, vocab.json and what else the library needs to open it as a CLIPTokenizer;
    /// `length`: the most tokens of a text.
    void save(const std::filesystem::path& folder, int length) const;
    /// (8.1) Learns from texts a vocabulary of at most so many ids, 514 or more.
    static ClipTokenizer learn(const std::vector<std::string>& texts, int vocabulary);

    /// The ids of a text, without marks.
    std::vector<int> encode(std::string_view text) const;
    /// The begin mark, the text, the end mark, and then `padding` up to the length; -1: more end
    /// marks. Of a text that is too long the end mark stays.
    Tokens tokens(std::string_view text, int length, int padding = -1) const;
    /// The text of some ids: words with single spaces between. Marks are left out. Fails on an id
    /// that is none.
    std::string decode(const std::vector<int>& ids) const;

    int vocabulary() const { return static_cast<int>(symbols_.size()); }
    int begin() const { return vocabulary() - 2; }
    int end() const { return vocabulary() - 1; }
    const std::string& symbol(int id) const;

private:
    BytePairs pairs_;
    std::vector<std::string> symbols_;
    std::unordered_map<std::string, int> ids_;
};

/// The words of a text by the rules above, each as its bytes.
std::vector<std::string> clip_words(std::string_view text);

}  // namespace diffusion
