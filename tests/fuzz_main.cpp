// Tries a format's reader (tests/fuzz/FORMAT.cpp) on bytes that are no files of that format.
//
// Built with libFuzzer (scripts/fuzz.sh), which looks for inputs that reach new places in the code:
//   fuzz_FORMAT --seeds=FOLDER           writes the files to begin with
//   fuzz_FORMAT [libFuzzer's options]
// Built as all tests are, 2,000 inputs, the same in every run:
//   fuzz_FORMAT [FILE ..]                or these files
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iterator>

#include "app/machine.hpp"
#include "fuzz/fuzz.hpp"
#include "tensor/random.hpp"

namespace fs = std::filesystem;

namespace diffusion::fuzz {
namespace {

/// False, with the reason on standard error, if a rule is broken.
bool holds(const std::string& input) {
    try {
        check(input);
        return true;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "fuzz: %s\n", error.what());
        return false;
    }
}

#ifndef DIFFUSION_LIBFUZZER
constexpr int kInputs = 2000;
constexpr rlim_t kMemory = rlim_t{2} << 30;  // bytes of addresses

/// Numbers at which readers err: ends of ranges, highest bits, sizes that overflow.
constexpr std::array<std::uint64_t, 12> kOdd{
    0, 1, 2, 127, 128, 255, 32767, 65535, 0x7fffffff, 0x80000000, 0xffffffff, ~std::uint64_t{0}};

/// A change at one place.
void change(std::string& text, const std::string& other, Random& random) {
    const auto below = [&](std::size_t n) {
        return static_cast<std::size_t>(random.below(static_cast<std::uint32_t>(n)));
    };
    const std::size_t at = below(text.size() + 1), left = text.size() - at;
    switch (below(7)) {
        case 0:  // one bit
            if (left > 0) text[at] = static_cast<char>(text[at] ^ 1 << below(8));
            return;
        case 1:  // one byte
            if (left > 0) text[at] = static_cast<char>(below(256));
            return;
        case 2: {  // a number of 1, 2, 4 or 8 bytes
            const std::uint64_t odd = kOdd[below(kOdd.size())];
            std::memcpy(text.data() + at, &odd, std::min(left, std::size_t{1} << below(4)));
            return;
        }
        case 3:  // a number in digits
            text.insert(at, std::to_string(kOdd[below(kOdd.size())]));
            return;
        case 4:
            text.erase(at, 1 + below(8));
            return;
        case 5:  // cut short
            text.resize(at);
            return;
        default: {  // a piece of another file
            const std::size_t from = below(other.size() + 1);
            text.insert(at, other.substr(from, 1 + below(16)));
        }
    }
}

bool run_all(const fs::path& program) {
    const std::vector<std::string> all = seeds();
    const auto any = [&](Random& random) {
        return all[random.below(static_cast<std::uint32_t>(all.size()))];
    };
    for (int i = 0; i < kInputs; ++i) {
        std::string input;
        if (i < static_cast<int>(all.size())) {
            input = all[static_cast<std::size_t>(i)];
        } else {
            Random random(1, Purpose::test, 0, static_cast<std::uint32_t>(i));
            input = any(random);
            for (std::uint32_t changes = 1 + random.below(4); changes > 0; --changes)
                change(input, any(random), random);
        }
        if (holds(input)) continue;
        const fs::path found = program.filename().string() + "-found";
        put_text(found, input);
        std::fprintf(stderr, "fuzz: input %d is saved: %s\n", i, fs::absolute(found).c_str());
        return false;
    }
    std::printf("%d inputs, %zu of them good files\n", kInputs, all.size());
    return true;
}
#endif

/// Before the first input.
void prepare() {
    pick_threads(1);
    if (fs::is_directory("/dev/shm")) setenv("TMPDIR", "/dev/shm", 0);  // nothing waits for a disk
}

}  // namespace
}  // namespace diffusion::fuzz

using namespace diffusion;

#ifdef DIFFUSION_LIBFUZZER
extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
    fuzz::prepare();
    const std::string option = "--seeds=";
    for (int i = 1; i < *argc; ++i) {
        const std::string argument = (*argv)[i];
        if (!argument.starts_with(option)) continue;
        int number = 0;
        for (const std::string& seed : fuzz::seeds())
            put_text(fs::path(argument.substr(option.size())) / std::to_string(number++), seed);
        std::exit(0);
    }
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (!fuzz::holds({reinterpret_cast<const char*>(data), size})) std::abort();
    return 0;
}
#else
int main(int argc, char** argv) {
    fuzz::prepare();
#ifndef DIFFUSION_SANITIZED  // sanitizers take terabytes of addresses
    const rlimit limit{fuzz::kMemory, fuzz::kMemory};
    setrlimit(RLIMIT_AS, &limit);
#endif
    bool well = true;
    for (int i = 1; i < argc; ++i) well = fuzz::holds(get_text(argv[i])) && well;
    if (argc == 1) well = fuzz::run_all(argv[0]);
    return well ? 0 : 1;
}
#endif
