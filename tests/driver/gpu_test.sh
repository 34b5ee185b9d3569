#!/bin/sh
# usage: gpu_test.sh SOURCE_DIR
# scripts/gpu.sh with programs that all fail: it must start every one of them, and fail at the end; with programs that all work
# it must not; but it must if two trainings differ, or if a step takes too long.
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/bin"
for name in cuda cuda_bench compute-sanitizer ncu python 04_unet; do
    cat >"$folder/bin/$name" <<'END'
#!/bin/sh
echo "started ${0##*/} $*"
case "$*" in
    "-c import torch") exit 0 ;;
    05) sleep "$SECONDS_OF_05" ;;
    "train "*) while [ $# -gt 1 ]; do shift; done; mkdir -p "$1/unet" && echo "$MODEL ${1##*/}" | cut -c "$OF_IT" >"$1/unet/weights" ;;
esac
exit "$CODE"
END
    chmod +x "$folder/bin/$name"
done
run() { # what programs exit with, what of "m first" or "m second" a training writes, how long a step takes
    CODE=$1 MODEL=m OF_IT=$2 SECONDS_OF_05=$3 LIMIT=2 OUT=$folder/out PYTHON=$folder/bin/python PATH="$folder/bin:$PATH" \
        "$source/scripts/gpu.sh" "$folder/bin" 2>&1
}
source=$1
must_say() {
    case $said in *"$1"*) ;; *) printf '%s\nmissing: %s\n' "$said" "$1"; exit 1 ;; esac
}
said=$(run 1 1 0) && { echo "gpu.sh does not fail where everything else does"; exit 1; }
for wanted in "started cuda --check" "started 04_unet train --device cuda" "started cuda training" "started cuda 05" \
    "started compute-sanitizer --tool memcheck" "started compute-sanitizer --tool synccheck" "started ncu" \
    "started cuda_bench libraries" "started python bench/torch/compare_gpu.py" "gpu: FAILED: $folder/bin/cuda_bench libraries"; do
    must_say "$wanted"
done
said=$(run 0 1 0) || { printf '%s\ngpu.sh fails where nothing else does\n' "$said"; exit 1; }
said=$(run 0 1-9 0) && { echo "gpu.sh does not see that two trainings differ"; exit 1; }
must_say "gpu: FAILED: diff"
said=$(run 0 1 9) && { echo "gpu.sh waits for a step that takes too long"; exit 1; }
must_say "gpu: FAILED: $folder/bin/cuda 05 (stopped after 2 s)"
