#include "app/app.hpp"

#include <doctest/doctest.h>
#include <stdlib.h>

#include <iostream>

#include "app/ranges.hpp"
#include "support/file_checks.hpp"
#include "support/process.hpp"
#include "tensor/check.hpp"

using namespace diffusion;

namespace {

/// A program with one subcommand, run in a child process with these arguments.
ProcessResult run(
    std::vector<const char*> arguments, const std::function<void()>& body = [] {},
    const ProcessOptions& options = {}) {
    arguments.insert(arguments.begin(), "some/folder/01_demo");
    return run_child(
        [&] {
            CLI::App app("A demonstration");
            CommonOptions common;
            add_common_options(app, common, "01_demo");
            int count = 3, width = 0;
            app.add_option("--width", width, "of the picture of all")->group(kAlone);
            app.add_option("--depth", width, "of the network");
            app.add_subcommand("train", "trains")
                ->add_option("--count", count, "how many")
                ->transform(at_least(1));
            return run_app(app, static_cast<int>(arguments.size()), arguments.data(), [&] {
                std::cout << common.preset << ' ' << common.seed << ' ' << common.threads << ' '
                          << common.data << ' ' << common.out.string() << ' ' << common.resume
                          << ' ' << count << "\n";
                body();
            });
        },
        options);
}

long count_lines(const std::string& text) {
    return static_cast<long>(std::count(text.begin(), text.end(), '\n'));
}

}  // namespace

TEST_SUITE_BEGIN("src cli");

TEST_CASE("without arguments a program runs with its defaults") {
    const ProcessResult r = run({});
    CHECK(r.exit_code == 0);
    CHECK(r.out == "quick 1 0  out/01_demo 0 3\n");
    CHECK(r.err == "");
}

TEST_CASE("common options stand before or after a subcommand") {
    const char* expected = "smoke 7 2 there here 1 5\n";
    CHECK(run({"--preset", "smoke", "--seed", "7", "--threads", "2", "--data", "there", "--out",
               "here", "--resume", "train", "--count", "5"})
              .out == expected);
    CHECK(run({"train", "--count", "5", "--preset", "smoke", "--seed", "7", "--threads=2", "--data",
               "there", "--out", "here", "--resume"})
              .out == expected);
}

TEST_CASE("a wrong argument ends with 2 and one line that names it and --help") {
    struct Case {
        std::vector<const char*> arguments;
        std::string named;
    };
    for (const Case& c : std::vector<Case>{{{"--sed", "1"}, "--sed"},
                                           {{"--preset", "huge"}, "--preset"},
                                           {{"--seed", "-1"}, "--seed"},
                                           {{"--seed", "x"}, "--seed"},
                                           {{"--threads", "-2"}, "--threads"},
                                           {{"--out"}, "--out"},
                                           {{"train", "--many", "5"}, "--many"},
                                           {{"paint"}, "paint"}}) {
        CAPTURE(c.named);
        const ProcessResult r = run(c.arguments);
        CHECK(r.exit_code == 2);
        CHECK(r.out == "");
        CHECK(count_lines(r.err) == 1);
        CHECK(r.err.starts_with("01_demo: "));
        CHECK(r.err.find(c.named) != std::string::npos);
        CHECK(r.err.find("01_demo --help") != std::string::npos);
    }
}

TEST_CASE("--help lists the options and their defaults and ends with 0") {
    const ProcessResult r = run({"--help"});
    CHECK(r.exit_code == 0);
    CHECK(r.err == "");
    for (const char* part : {"A demonstration", "--preset", "out/01_demo", "--resume", "train"}) {
        CHECK(r.out.find(part) != std::string::npos);
    }
}

TEST_CASE("--help of a subcommand lists every option that it takes, and no other") {
    const ProcessResult command = run({"train", "--help"});
    CHECK(command.exit_code == 0);
    for (const char* option : {"--count", "--preset", "--seed", "--threads", "--data", "--out",
                               "--resume", "--depth", "--help"}) {
        CAPTURE(option);
        CHECK(contains(command.out, option));
    }
    CHECK(!contains(command.out, "--width"));
    CHECK(contains(run({"--help"}).out, "--width"));
    CHECK(run({"--width", "3"}).exit_code == 0);
    const ProcessResult refused = run({"train", "--width", "3"});
    CHECK(refused.exit_code == 1);
    CHECK(refused.err ==
          "01_demo: --width: it is for the program without a subcommand; train has no "
          "use for it\n");
}

