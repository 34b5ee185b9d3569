#!/usr/bin/env bash
# Looks for what the book needs and installs what is missing with the system's package manager.
#
#   scripts/setup.sh                 apt-get, dnf or brew; sudo only if you are not root
#   scripts/setup.sh notebooks       also what executes notebooks
#   SKIP_DEPS=1 scripts/setup.sh     only says what is missing
#
# Needed: a C++20 compiler, make, CMake 3.24. Headers that are missing (Eigen, CLI11, doctest, nlohmann/json, stb,
# zlib) CMake can also download. Wanted: OpenMP (else one core), curl (else no data sets), NumPy and matplotlib
# (else no curves).
# shellcheck disable=SC2086,SC2116  # lists are words with spaces between them, split on purpose
set -euo pipefail

cxx=${CXX:-c++}
asked=${1:-}
brew_prefix=""
if command -v brew >/dev/null; then brew_prefix=$(brew --prefix); fi

has_cmake() {
    command -v cmake >/dev/null && [ "$(printf '%s\n' 3.24 "$(cmake --version | sed -n '1s/[^0-9]*//p')" |
        sort -V | head -n 1)" = 3.24 ]
}

# has_modules MODULE...: whether a Python here has them all.
has_modules() {
    local python
    for python in python3 /usr/bin/python3; do
        "$python" -c 'import importlib.util as i, sys; exit(None in map(i.find_spec, sys.argv[1:]))' "$@" 2>/dev/null && return 0
    done
    return 1
}

has_openmp() {
    [ -n "$brew_prefix" ] && [ -d "$brew_prefix/opt/libomp" ] && return 0
    echo '#include <omp.h>' | "$cxx" -fopenmp -x c++ -E - >/dev/null 2>&1
}

# Sets needed, headers and wanted to the names of what is missing.
look() {
    needed="" headers="" wanted=""
    command -v make >/dev/null || needed="$needed make"
    has_cmake || needed="$needed cmake"
    if echo 'static_assert(__cplusplus > 201703L);' | "$cxx" -std=c++20 -x c++ -fsyntax-only - 2>/dev/null; then
        headers=$({ # one run of the preprocessor answers for all
            for pair in eigen:Eigen/Core cli11:CLI/CLI.hpp doctest:doctest/doctest.h json:nlohmann/json.hpp \
                stb:stb/stb_image_write.h zlib:zlib.h; do
                printf '#if !__has_include(<%s>)\n%s\n#endif\n' "${pair#*:}" "${pair%%:*}"
            done
        } | "$cxx" -std=c++20 -x c++ -E -P -I/usr/include/eigen3 -I/usr/local/include -I/usr/local/include/eigen3 \
            ${brew_prefix:+-I"$brew_prefix/include" -I"$brew_prefix/include/eigen3"} - | tr '\n' ' ')
        has_openmp || wanted="$wanted openmp"
    else
        needed="$needed compiler" headers="eigen cli11 doctest json stb zlib"
    fi
    command -v curl >/dev/null || command -v wget >/dev/null || wanted="$wanted curl"
    has_modules numpy matplotlib || wanted="$wanted plots"
    [ "$asked" != notebooks ] || has_modules numpy matplotlib nbconvert ipykernel || wanted="$wanted plots notebooks"
    needed=$(echo $needed) headers=$(echo $headers) wanted=$(echo $wanted) # one space between words
}

