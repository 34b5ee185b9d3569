#!/bin/sh
# usage: gpu_test.sh SOURCE_DIR
# scripts/gpu.sh with programs that all fail: it must start every one of them, and fail at the end; with programs that all work
# it must not.
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/bin"
for name in cuda cuda_bench compute-sanitizer python; do
    cat >"$folder/bin/$name" <<'END'
#!/bin/sh
echo "started ${0##*/} $*"
case "$*" in "-c import torch") exit 0 ;; esac
exit "$CODE"
END
    chmod +x "$folder/bin/$name"
done
run() { CODE=$1 PYTHON=$folder/bin/python PATH="$folder/bin:$PATH" "$2/scripts/gpu.sh" "$folder/bin" 2>&1; }
said=$(run 1 "$1") && { echo "gpu.sh does not fail where everything else does"; exit 1; }
for wanted in "started cuda --check" "started compute-sanitizer --tool memcheck" "started compute-sanitizer --tool synccheck" \
    "started cuda_bench libraries" "started python bench/torch/compare_gpu.py" "gpu: FAILED: $folder/bin/cuda_bench libraries"; do
    case $said in *"$wanted"*) ;; *) printf '%s\nmissing: %s\n' "$said" "$wanted"; exit 1 ;; esac
done
run 0 "$1" >/dev/null || { echo "gpu.sh fails where nothing else does"; exit 1; }