TEST_CASE("a number outside an option's range is told in plain words") {
    const auto says = [](std::vector<const char*> arguments, const std::string& text) {
        const ProcessResult r = run(std::move(arguments));
        CAPTURE(r.err);
        CHECK(r.exit_code == 2);
        CHECK(r.err == "01_demo: " + text + " (01_demo --help tells more)\n");
    };
    says({"train", "--count", "0"}, "--count: expected 1 or more, got 0");
    says({"train", "--count", "many"}, "--count: expected a whole number, got many");
    says({"train", "--count", "1.5"}, "--count: expected a whole number, got 1.5");
    says({"train", "--count", "99999999999"}, "--count: expected 1 to 2147483647, got 99999999999");
    says({"--seed", "-1"}, "--seed: expected 0 or more, got -1");
    says({"--threads", "5000"}, "--threads: expected 0 to 1024, got 5000");
    CHECK(run({"train", "--count", "010"}).out.ends_with(" 10\n"));
    const auto wrong = [](const CLI::Validator& range, std::string text) { return range(text); };
    CHECK(wrong(above(0), "-1") == "expected more than 0, got -1");
    CHECK(wrong(above(0), "nan") == "expected more than 0, got nan");
    CHECK(wrong(above(0), "inf") == "expected more than 0, got inf");
    CHECK(wrong(above(0), "1e-300") == "");
    CHECK(wrong(above(0), "x") == "expected a number, got x");
    CHECK(wrong(between(0.1, 10.0), "0.09") == "expected 0.1 to 10, got 0.09");
    CHECK(wrong(between(0.1, 10.0), "10") == "");
    CHECK(wrong(at_least(0), "-99999999999") == "expected 0 or more, got -99999999999");
    CHECK(wrong(between(1, 1000), "99999999999999999999") ==
          "expected 1 to 1000, got 99999999999999999999");
}

TEST_CASE("an error is one line on standard error and ends with 1") {
    const ProcessResult r = run({}, [] { fail("data.idx: expected 16 bytes,\ngot ", 3); });
    CHECK(r.exit_code == 1);
    CHECK(r.err == "01_demo: data.idx: expected 16 bytes, got 3\n");
    CHECK(run({}, [] { fail("\x1b[2J\r\t"); }).err == "01_demo:  [2J  \n");
    const std::string long_one(5000, 'x');
    CHECK(run({}, [&] { fail(long_one); }).err == "01_demo: " + long_one.substr(0, 4000) + "..\n");
    const auto run_out = [] { throw std::bad_alloc(); };
    CHECK(run({"--threads", "2"}, run_out).err ==
          "01_demo: out of memory; try fewer threads (--threads), "
          "a smaller preset (--preset)\n");
    CHECK(run({"--preset", "smoke", "--threads", "2"}, run_out).err ==
          "01_demo: out of memory; try fewer threads (--threads)\n");
    // Nothing is advised that cannot be done.
    CHECK(run({"--preset", "smoke", "--threads", "1"}, run_out).err == "01_demo: out of memory\n");
}

TEST_CASE("the first Ctrl-C lets the loop end, and the result is 130") {
    const auto loop = [] {
        catch_interrupt();
        std::cout << "started" << std::endl;
        while (!interrupted()) usleep(1000);
        std::cout << "saved" << std::endl;
    };
    for (int signal : {SIGINT, SIGTERM, SIGHUP}) {
        const ProcessResult r = run({}, loop, {.send_signal = signal, .signal_at = "started"});
        CHECK(r.exit_code == 130);
        CHECK(r.out.ends_with("saved\n"));
    }
}

TEST_CASE("the second Ctrl-C ends a program that does not stop") {
    const ProcessResult r = run({},
                                [] {
                                    catch_interrupt();
                                    raise(SIGINT);
                                    std::cout << "deaf" << std::endl;
                                    sleep(60);
                                },
                                {.send_signal = SIGINT, .signal_at = "deaf"});
    CHECK(r.ended_by == SIGINT);
}

TEST_CASE("a closed terminal may say so several times, and under nohup not at all") {
    const ProcessResult closed = run_child([] {
        catch_interrupt();
        for (int i = 0; i < 3; ++i) raise(SIGHUP);
        raise(SIGPIPE);  // who read our output is gone, too
        return interrupted() ? 7 : 0;
    });
    CHECK(closed.exit_code == 7);
    const ProcessResult nohup = run_child([] {
        signal(SIGHUP, SIG_IGN);
        catch_interrupt();
        raise(SIGHUP);
        return interrupted() ? 7 : 0;
    });
    CHECK(nohup.exit_code == 0);
}

TEST_CASE("a process that hangs is killed at the time limit") {
    const ProcessResult r =
        run_child([] { return static_cast<int>(sleep(60)); }, {.time_limit = 0.1});
    CHECK(r.timed_out);
    CHECK(r.ended_by == SIGKILL);
}

TEST_CASE("run_program passes arguments, environment and folder, and keeps the outputs apart") {
    const ProcessResult r = run_program(
        {"/bin/sh", "-c", "echo $1 $ANSWER; pwd; cat; echo bad >&2; exit 3", "sh", "a b"},
        {.folder = "/", .environment = {{"ANSWER", "42"}}});
    CHECK(r.exit_code == 3);
    CHECK(r.out == "a b 42\n/\n");
    CHECK(r.err == "bad\n");
    CHECK_THROWS_AS(run_program({"no_such_program"}), Error);
}

TEST_SUITE_END();
TEST_SUITE_BEGIN("src math");