# The package that brings a thing; nothing where there is none.
package() {
    case $manager:$1 in
    brew:make | brew:compiler | brew:stb | brew:zlib | brew:curl) ;; # with Xcode's tools; stb: by CMake
    brew:notebooks) ;;                                                # told below
    apt-get:curl) echo curl ca-certificates ;;
    *:make | *:cmake | *:curl) echo "$1" ;;
    apt-get:compiler) echo g++ ;;
    apt-get:eigen) echo libeigen3-dev ;;
    apt-get:cli11) echo libcli11-dev ;;
    apt-get:doctest) echo doctest-dev ;;
    apt-get:json) echo nlohmann-json3-dev ;;
    apt-get:stb) echo libstb-dev ;;
    apt-get:zlib) echo zlib1g-dev ;;
    apt-get:openmp) echo libomp-dev ;; # g++ brings its own
    apt-get:plots) echo python3-numpy python3-matplotlib ;;
    apt-get:notebooks) echo jupyter-nbconvert python3-ipykernel ;;
    dnf:compiler) echo gcc-c++ ;;
    dnf:json) echo json-devel ;;
    dnf:eigen) echo eigen3-devel ;;
    dnf:stb) echo stb_image-devel stb_image_write-devel ;;
    dnf:openmp) echo libomp-devel ;;
    dnf:plots) echo python3-numpy python3-matplotlib ;;
    dnf:notebooks) echo python3-nbconvert python3-ipykernel ;;
    dnf:*) echo "$1-devel" ;;
    brew:json) echo nlohmann-json ;;
    brew:openmp) echo libomp ;;
    brew:plots) echo numpy python-matplotlib ;;
    brew:*) echo "$1" ;;
    esac
}

# install THING...: says what it does; false if the package manager failed.
install() {
    local thing packages="" log status=0
    for thing in "$@"; do packages="$packages $(package "$thing")"; done
    packages=$(echo $packages)
    [ -n "$packages" ] || return 0
    echo "setup: installing with ${root:+$root }$manager: $packages"
    log=$(mktemp)
    case $manager in
    apt-get)
        { $root apt-get update && $root env DEBIAN_FRONTEND=noninteractive apt-get install -y \
            --no-install-recommends $packages; } >"$log" 2>&1 || status=1
        ;;
    dnf) $root dnf install -y $packages >"$log" 2>&1 || status=1 ;;
    brew) brew install $packages >"$log" 2>&1 || status=1 ;;
    esac
    [ "$status" = 0 ] || tail -n 15 "$log" >&2
    rm -f "$log"
    return "$status"
}

look
if [ -z "$needed$headers$wanted" ]; then
    echo "setup: nothing is missing"
    exit 0
fi
echo "setup: missing: $(echo $needed $headers $wanted)"

manager="" root=""
for name in apt-get dnf brew; do
    if [ -z "$manager" ] && command -v $name >/dev/null; then manager=$name; fi
done
if [ "$manager" != brew ] && [ "$(id -u)" != 0 ]; then root=sudo; fi

if [ "${SKIP_DEPS:-0}" = 1 ]; then
    echo "setup: SKIP_DEPS=1 is set, so nothing was installed"
elif [ -z "$manager" ]; then
    echo "setup: there is no apt-get, dnf or brew here, so nothing was installed"
elif [ -n "$root" ] && ! command -v sudo >/dev/null; then
    echo "setup: you are not root and there is no sudo, so nothing was installed"
else
    install $needed $headers || true # what is still missing is told below
    install $wanted || echo "setup: going on without: $wanted"
    look
    [ -n "$needed$headers$wanted" ] || echo "setup: done; nothing is missing now"
fi

case " $wanted " in *" openmp "*) echo "setup: without OpenMP everything runs on one core" ;; esac
case " $wanted " in *" plots "*) echo "setup: without NumPy and matplotlib there are pictures but no curves" ;; esac
case " $wanted " in *" notebooks "*)
    echo "setup: for the notebooks: pip install numpy matplotlib nbconvert ipykernel, for the python3 in your PATH" ;;
esac
case " $wanted " in *" curl "*) echo "setup: without curl or wget the built-in digits are used" ;; esac
if [ -n "$headers" ] && [ -z "$needed" ]; then
    echo "setup: CMake will download: $headers"
fi
if [ -n "$needed" ]; then
    echo "setup: cannot go on without: $needed" >&2
    case " $needed " in
    *" compiler "*) echo "  compiler: g++ 12 or clang++ 14 or newer; macOS: xcode-select --install" >&2 ;;
    esac
    case " $needed " in
    *" cmake "*) echo "  cmake: 3.24 or newer; where the system's is older: python3 -m pip install cmake" >&2 ;;
    esac
    exit 1
fi
