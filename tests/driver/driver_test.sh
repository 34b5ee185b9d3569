#!/bin/sh
# usage: driver_test.sh DRIVER_FOLDER MESSAGE PROGRAM [ARGUMENT..]
# With the driver in that folder the program must say one line, which contains the message, and exit with 1.
driver=$1 message=$2
shift 2
said=$(LD_LIBRARY_PATH=$driver "$@" 2>&1)
code=$?
echo "exit $code: $said"
[ $code = 1 ] && [ "$(printf '%s\n' "$said" | wc -l)" -eq 1 ] || exit 1
case $said in *"$message"*) ;; *) exit 1 ;; esac
