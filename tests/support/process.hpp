#pragma once
// Runs a program, or a function in a child process, and says how it ended and what it printed.
//
//   const ProcessResult r = run_program({"04_unet", "train", "--preset", "smoke"});
//   CHECK(r.exit_code == 0);
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "tensor/check.hpp"

namespace diffusion {

struct ProcessOptions {
    double time_limit = 120;     ///< seconds; then the process is killed
    int send_signal = 0;         ///< SIGINT, SIGKILL, ...; 0 sends none
    double signal_after = 0;     ///< seconds after the start, or after `signal_at` was printed
    std::string signal_at = {};  ///< wait until standard output contains this; empty: do not wait
    std::function<bool()> signal_if = {};  ///< then wait until this is true; must not throw
    std::filesystem::path folder = {};     ///< working directory; empty: the caller's
    std::map<std::string, std::string> environment = {};  ///< added to the caller's
};

struct ProcessResult {
    int exit_code = -1;      ///< -1 when a signal ended it
    int ended_by = 0;        ///< that signal, or 0
    bool timed_out = false;  ///< killed at the time limit
    std::string out, err;    ///< standard output and standard error
};

/// Runs child() in a forked process with empty standard input; its result is the exit code. The
/// caller's OpenMP threads do not exist there: child() must not start a parallel region.
inline ProcessResult run_child(const std::function<int()>& child,
                               const ProcessOptions& options = {}) {
    int out[2], err[2];
    require(pipe(out) == 0 && pipe(err) == 0, "run_child: no pipe");
    std::fflush(nullptr);  // or the child would print the caller's pending output again
    const pid_t pid = fork();
    require(pid >= 0, "run_child: fork failed");
    if (pid == 0) {
        setpgid(0, 0);
        const int null = open("/dev/null", O_RDONLY);
        dup2(null, STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        dup2(err[1], STDERR_FILENO);
        for (int fd : {null, out[0], out[1], err[0], err[1]}) close(fd);
        for (const auto& [name, value] : options.environment) {
            setenv(name.c_str(), value.c_str(), 1);
        }
        if (!options.folder.empty() && chdir(options.folder.c_str()) != 0) _exit(126);
        int result = 125;
        try {
            result = child();
        } catch (const std::exception& error) {  // must not unwind into the caller's test
            std::fprintf(stderr, "run_child: %s\n", error.what());
        }
        std::fflush(nullptr);
        _exit(result);
    }
    setpgid(pid, pid);  // in both processes: whichever runs first
    close(out[1]);
    close(err[1]);

    ProcessResult result;
    const auto began = std::chrono::steady_clock::now();
    auto signal_time = began + std::chrono::duration<double>(options.signal_after);
    bool waiting = options.send_signal != 0, seen = options.signal_at.empty();
    pollfd pipes[2] = {{out[0], POLLIN, 0}, {err[0], POLLIN, 0}};
    std::string* texts[2] = {&result.out, &result.err};
    while (pipes[0].fd >= 0 || pipes[1].fd >= 0) {
        poll(pipes, 2, options.signal_if ? 0 : 10);  // milliseconds
        for (int i = 0; i < 2; ++i) {
            if (pipes[i].fd < 0 || pipes[i].revents == 0) continue;
            char buffer[65536];
            const ssize_t n = read(pipes[i].fd, buffer, sizeof buffer);
            if (n > 0) {
                texts[i]->append(buffer, static_cast<std::size_t>(n));
            } else {
                close(pipes[i].fd);
                pipes[i].fd = -1;
            }
        }
        const auto now = std::chrono::steady_clock::now();
        if (waiting && !seen && result.out.find(options.signal_at) != std::string::npos) {
            seen = true;
            signal_time = now + std::chrono::duration<double>(options.signal_after);
        }
        if (waiting && seen && now >= signal_time && (!options.signal_if || options.signal_if())) {
            kill(pid, options.send_signal);
            waiting = false;
        }
        if (!result.timed_out && now - began > std::chrono::duration<double>(options.time_limit)) {
            result.timed_out = true;
            kill(-pid, SIGKILL);  // with everything it started
        }
    }
    int status = 0;
    waitpid(pid, &status, 0);
    if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
    if (WIFSIGNALED(status)) result.ended_by = WTERMSIG(status);
    return result;
}

/// Runs a program with its arguments. A name without a slash is one of this build: "04_unet".
inline ProcessResult run_program(std::vector<std::string> arguments,
                                 const ProcessOptions& options = {}) {
    if (arguments.at(0).find('/') == std::string::npos) {
        arguments[0] = std::string(DIFFUSION_BIN_DIR) + "/" + arguments[0];
    }
    require(std::filesystem::exists(arguments[0]), "run_program: ", arguments[0], " is not built");
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    return run_child([&] { return execv(argv[0], argv.data()), 127; }, options);
}

}  // namespace diffusion