TEST_CASE("durations and rates are short") {
    CHECK(duration_text(0.2) == "0 s");
    CHECK(duration_text(59.4) == "59 s");
    CHECK(duration_text(59.6) == "1:00");
    CHECK(duration_text(185) == "3:05");
    CHECK(duration_text(3729) == "1:02:09");
    CHECK(duration_text(1.0 / 0.0) == "?");
    CHECK(rate_text(0.521) == "0.52");
    CHECK(rate_text(9.996) == "10.0");
    CHECK(rate_text(81.34) == "81.3");
    CHECK(rate_text(99.96) == "100");
    CHECK(rate_text(12345.4) == "12345");
}

TEST_CASE("the progress line: rate since the start, time left for the rest") {
    CHECK(progress_text("train", 0, 250, 1000, "images", 5, "loss 0.03") ==
          "train 250/1000 images, 25 %, 50.0/s, 15 s left, loss 0.03");
    // Resumed at 500: 100 images in 10 s are 10 per second, and 400 are left.
    CHECK(progress_text("train", 500, 600, 1000, "images", 10, "") ==
          "train 600/1000 images, 60 %, 10.0/s, 40 s left");
    CHECK(progress_text("train", 0, 0, 1000, "images", 0, "") == "train 0/1000 images, 0 %");
    CHECK(progress_text("read", 0, 70, 0, "files", 10, "") == "read 70 files, 7.00/s");
}

TEST_CASE("without a terminal progress is a line each tenth, and the totals") {
    const ProcessResult r = run_child([] {
        Progress progress("train", 1000, "images");
        for (int i = 1; i <= 1000; ++i) progress.update(i, "loss 0.5");
        progress.print("a result");
        progress.finish();
        progress.update(1000);
        return 0;
    });
    CHECK(count_lines(r.out) == 11);  // 10 % to 90 %, what was printed, and the last
    CHECK(r.out.find("left, loss 0.5\na result\ntrain: ") != std::string::npos);
    CHECK(r.out.starts_with("train 100/1000 images, 10 %"));
    CHECK(r.out.find("\ntrain: 1000 images in ") != std::string::npos);
    CHECK(r.out.find('\r') == std::string::npos);
}

/// What a loop with a progress line leaves on a terminal of this kind; empty where the machine has
/// no pseudo-terminals.
std::string shown_on_terminal(const std::string& kind) {
    const int terminal = posix_openpt(O_RDWR | O_NOCTTY);
    if (terminal < 0) return "";
    REQUIRE(grantpt(terminal) == 0);
    REQUIRE(unlockpt(terminal) == 0);
    const int other_end = open(ptsname(terminal), O_RDWR | O_NOCTTY);
    REQUIRE(other_end >= 0);
    const ProcessResult r = run_child(
        [&] {
            dup2(other_end, STDOUT_FILENO);
            Progress progress("train", 3, "images");
            for (int i = 1; i <= 3; ++i) progress.update(i);
            progress.finish();
            return 0;
        },
        {.environment = {{"TERM", kind}}});
    REQUIRE(r.exit_code == 0);
    std::string shown;
    pollfd ready{terminal, POLLIN, 0};
    while (!contains(shown, "train: 3 images") ||
           !shown.ends_with('\n')) {  // it may come in pieces
        char text[4096];
        if (poll(&ready, 1, 5000) != 1) break;
        const ssize_t n = read(terminal, text, sizeof text);
        if (n <= 0) break;
        shown.append(text, static_cast<std::size_t>(n));
    }
    close(other_end);
    close(terminal);
    return shown;
}

TEST_CASE("on a terminal progress is one line that is rewritten") {
    const std::string shown = shown_on_terminal("xterm");
    if (shown.empty()) {
        MESSAGE("this machine has no pseudo-terminals; not checked");
        return;
    }
    CHECK(shown.starts_with("\rtrain 1/3 images, 33 %"));
    CHECK(shown.find("\rtrain: 3 images in ") != std::string::npos);
    CHECK(count_lines(shown) == 1);
}

TEST_CASE("a terminal that cannot erase gets lines, and no escape codes") {
    const std::string shown = shown_on_terminal("dumb");
    CHECK(!contains(shown, "\x1b"));
    CHECK((shown.empty() || shown.starts_with("train 1/3 images, 33 %")));
}

TEST_CASE("the banner aligns its rows and says what the machine offers") {
    const ProcessResult r = run_child([] {
        banner("A title", {{"data", "mnist"}, {"parameters", "12"}});
        return 0;
    });
    CHECK(r.out.starts_with("A title\n  machine     " + simd_description() + ", "));
    CHECK(r.out.ends_with("\n  data        mnist\n  parameters  12\n"));
}

TEST_CASE("threads: as many as asked for, and never a negative number") {
    CHECK(pick_threads(0) >= 1);
    CHECK_THROWS_WITH_AS(pick_threads(-1), "threads: expected 0 (all cores) or more, got -1",
                         Error);
    CHECK_THROWS_WITH_AS(pick_threads(kMostThreads + 1), "threads: expected at most 1024, got 1025",
                         Error);
}

TEST_SUITE_END();
