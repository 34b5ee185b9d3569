#!/usr/bin/env bash
# Everything that takes a GPU: the kernels against the CPU's code, plainly and under compute-sanitizer; their times; NVIDIA's
# libraries and PyTorch beside ours, where they are installed. Called by `make gpu`. What fails is told, and the rest goes on;
# the exit code is 1 if anything failed.
#
#   scripts/gpu.sh BIN_DIR       PYTHON names the Python that has PyTorch (default: python3)
set -uo pipefail
bin=$(cd "$1" && pwd) || exit 1
cd "$(dirname "$0")/.." || exit 1
python=${PYTHON:-python3}
if [ ! -x "$bin/cuda" ]; then
    echo "gpu: there is no $bin/cuda: nvcc was not found when the project was configured (-DDIFFUSION_CUDA=ON says why)" >&2
    exit 1
fi
failed=()
try() {
    echo "gpu: $*"
    "$@" || failed+=("$*")
}
try "$bin/cuda" --check
if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck initcheck racecheck synccheck; do
        try compute-sanitizer --tool "$tool" --error-exitcode 1 "$bin/cuda" --check
    done
else
    echo "gpu: compute-sanitizer is not installed"
fi
try "$bin/cuda"
if [ -x "$bin/cuda_bench" ]; then try "$bin/cuda_bench" libraries; else echo "gpu: cuBLAS and cuDNN are not installed"; fi
if "$python" -c 'import torch' 2>/dev/null; then
    try "$python" bench/torch/compare_gpu.py "$bin/cuda"
else
    echo "gpu: $python has no PyTorch (PYTHON=... names another one): no comparison"
fi
for command in "${failed[@]:+${failed[@]}}"; do echo "gpu: FAILED: $command" >&2; done
[ ${#failed[@]} -eq 0 ]
