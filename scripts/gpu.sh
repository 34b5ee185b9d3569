#!/usr/bin/env bash
# Everything that takes a GPU: the kernels against the CPU's code; a training that must repeat byte for byte; times; NVIDIA's
# libraries and PyTorch beside ours, a profile, and the checks once more under compute-sanitizer, where these are installed.
# Called by `make gpu`. What fails is told, and the rest goes on; the exit code is 1 if anything failed. What tells most comes
# first, should the time be short.
#
#   scripts/gpu.sh BIN_DIR       PYTHON names the Python that has PyTorch (default: python3)
#                                LIMIT is how many seconds a step may take (default: 600, against steps that hang)
#                                OUT is the folder for what is printed and trained (default: out/gpu)
set -uo pipefail
bin=$(cd "$1" && pwd) || exit 1
cd "$(dirname "$0")/.." || exit 1
python=${PYTHON:-python3}
limit=${LIMIT:-600}
out=${OUT:-out/gpu}
if [ ! -x "$bin/cuda" ]; then
    echo "gpu: there is no $bin/cuda: nvcc was not found when the project was configured (-DDIFFUSION_CUDA=ON says why)" >&2
    exit 1
fi
mkdir -p "$out" || exit 1
failed=()
steps=0
try() {
    steps=$((steps + 1))
    echo "gpu: $*"
    timeout -k 10 "$limit" "$@" 2>&1 | tee "$out/$(printf %02d "$steps").txt"
    local code=${PIPESTATUS[0]}
    [ "$code" -eq 0 ] && return
    if [ "$code" -eq 124 ] || [ "$code" -eq 137 ]; then failed+=("$* (stopped after $limit s)"); else failed+=("$*"); fi
}
try "$bin/cuda" --check
if [ -x "$bin/04_unet" ]; then
    for run in first second; do
        rm -rf "${out:?}/$run"  # or it would go on where another left off
        try "$bin/04_unet" train --device cuda --preset smoke --out "$out/$run"
    done
    try diff -r "$out/first/unet" "$out/second/unet"
else
    echo "gpu: there is no $bin/04_unet: no training"
fi
try "$bin/cuda" 01 02 03 convolution "group norm" attention "the UNet" 06
try "$bin/cuda" training
if [ -x "$bin/cuda_bench" ]; then try "$bin/cuda_bench" libraries; else echo "gpu: cuBLAS and cuDNN are not installed"; fi
if "$python" -c 'import torch' 2>/dev/null; then
    try "$python" bench/torch/compare_gpu.py "$bin/cuda"
else
    echo "gpu: $python has no PyTorch (PYTHON=... names another one): no comparison"
fi
if command -v ncu >/dev/null; then
    # Of the products those in large tiles, which only the times use; each is run several times over.
    try ncu --kernel-name-base demangled --kernel-name 'regex:product_tiled.*Large' --launch-count 6 "$bin/cuda" convolution
    try ncu --kernel-name group_norm_vjp_kernel --launch-count 6 "$bin/cuda" "group norm"
else
    echo "gpu: ncu (Nsight Compute) is not installed: no profile"
fi
if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck initcheck racecheck synccheck; do
        try compute-sanitizer --tool "$tool" --error-exitcode 1 "$bin/cuda" --check
    done
else
    echo "gpu: compute-sanitizer is not installed"
fi
try "$bin/cuda" 05
for command in "${failed[@]:+${failed[@]}}"; do echo "gpu: FAILED: $command" >&2; done
[ ${#failed[@]} -eq 0 ]
