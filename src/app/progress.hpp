#pragma once
// A progress line: how far, how fast, how long to go.
#include <chrono>
#include <cstdint>
#include <string>

namespace diffusion {

using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

/// On a terminal one line that is rewritten, at most ten times a second; elsewhere (a pipe, a log,
/// TERM=dumb) a line at every tenth of the work. Written to standard output.
class Progress {
public:
    /// total and done count units ("images"); start is where a resumed run begins.
    Progress(std::string label, std::int64_t total, std::string unit, std::int64_t start = 0);
    ~Progress();
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    /// extra is shown behind the numbers: "loss 0.031".
    void update(std::int64_t done, const std::string& extra = "");

    /// Prints a line of text; the progress line goes on below it.
    void print(const std::string& text);

    /// Ends the line with the totals. Further calls do nothing.
    void finish();

private:
    double seconds() const;

    std::string label_, unit_, extra_;
    std::int64_t total_, start_, done_;
    std::int64_t tenths_;  // tenths of the work already reported
    Clock::time_point began_ = Clock::now(), shown_{};
    bool terminal_, open_ = false, finished_ = false;
};

/// "12 s", "3:05", "1:02:09".
std::string duration_text(double seconds);

/// "about 3:05": for the banner's row "expected time".
std::string about(double seconds);

/// Three significant digits below 1000, whole numbers above: "0.52", "81.3", "12345".
std::string rate_text(double per_second);

/// "train 250/1000 images, 25 %, 50.0/s, 15 s left, loss 0.03" after `seconds` since `start`.
std::string progress_text(const std::string& label, std::int64_t start, std::int64_t done,
                          std::int64_t total, const std::string& unit, double seconds,
                          const std::string& extra);

}  // namespace diffusion
