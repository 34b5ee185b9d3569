#!/bin/sh
# Unpacks the emoji of Noto Color Emoji with their English names: 1,367 pictures (of font 2.042 and CLDR 41) and captions.csv.
#
#   data/emoji.sh [FOLDER]      FOLDER: default data/emoji
#
# Needs what Debian and Ubuntu have in the packages fonts-noto-color-emoji, unicode-cldr-core and python3-fonttools. As root it installs
# what is missing; otherwise it says how. Where the files lie elsewhere: data/emoji.py FOLDER FONT ANNOTATIONS.
# Exit status 0: everything is there; 1: something is missing or cannot be read.
set -eu
here=$(dirname "$0")
missing=
[ -f /usr/share/fonts/truetype/noto/NotoColorEmoji.ttf ] || missing="$missing fonts-noto-color-emoji"
[ -f /usr/share/unicode/cldr/common/annotations/en.xml ] || missing="$missing unicode-cldr-core"
# The system's own Python is the one that sees the package.
/usr/bin/python3 -c 'import fontTools' 2>/dev/null || missing="$missing python3-fonttools"
if [ -n "$missing" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    # shellcheck disable=SC2086  # they are words
    if { apt-get update && apt-get install -y --no-install-recommends $missing; } >&2; then missing=; fi
fi
if [ -n "$missing" ]; then
    echo "emoji: missing:$missing; install them (sudo apt-get install$missing), or give data/emoji.py the files" >&2
    exit 1
fi
exec /usr/bin/python3 "$here/emoji.py" "${1:-$here/emoji}"
