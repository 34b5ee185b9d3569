#include "08_text_conditioning/clip_tokenizer.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <span>
#include <sstream>
#include <utility>

#include "io/files.hpp"
#include "io/json.hpp"
#include "tensor/check.hpp"

namespace diffusion {
namespace {

namespace fs = std::filesystem;

constexpr const char *kEndOfWord = "</w>", *kBegin = "<|startoftext|>", *kEnd = "<|endoftext|>",
                     *kMerges = "merges.txt", *kVocabulary = "vocab.json";

bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}
bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || static_cast<unsigned char>(c) >= 128;
}
bool is_other(char c) {
    return !is_space(c) && !is_digit(c) && !is_letter(c);
}

/// How long the contraction at the front of the text is, or 0.
std::size_t contraction(std::string_view text) {
    static constexpr std::array<std::string_view, 7> kAll = {"'s", "'t",  "'re", "'ve",
                                                             "'m", "'ll", "'d"};
    for (const std::string_view each : kAll)
        if (text.starts_with(each)) return each.size();
    return 0;
}

/// A word's bytes as symbols, the last one with the mark.
std::vector<std::string> first_symbols(std::string_view word) {
    std::vector<std::string> symbols;
    for (const char c : word) symbols.push_back(byte_symbols()[static_cast<unsigned char>(c)]);
    symbols.back() += kEndOfWord;
    return symbols;
}

BytePairs read_merges(const fs::path& path) {
    const std::vector<std::byte> bytes = read_file(path);
    std::istringstream lines{std::string(as_text(bytes))};
    std::vector<BytePairs::Pair> merges;
    int number = 0;
    for (std::string line; std::getline(lines, line);) {
        ++number;
        if (line.ends_with('\r')) line.pop_back();
        if (line.empty() || (number == 1 && line.starts_with("#version"))) continue;
        const std::size_t space = line.find(' ');
        require(space != std::string::npos && space > 0 && space + 1 < line.size() &&
                    line.find(' ', space + 1) == std::string::npos,
                path.string(), ", line ", number, ": found ", in_quotes(line),
                ", expected two symbols with a space between");
        merges.emplace_back(line.substr(0, space), line.substr(space + 1));
    }
    require(!merges.empty(), path.string(), ": holds no merges");
    try {
        return BytePairs(std::move(merges));
    } catch (const Error& error) {
        fail(path.string(), ": ", error.what());
    }
}

}  // namespace

std::vector<std::string> clip_words(std::string_view text) {
    std::string small(text);
    for (char& c : small)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    std::vector<std::string> words;
    const std::string_view all(small);
    for (std::size_t i = 0; i < all.size();) {
        if (is_space(all[i])) {
            ++i;
            continue;
        }
        std::size_t count = 0;
        for (const std::string_view mark : {kBegin, kEnd})  // a mark that somebody wrote out
            if (all.substr(i).starts_with(mark)) count = mark.size();
        if (count == 0) count = contraction(all.substr(i));
        if (count == 0 && is_digit(all[i])) count = 1;
        const auto run = [&](auto belongs) {
            while (i + count < all.size() && belongs(all[i + count])) ++count;
        };
        if (count == 0) is_letter(all[i]) ? run(is_letter) : run(is_other);
        words.emplace_back(all.substr(i, count));
        i += count;
    }
    return words;
}

ClipTokenizer::ClipTokenizer(BytePairs pairs) : pairs_(std::move(pairs)) {
    for (const char* ending : {"", kEndOfWord})
        for (const unsigned char byte : bytes_in_order())
            symbols_.push_back(byte_symbols()[byte] + ending);
    for (const BytePairs::Pair& pair : pairs_.merges())
        symbols_.push_back(pair.first + pair.second);
    symbols_.emplace_back(kBegin);
    symbols_.emplace_back(kEnd);
    for (std::size_t id = 0; id < symbols_.size(); ++id)
        ids_.emplace(symbols_[id], static_cast<int>(id));
}

