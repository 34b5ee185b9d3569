#!/usr/bin/env bash
# Looks for inputs that break a reader or writer of files: libFuzzer, under the address and undefined-behaviour sanitizers.
# Called by `make fuzz`.
#
#   scripts/fuzz.sh [SECONDS] [FORMAT ..]     SECONDS for each format (default: 60); FORMAT as in tests/fuzz/FORMAT.cpp
#                                             (default: all). RUNS=1000000 ends a format after so many inputs, too
#
# What reached new code is kept in build-fuzz/corpus/FORMAT, where the next search begins. An input that was found is saved in
# out/fuzz, and the exit code is 1; it is 77 where clang++ or its libFuzzer is not installed.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
formats=("${@:2}")
if [ ${#formats[@]} = 0 ]; then
    for source in tests/fuzz/*.cpp; do formats+=("$(basename "$source" .cpp)"); done
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if ! echo 'extern "C" int LLVMFuzzerTestOneInput(const char*, unsigned long) { return 0; }' |
    clang++ -fsanitize=fuzzer,address -x c++ - -o "$folder/try" 2>"$folder/why"; then
    echo "fuzz: left out: no clang++ with libFuzzer here ($(head -n 1 "$folder/why"))"
    exit 77
fi
cmake --preset fuzz >/dev/null
cmake --build build-fuzz --parallel "$(getconf _NPROCESSORS_ONLN)" --target "${formats[@]/#/fuzz_}" >"$folder/log" || {
    cat "$folder/log"
    exit 1
}
if [ -d /dev/shm ]; then  # where files are written and read again, and nothing waits for a disk
    rm -rf "$folder"
    folder=$(TMPDIR=/dev/shm mktemp -d)
fi
status=0
mkdir -p out/fuzz
for format in "${formats[@]}"; do
    program=build-fuzz/tests/fuzz_$format
    mkdir -p "build-fuzz/corpus/$format" "$folder/$format"
    "$program" "--seeds=$folder/$format"
    # An input has at most 4096 bytes (a picture 1000, or its pixels take the time), and none may take more than 5 seconds or
    # 256 MB at once.
    longest=4096
    if [ "$format" = image ]; then longest=1000; fi
    if TMPDIR=$folder "$program" -max_total_time="$seconds" -runs="${RUNS:--1}" -max_len="$longest" -timeout=5 -malloc_limit_mb=256 \
        -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="out/fuzz/$format-" "build-fuzz/corpus/$format" "$folder/$format" \
        >"$folder/log" 2>&1; then
        inputs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$folder/log")
        rate=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$folder/log")
        echo "fuzz: $format: $inputs inputs, $rate a second: nothing found"
    else
        status=1
        tail -n 60 "$folder/log"
        echo "fuzz: $format: found something; once more: $program $(sed -n 's/.*Test unit written to //p' "$folder/log")"
    fi
done
exit "$status"
