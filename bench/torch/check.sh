#!/usr/bin/env bash
# Trains for a moment, draws with our program and with PyTorch from the same file and the same noise, and compares.
#
#   bench/torch/check.sh BIN_DIR [PYTHON]     exit 77, "skipped", where PyTorch or NumPy is missing
set -euo pipefail
bin=$1
python=${2:-${PYTHON:-python3}}
here=$(cd "$(dirname "$0")" && pwd)
if ! "$python" -c 'import torch, numpy' 2>/dev/null; then
    echo "check: $python has no PyTorch; skipped"
    exit 77
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -c 'import numpy, sys; numpy.save(sys.argv[1], numpy.random.default_rng(1).standard_normal((4, 28, 28, 1), "f4"))' \
    "$folder/noise.npy"
for options in "--base 16 --prediction x0" "--base 8 --prediction v --multipliers 1,2,4"; do
    # shellcheck disable=SC2086  # several words
    "$bin/04_unet" train --preset smoke --images 480 --dataset builtin $options --out "$folder/t" >/dev/null
    "$bin/04_unet" sample --model "$folder/t/model.safetensors" --steps 1 --noise "$folder/noise.npy" --save-npy \
        --out "$folder/s" >/dev/null
    "$python" "$here/check_unet.py" "$folder/t/model.safetensors" "$folder/s/samples.npy" "$folder/noise.npy"
    "$python" "$here/check_ddim.py" "$bin/06_ddim" "$folder/t/model.safetensors" "$folder/noise.npy" # whole paths, where differences add up
done
