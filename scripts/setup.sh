#!/usr/bin/env bash
# Installs what the build needs and the system lacks, and says what it did. SKIP_DEPS=1 forbids installing.
set -euo pipefail

missing=""
lacks() { missing="$missing $1"; }
has_header() { echo "#include <$1>" | ${CXX:-c++} -std=c++20 -I/usr/include/eigen3 -I/usr/include/stb -I/opt/homebrew/include -I/opt/homebrew/include/eigen3 -x c++ -fsyntax-only - 2>/dev/null; }

command -v "${CXX:-c++}" >/dev/null || lacks compiler
command -v cmake >/dev/null || lacks cmake
if command -v "${CXX:-c++}" >/dev/null; then
    has_header Eigen/Core || lacks eigen
    has_header doctest/doctest.h || lacks doctest
    has_header CLI/Version.hpp || lacks cli11
    has_header nlohmann/json_fwd.hpp || lacks json
    has_header zlib.h || lacks zlib
    has_header stb_image.h || lacks stb
else
    missing="$missing eigen doctest cli11 json zlib stb"
fi
if [ -z "$missing" ]; then
    echo "setup: everything is here"
    exit 0
fi
if [ "${SKIP_DEPS:-0}" = 1 ]; then
    echo "setup: not found:$missing; SKIP_DEPS=1, so nothing is installed (CMake downloads missing headers itself)"
    exit 0
fi

root=""
[ "$(id -u)" = 0 ] || root=sudo
if command -v apt-get >/dev/null; then
    names="compiler=g++ cmake=cmake eigen=libeigen3-dev doctest=doctest-dev cli11=libcli11-dev json=nlohmann-json3-dev zlib=zlib1g-dev stb=libstb-dev"
    install() { $root apt-get update -qq && $root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null; }
elif command -v dnf >/dev/null; then
    names="compiler=gcc-c++ cmake=cmake eigen=eigen3-devel doctest=doctest-devel cli11=cli11-devel json=json-devel zlib=zlib-devel stb=stb-devel"
    install() { $root dnf install -y -q "$@"; }
elif command -v brew >/dev/null; then
    names="compiler=gcc cmake=cmake eigen=eigen doctest=doctest cli11=cli11 json=nlohmann-json zlib=zlib stb=libomp"
    install() { brew install -q "$@"; }
else
    echo "setup: not found:$missing; no apt-get, dnf or brew here: install them by hand" >&2
    exit 1
fi
packages=""
for item in $missing; do
    for name in $names; do
        [ "${name%%=*}" = "$item" ] && packages="$packages ${name#*=}"
    done
done
echo "setup: installing$packages"
# shellcheck disable=SC2086
install $packages
echo "setup: done"
