// Byte pairs, and CLIP's tokenizer.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "08_text_conditioning/clip_tokenizer.hpp"
#include "support/file_checks.hpp"
#include "support/temporary_folder.hpp"
#include "tensor/random.hpp"

using namespace diffusion;

namespace {

using Words = std::vector<std::string>;
using Ids = std::vector<int>;

/// Letters as symbols, the last with the mark.
std::vector<std::string> letters(const std::string& word) {
    std::vector<std::string> symbols;
    for (const char c : word) symbols.emplace_back(1, c);
    symbols.back() += "</w>";
    return symbols;
}

const std::vector<std::string> kCaptions = {"a red seven",   "a thick red seven leaning left",
                                            "a small three", "a large blue three above a seven",
                                            "two sevens",    "seven, on a yellow ground"};

}  // namespace

TEST_SUITE_BEGIN("ch08 math");

TEST_CASE("(8.1) the most frequent pair is merged first, of equals the alphabetically first") {
    // aab 3 times, ab twice: a b</w> stands 5 times, a a 3 times.
    const BytePairs pairs = BytePairs::learn({{letters("aab"), 3}, {letters("ab"), 2}}, 10);
    REQUIRE(pairs.merges().size() == 2);
    CHECK(pairs.merges()[0] == BytePairs::Pair{"a", "b</w>"});
    CHECK(pairs.merges()[1] == BytePairs::Pair{"a", "ab</w>"});
    CHECK(pairs.merge(letters("aab")) == Words{"aab</w>"});
    CHECK(pairs.merge(letters("aaab")) == Words{"a", "aab</w>"});
    // b a and a b are equally frequent.
    CHECK(BytePairs::learn({{letters("bac"), 2}, {letters("abc"), 2}}, 1).merges()[0] ==
          BytePairs::Pair{"a", "b"});
    // What occurs once is not learned.
    CHECK(BytePairs::learn({{letters("xyz"), 1}}, 5).merges().empty());
}

TEST_CASE("(8.2) merges are made in the order in which they were learned, each everywhere") {
    const BytePairs pairs({{"b", "c"}, {"a", "b"}, {"a", "bc"}});
    const auto merged = [&](const std::string& text) {
        std::vector<std::string> symbols;
        for (const char c : text) symbols.emplace_back(1, c);
        return pairs.merge(symbols);
    };
    CHECK(merged("abc") == Words{"abc"});  // b c first, although a b stands before it
    CHECK(merged("abab") == Words{"ab", "ab"});
    CHECK(merged("abcbcab") == Words{"abc", "bc", "ab"});
    CHECK(merged("") == Words{});
    CHECK_THROWS_WITH_AS(BytePairs({{"a", "b"}, {"a", "b"}}), "byte pairs: a b are merged twice",
                         Error);
}

TEST_CASE("every byte has a printable symbol of its own, and comes back from it") {
    std::set<std::string> all(byte_symbols().begin(), byte_symbols().end());
    CHECK(all.size() == 256);
    CHECK(byte_symbols()['a'] == "a");
    CHECK(byte_symbols()[' '] == "\u0120");
    CHECK(byte_symbols()[0] == "\u0100");
    CHECK(byte_symbols()[0xad] == "\u0143");  // the last of the 68 that cannot be printed
    std::string symbols, bytes;
    for (int byte = 0; byte < 256; ++byte) {
        symbols += byte_symbols()[static_cast<std::size_t>(byte)];
        bytes += static_cast<char>(byte);
    }
    CHECK(bytes_of_symbols(symbols) == bytes);
    CHECK_THROWS_WITH_AS(bytes_of_symbols("a\u20ac"), "byte pairs: \u20ac stands for no byte",
                         Error);
}

TEST_CASE("words: capitals and white space are lost, contractions and digits stand alone") {
    CHECK(clip_words("A Photo\tof\n  a Fox") == Words{"a", "photo", "of", "a", "fox"});
    CHECK(clip_words("you're it's") == Words{"you", "'re", "it", "'s"});
    CHECK(clip_words("1233") == clip_words("12 33"));
    CHECK(clip_words("seven,leaning...(left)") ==
          Words{"seven", ",", "leaning", "...(", "left", ")"});
    CHECK(clip_words("caf\u00e9s!") == Words{"caf\u00e9s", "!"});
    CHECK(clip_words(" \r\n\v\f ") == Words{});
    CHECK(clip_words("a<|endoftext|>b") == Words{"a", "<|endoftext|>", "b"});
}

