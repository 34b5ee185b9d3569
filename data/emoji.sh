#!/bin/sh
# Unpacks the emoji of Noto Color Emoji with their English names: 1,367 pictures and captions.csv.
#
#   data/emoji.sh [FOLDER]      FOLDER: default data/emoji
#
# Needs Debian's or Ubuntu's packages fonts-noto-color-emoji, unicode-cldr-core and python3-fonttools; what is missing is
# installed where apt-get may. Exit status 0: everything is there; 1: something is missing or cannot be read.
set -eu
packages="fonts-noto-color-emoji unicode-cldr-core python3-fonttools"
missing=
for package in $packages; do
    dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"
done
if [ -n "$missing" ]; then
    become=
    [ "$(id -u)" = 0 ] || become=sudo
    # shellcheck disable=SC2086  # they are words
    if ! { $become apt-get update && $become apt-get install -y --no-install-recommends $missing; } >&2; then
        echo "emoji: cannot install$missing; install what holds these files, or go on without emoji" >&2
        exit 1
    fi
fi
# The system's own Python, which is the one that sees the package.
exec /usr/bin/python3 "$(dirname "$0")/emoji.py" "${1:-$(dirname "$0")/emoji}"
