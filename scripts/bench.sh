#!/usr/bin/env bash
# Compares the UNet with its PyTorch twin and draws the curves of the benchmark's tables. Called by `make bench`.
#
#   scripts/bench.sh BIN_DIR       PYTHON names the Python that has PyTorch (default: python3)
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$1
torch=${PYTHON:-python3}
if "$torch" -c 'import torch' 2>/dev/null; then
    "$torch" bench/torch/compare.py "$bin/bench" --out out/bench
else
    echo "bench: $torch has no PyTorch (PYTHON=... names another one): no comparison"
fi
for python in python3 /usr/bin/python3; do
    if "$python" -c 'import matplotlib' 2>/dev/null; then
        exec "$python" bench/plot.py out/bench
    fi
done
echo "bench: no curves: matplotlib is not installed"
