#!/usr/bin/env bash
# Everything that takes a GPU: the kernels against the CPU's code, plainly and under compute-sanitizer; their times; NVIDIA's
# libraries and PyTorch beside ours, where they are installed. Called by `make gpu`.
#
#   scripts/gpu.sh BIN_DIR       PYTHON names the Python that has PyTorch (default: python3)
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$1
if [ ! -x "$bin/cuda" ]; then
    echo "gpu: there is no $bin/cuda: nvcc was not found when the project was configured (-DDIFFUSION_CUDA=ON says why)" >&2
    exit 1
fi
"$bin/cuda" --check
if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck initcheck racecheck synccheck; do
        echo "gpu: compute-sanitizer --tool $tool"
        compute-sanitizer --tool "$tool" --error-exitcode 1 "$bin/cuda" --check
    done
else
    echo "gpu: compute-sanitizer is not installed"
fi
"$bin/cuda"
if [ -x "$bin/cuda_bench" ]; then "$bin/cuda_bench" libraries; else echo "gpu: cuBLAS and cuDNN are not installed"; fi
if "${PYTHON:-python3}" -c 'import torch' 2>/dev/null; then
    "${PYTHON:-python3}" bench/torch/compare_gpu.py "$bin/cuda"
else
    echo "gpu: ${PYTHON:-python3} has no PyTorch (PYTHON=... names another one): no comparison"
fi
