#include "app/progress.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string_view>
#include <utility>

namespace diffusion {

namespace {

std::size_t terminal_columns() {
    winsize size{};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
    return size.ws_col;
}

/// Is standard output a terminal on which a line can be erased?
bool rewritable() {
    const char* kind = std::getenv("TERM");
    return isatty(STDOUT_FILENO) == 1 && kind != nullptr && std::string_view(kind) != "dumb";
}

std::int64_t tenths_done(std::int64_t done, std::int64_t total) {
    return total > 0 ? 10 * done / total : 0;
}

}  // namespace

std::string duration_text(double seconds) {
    if (!std::isfinite(seconds) || seconds < 0) return "?";
    const std::int64_t s = std::llround(seconds);
    char text[48];
    if (s < 60) {
        std::snprintf(text, sizeof text, "%d s", static_cast<int>(s));
    } else if (s < 3600) {
        std::snprintf(text, sizeof text, "%d:%02d", static_cast<int>(s / 60),
                      static_cast<int>(s % 60));
    } else {
        std::snprintf(text, sizeof text, "%lld:%02d:%02d", static_cast<long long>(s / 3600),
                      static_cast<int>(s / 60 % 60), static_cast<int>(s % 60));
    }
    return text;
}

std::string about(double seconds) {
    return "about " + duration_text(seconds < 1 ? 1 : seconds);
}

std::string rate_text(double per_second) {
    char text[48];
    const int decimals = per_second >= 99.95 ? 0 : per_second >= 9.995 ? 1 : 2;
    std::snprintf(text, sizeof text, "%.*f", decimals, per_second);
    return text;
}

std::string progress_text(const std::string& label, std::int64_t start, std::int64_t done,
                          std::int64_t total, const std::string& unit, double seconds,
                          const std::string& extra) {
    std::string text = label + " " + std::to_string(done);
    if (total > 0) {
        text += "/" + std::to_string(total) + " " + unit + ", " +
                std::to_string(100 * done / total) + " %";
    } else {
        text += " " + unit;
    }
    if (done > start && seconds > 0) {
        const double rate = static_cast<double>(done - start) / seconds;
        text += ", " + rate_text(rate) + "/s";
        if (total > done) {
            text += ", " + duration_text(static_cast<double>(total - done) / rate) + " left";
        }
    }
    if (!extra.empty()) text += ", " + extra;
    return text;
}

Progress::Progress(std::string label, std::int64_t total, std::string unit, std::int64_t start)
    : label_(std::move(label)),
      unit_(std::move(unit)),
      total_(total),
      start_(start),
      done_(start),
      tenths_(tenths_done(start, total)),
      terminal_(rewritable()) {}

// An exception in the loop must not leave its message behind half a progress line.
Progress::~Progress() {
    if (open_ && !finished_) std::cout << std::endl;
}

double Progress::seconds() const {
    return std::chrono::duration<double>(Clock::now() - began_).count();
}

void Progress::update(std::int64_t done, const std::string& extra) {
    if (finished_) return;
    done_ = done;
    extra_ = extra;
    if (terminal_) {
        const auto now = Clock::now();
        if (open_ && now - shown_ < std::chrono::milliseconds(100)) return;
        shown_ = now;
        std::string text = progress_text(label_, start_, done, total_, unit_, seconds(), extra);
        const std::size_t columns = terminal_columns();
        if (text.size() >= columns) text.resize(columns - 1);  // a wrapped line cannot be rewritten
        std::cout << '\r' << text << "\x1b[K" << std::flush;   // K: erase to the end of the line
        open_ = true;
    } else if (tenths_done(done, total_) > tenths_ && done < total_) {
        tenths_ = tenths_done(done, total_);
        std::cout << progress_text(label_, start_, done, total_, unit_, seconds(), extra)
                  << std::endl;
    }
}

void Progress::print(const std::string& text) {
    std::cout << (open_ ? "\r\x1b[K" : "") << text << std::endl;
    open_ = false;
}

void Progress::finish() {
    if (finished_) return;
    finished_ = true;
    if (open_) std::cout << '\r';
    std::cout << label_ << ": " << done_ - start_ << " " << unit_ << " in "
              << duration_text(seconds());
    if (done_ > start_ && seconds() > 0) {
        std::cout << ", " << rate_text(static_cast<double>(done_ - start_) / seconds()) << "/s";
    }
    if (!extra_.empty()) std::cout << ", " << extra_;
    std::cout << (open_ ? "\x1b[K" : "") << std::endl;
}

}  // namespace diffusion