TEST_CASE("a learned vocabulary: frequent words are one symbol, and any words come back") {
    const ClipTokenizer tokenizer = ClipTokenizer::learn(kCaptions, 560);
    CHECK(tokenizer.vocabulary() <= 560);
    CHECK(tokenizer.encode("seven").size() == 1);
    CHECK(tokenizer.encode("zebra").size() > 2);
    CHECK(tokenizer.symbol(tokenizer.begin()) == "<|startoftext|>");
    for (const std::string text : {"a thick red seven", "caf\u00e9 x q7 , . zebra", "", "\x80\xff"})
        CHECK(tokenizer.decode(tokenizer.encode(text)) == [&] {
            std::string joined;
            for (const std::string& word : clip_words(text))
                joined += (joined.empty() ? "" : " ") + word;
            return joined;
        }());
    // Any bytes at all.
    Random random(7, Purpose::test);
    for (int i = 0; i < 200; ++i) {
        std::string bytes;
        for (int k = 0; k < 20; ++k) bytes += static_cast<char>(random.below(256));
        std::string joined;
        for (const std::string& word : clip_words(bytes))
            joined += (joined.empty() ? "" : " ") + word;
        CHECK(tokenizer.decode(tokenizer.encode(bytes)) == joined);
    }
    CHECK_THROWS_WITH_AS(
        tokenizer.decode({-1}),
        ("tokenizer: the id -1, expected 0 to " + std::to_string(tokenizer.vocabulary() - 1))
            .c_str(),
        Error);
    CHECK_THROWS_WITH_AS(ClipTokenizer::learn(kCaptions, 500),
                         "tokenizer: a vocabulary of 500, expected 514 or more", Error);
}

TEST_CASE("tokens: marks, padding, and what is cut") {
    const ClipTokenizer tokenizer = ClipTokenizer::learn(kCaptions, 600);
    const int begin = tokenizer.begin(), end = tokenizer.end();
    const int a = tokenizer.encode("a")[0], red = tokenizer.encode("red")[0],
              seven = tokenizer.encode("seven")[0];
    Tokens tokens = tokenizer.tokens("A red seven", 7);
    CHECK(tokens.ids == Ids{begin, a, red, seven, end, end, end});
    CHECK(tokens.keep == std::vector<unsigned char>{1, 1, 1, 1, 1, 0, 0});
    CHECK(tokens.cut.empty());
    CHECK(tokenizer.tokens("a", 5, 0).ids == Ids{begin, a, end, 0, 0});
    tokens = tokenizer.tokens("a red red seven", 4);
    CHECK(tokens.ids == Ids{begin, a, red, end});
    CHECK(tokens.cut == "red seven");
    CHECK(tokenizer.tokens("", 3).ids == Ids{begin, end, end});
    CHECK_THROWS_WITH_AS(tokenizer.tokens("a", 1), "tokenizer: 1 tokens, expected 2 or more",
                         Error);
}

TEST_CASE("a tokenizer's folder comes back, and what does not fit is named") {
    const TemporaryFolder folder;
    const ClipTokenizer tokenizer = ClipTokenizer::learn(kCaptions, 560);
    tokenizer.save(folder / "t", 32);
    const ClipTokenizer again = ClipTokenizer::load(folder / "t");
    CHECK(again.vocabulary() == tokenizer.vocabulary());
    for (const std::string& text : kCaptions) CHECK(again.encode(text) == tokenizer.encode(text));
    const auto complaint = [&](const std::string& name, const std::string& content) {
        std::ofstream(folder / "t" / name) << content;
        return error_of([&] { ClipTokenizer::load(folder / "t"); });
    };
    const std::string merges = (folder / "t" / "merges.txt").string();
    CHECK(complaint("merges.txt", "#version: 0.2\na b\nno\n") ==
          merges + ", line 3: found \"no\", expected two symbols with a space between");
    CHECK(complaint("merges.txt", "a b\na b\n") == merges + ": byte pairs: a b are merged twice");
    CHECK(complaint("merges.txt", "") == merges + ": holds no merges");
    CHECK(contains(complaint("merges.txt", "a b\n"), "vocab.json: has "));
    CHECK(contains(complaint("vocab.json", "[]"), "vocab.json: has 0 symbols"));
}

TEST_CASE("ids of CLIP's own vocabulary" *
          doctest::skip(std::getenv("DIFFUSION_DATA") == nullptr)) {
    const std::filesystem::path merges =
        std::filesystem::path(std::getenv("DIFFUSION_DATA")).parent_path() / "clip/merges.txt";
    if (!std::filesystem::exists(merges)) return;
    const ClipTokenizer tokenizer = ClipTokenizer::load(merges);
    CHECK(tokenizer.vocabulary() == 49'408);
    CHECK(tokenizer.tokens("a photo of a fox", 7).ids ==
          Ids{49406, 320, 1125, 539, 320, 3240, 49407});
    CHECK(tokenizer.tokens("Hello  World", 4).ids == Ids{49406, 3306, 1002, 49407});
}

TEST_SUITE_END();