ClipTokenizer ClipTokenizer::load(const fs::path& path) {
    const fs::path file = fs::is_directory(path) ? path / kMerges : path;
    ClipTokenizer tokenizer(read_merges(file));
    const fs::path vocabulary = file.parent_path() / kVocabulary;
    if (!fs::exists(vocabulary)) return tokenizer;
    const nlohmann::json ids = read_json(vocabulary);
    require(ids.is_object() && ids.size() == tokenizer.ids_.size(), vocabulary.string(), ": has ",
            ids.size(), " symbols, ", file.string(), " makes ", tokenizer.ids_.size());
    for (const auto& [symbol, id] : tokenizer.ids_)
        require(ids.contains(symbol) && ids[symbol] == id, vocabulary.string(), ": the symbol ",
                in_quotes(symbol), " should be ", id, ", by ", file.string());
    return tokenizer;
}

void ClipTokenizer::save(const fs::path& folder, int length) const {
    fs::create_directories(folder);
    std::string merges = "#version: 0.2\n";
    for (const BytePairs::Pair& pair : pairs_.merges())
        merges += pair.first + " " + pair.second + "\n";
    write_file_atomically(folder / kMerges, std::as_bytes(std::span(merges)));
    write_json(folder / kVocabulary, nlohmann::json(ids_));
    write_json(folder / "tokenizer_config.json", {{"tokenizer_class", "CLIPTokenizer"},
                                                  {"bos_token", kBegin},
                                                  {"eos_token", kEnd},
                                                  {"unk_token", kEnd},
                                                  {"pad_token", kEnd},
                                                  {"do_lower_case", true},
                                                  {"model_max_length", length}});
}

ClipTokenizer ClipTokenizer::learn(const std::vector<std::string>& texts, int vocabulary) {
    constexpr int kWithout = 2 * 256 + 2;  // merges
    require(vocabulary >= kWithout, "tokenizer: a vocabulary of ", vocabulary, ", expected ",
            kWithout, " or more");
    std::map<std::string, std::int64_t> times;
    for (const std::string& text : texts)
        for (const std::string& word : clip_words(text)) ++times[word];
    std::vector<std::pair<std::vector<std::string>, std::int64_t>> words;
    for (const auto& [word, count] : times) words.emplace_back(first_symbols(word), count);
    return ClipTokenizer(BytePairs::learn(std::move(words), vocabulary - kWithout));
}

std::vector<int> ClipTokenizer::encode(std::string_view text) const {
    std::vector<int> ids;
    for (const std::string& word : clip_words(text)) {
        if (word == kBegin || word == kEnd) {
            ids.push_back(ids_.at(word));
            continue;
        }
        for (const std::string& symbol : pairs_.merge(first_symbols(word)))
            ids.push_back(ids_.at(symbol));
    }
    return ids;
}

Tokens ClipTokenizer::tokens(std::string_view text, int length, int padding) const {
    require(length >= 2, "tokenizer: ", length, " tokens, expected 2 or more");
    std::vector<int> ids = encode(text);
    const auto room = static_cast<std::size_t>(length - 2);
    Tokens tokens;
    if (ids.size() > room) {
        tokens.cut = decode({ids.begin() + static_cast<std::ptrdiff_t>(room), ids.end()});
        ids.resize(room);
    }
    ids.insert(ids.begin(), begin());
    ids.push_back(end());
    tokens.keep.assign(ids.size(), 1);
    tokens.keep.resize(static_cast<std::size_t>(length), 0);
    ids.resize(static_cast<std::size_t>(length), padding < 0 ? end() : padding);
    tokens.ids = std::move(ids);
    return tokens;
}

const std::string& ClipTokenizer::symbol(int id) const {
    require(id >= 0 && id < vocabulary(), "tokenizer: the id ", id, ", expected 0 to ",
            vocabulary() - 1);
    return symbols_[static_cast<std::size_t>(id)];
}

std::string ClipTokenizer::decode(const std::vector<int>& ids) const {
    std::string text;
    for (const int id : ids) {
        std::string part = symbol(id);
        if (id >= begin()) continue;
        const bool ends = part.ends_with(kEndOfWord);
        if (ends) part.resize(part.size() - std::string(kEndOfWord).size());
        text += bytes_of_symbols(part);
        if (ends) text += ' ';
    }
    if (text.ends_with(' ')) text.pop_back();
    return text;
}

}  // namespace diffusion
