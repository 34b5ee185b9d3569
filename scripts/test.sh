#!/usr/bin/env bash
# Runs the tests of a build folder and ends with one line that counts them. Called by `make test`.
#
#   scripts/test.sh BUILD_DIR [CHAPTER]     CHAPTER: two digits; SLOW=1 runs the slow tests too
set -euo pipefail
build=$1
chapter=${2:-}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
options=(--test-dir "$build" --output-on-failure --no-tests=error --parallel "$(getconf _NPROCESSORS_ONLN)")
if [ -n "$chapter" ]; then options+=(--label-regex "^ch$chapter\$"); fi
if [ "${SLOW:-0}" != 1 ]; then options+=(--label-exclude '^slow$'); fi

status=0
ctest "${options[@]}" 2>&1 | tee "$log" || status=$?
summary=$(sed -n 's/.* \([0-9]*\) tests failed out of \([0-9]*\)$/\1 \2/p' "$log" | tail -n 1)
if [ -n "$summary" ]; then
    failed=${summary% *}
    skipped=$(grep -c '\*\*\*Skipped' "$log" || true)
    echo
    echo "$((${summary#* } - failed - skipped)) passed, $failed failed$([ "$skipped" = 0 ] || echo ", $skipped skipped")"
fi
exit "$status"
