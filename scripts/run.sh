#!/usr/bin/env bash
# Runs every chapter's experiment in order, draws the curves, and makes the gallery. Called by `make run`.
#
#   scripts/run.sh BIN_DIR [CHAPTER [OPTION...]]     CHAPTER: two digits, or "" for all; options go to the programs
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$1
chapter=${2:-}
shift $(($# < 2 ? $# : 2))

# shellcheck disable=SC2206  # the default is a pattern
programs=("$bin"/${chapter:-[0-9][0-9]}_*)
if [ ! -x "${programs[0]}" ]; then
    echo "run: there is no program for chapter ${chapter:-01}" >&2
    exit 1
fi

# The real digits, if they can be had quickly; otherwise the programs draw their own and say so.
has_mnist() { # the folders in which the programs look, see src/data/find.cpp
    local folder
    for folder in "$1" "$1/mnist" "$1/MNIST" "$1/MNIST/raw"; do
        if compgen -G "$folder/train-images*" >/dev/null; then return 0; fi
    done
    return 1
}
if ! has_mnist "${DIFFUSION_DATA:-/nowhere}" && ! has_mnist data; then
    limit=""
    if command -v timeout >/dev/null; then limit="timeout 120"; fi
    $limit data/download.sh mnist || echo "run: no MNIST; going on with the built-in digits"
fi

failed=""
for program in "${programs[@]}"; do
    name=$(basename "$program")
    echo
    echo "== $name $*"
    status=0
    if [ -n "${FIGURES:-}" ] && [ $# = 0 ] && [ -x "chapters/$name/figures.sh" ]; then
        "chapters/$name/figures.sh" "$bin" || status=$? # where the lesson shows more than the default run
    else
        "$program" "$@" || status=$?
    fi
    if [ "$status" -ge 128 ]; then exit "$status"; fi # Ctrl-C means all of it
    if [ "$status" != 0 ]; then failed="$failed $name"; fi
done

echo
python=""
for candidate in python3 /usr/bin/python3; do
    if [ -z "$python" ] && "$candidate" -c 'import numpy, matplotlib' 2>/dev/null; then python=$candidate; fi
done
if [ -z "$python" ]; then
    echo "run: no curves: NumPy and matplotlib are not installed"
elif ! "$python" scripts/plot.py out ${FIGURES:+--figures}; then
    failed="$failed scripts/plot.py"
fi
"$bin"/gallery out || failed="$failed gallery"
if [ -n "$failed" ]; then
    echo "run: failed:$failed" >&2
    exit 1
fi
