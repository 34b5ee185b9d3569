#!/bin/sh
# Fetches a public data set into this folder and checks every file before it gets its name.
#
#   data/download.sh mnist|fashion|cifar10 [FOLDER]      FOLDER: default data/mnist and so on
#
# Files that are there and right are kept, so a second call costs nothing. Exit status 0: everything
# is there; 1: something could not be fetched (what was there before is untouched); 2: wrong usage.
# DIFFUSION_MIRRORS="URL URL": places to try instead of the built-in ones; file:///some/folder works.
set -eu

usage() {
    echo "usage: data/download.sh mnist|fashion|cifar10 [FOLDER]" >&2
    exit 2
}
[ $# -eq 1 ] || [ $# -eq 2 ] || usage
name=$1
folder=${2:-$(dirname "$0")/$name}

# Lines of: file, md5 of the file as published, md5 of its unpacked content (- where not published).
# The content decides for MNIST, because mirrors have packed it anew.
case $name in
mnist)
    mirrors="https://ossci-datasets.s3.amazonaws.com/mnist
        https://storage.googleapis.com/cvdf-datasets/mnist
        http://yann.lecun.com/exdb/mnist"
    table="train-images-idx3-ubyte.gz f68b3c2dcbeaaa9fbdd348bbdeb94873 6bbc9ace898e44ae57da46a324031adb
        train-labels-idx1-ubyte.gz d53e105ee54ea40749a09fcbcd1e9432 a25bea736e30d166cdddb491f175f624
        t10k-images-idx3-ubyte.gz 9fb629c4189551a2d022fa330f9573f3 2646ac647ad5339dbf082846283269ea
        t10k-labels-idx1-ubyte.gz ec29112dd5afa0611ce80d1b7f02629c 27ae3e4e09519cfbb04c329615203637"
    ;;
fashion)
    mirrors="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com
        https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion
        https://storage.googleapis.com/tensorflow/tf-keras-datasets"
    table="train-images-idx3-ubyte.gz 8d4fb7e6c68d591d4c3dfef9ec88bf0d -
        train-labels-idx1-ubyte.gz 25c81989df183df01b3e8a0aad5dffbe -
        t10k-images-idx3-ubyte.gz bef4ecab320f06d8554ea6380940ec79 -
        t10k-labels-idx1-ubyte.gz bb300cfdad3c16e7a12a480ee83cd310 -"
    ;;
cifar10)
    mirrors="https://www.cs.toronto.edu/~kriz
        https://cave.cs.toronto.edu/kriz
        https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10"
    table="cifar-10-binary.tar.gz c32a1d4ab5d03f1284b67883e8d87530 -"
    ;;
*) usage ;;
esac
mirrors=${DIFFUSION_MIRRORS:-$mirrors}

md5() { # of standard input; the tool differs between systems
    if command -v md5sum >/dev/null; then
        md5sum | cut -d ' ' -f 1
    elif [ -x /sbin/md5 ]; then
        /sbin/md5 -q
    else
        openssl md5 -r | cut -d ' ' -f 1
    fi
}

is_right() { # FILE MD5 MD5_OF_CONTENT
    [ "$(md5 <"$1")" = "$2" ] && return 0
    [ "$3" != - ] && [ "$(gzip -dc <"$1" 2>/dev/null | md5)" = "$3" ]
}

fetch() { # URL FILE: gives up after 5 s without a connection or 15 s with hardly any data
    if command -v curl >/dev/null; then
        curl -fsSL --connect-timeout 5 --speed-limit 2000 --speed-time 15 -o "$2" "$1"
    elif command -v wget >/dev/null; then
        wget -q --tries=1 --connect-timeout=5 --dns-timeout=5 --read-timeout=15 -O "$2" "$1"
    else
        echo "download.sh: needs curl or wget" >&2
        exit 1
    fi
}

cifar_files="data_batch_1.bin data_batch_2.bin data_batch_3.bin data_batch_4.bin data_batch_5.bin test_batch.bin"

cifar_is_unpacked() { # all six files in FOLDER, each 10,000 records of 3073 bytes
    for bin in $cifar_files; do # not "file": the shell's variables are all global
        [ -f "$1/$bin" ] && [ "$(($(wc -c <"$1/$bin")))" -eq 30730000 ] || return 1
    done
}

is_there() { # FILE MD5 MD5_OF_CONTENT
    if [ "$name" = cifar10 ]; then
        cifar_is_unpacked "$folder"
    else
        [ -f "$folder/$1" ] && is_right "$folder/$1" "$2" "$3"
    fi
}

install() { # DOWNLOAD FILE: under its name in one step, so that no program sees half a file
    if [ "$name" = cifar10 ]; then
        tar -xzf "$1" -C "$work"
        if ! cifar_is_unpacked "$work/cifar-10-batches-bin"; then
            echo "download.sh: $2: the archive does not hold the six CIFAR-10 files" >&2
            exit 1
        fi
        for bin in $cifar_files; do
            chmod 644 "$work/cifar-10-batches-bin/$bin"
            mv -f "$work/cifar-10-batches-bin/$bin" "$folder/$bin"
        done
        rm -f "$1"
    else
        mv -f "$1" "$folder/$2"
    fi
}

mkdir -p "$folder"
work=$(mktemp -d "$folder/.download.XXXXXX") # on the same disk, so that mv is a rename
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP

missing=$table
for mirror in $mirrors; do
    left=""
    reachable=yes
    while read -r file sum content; do
        [ -n "$file" ] || continue
        if is_there "$file" "$sum" "$content"; then
            continue
        fi
        if [ "$reachable" = yes ]; then
            echo "download.sh: $mirror/$file"
            if ! fetch "$mirror/$file" "$work/$file"; then
                reachable=no
                echo "download.sh: $mirror: not fetched" >&2
            elif is_right "$work/$file" "$sum" "$content"; then
                install "$work/$file" "$file"
                continue
            else
                echo "download.sh: $mirror/$file: wrong checksum, expected md5 $sum; not used" >&2
            fi
        fi
        left="$left
$file $sum $content"
    done <<LIST
$missing
LIST
    missing=$left
    [ -n "$missing" ] || break
done

if [ -n "$missing" ]; then
    echo "download.sh: $name is not complete in $folder; no mirror had:" >&2
    echo "$missing" | while read -r file _; do [ -z "$file" ] || echo "  $file" >&2; done
    exit 1
fi
echo "download.sh: $name is complete in $folder"
