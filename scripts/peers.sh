#!/usr/bin/env bash
# Holds our modules and drawings against diffusers and transformers, both ways. Called by `make peers`.
#
#   scripts/peers.sh BIN_DIR [OPTION...]   options of bench/torch/peers: --only UNet2DModel
#   scripts/peers.sh --write               renews tests/data/peers, the numbers that `make test` compares with
#
# PyTorch and the others, in the versions of bench/torch/requirements.txt, are put into build/peers once. On Linux PyTorch
# brings CUDA: 3 GB to load, 6 GB on the disk. PIP_ARGS goes to pip, an index of wheels for CPUs alone for instance; PYTHON
# names the Python, 3.10 or newer (default: python3). Exit 77 where they cannot be installed.
set -euo pipefail
cd "$(dirname "$0")/.."
environment=build/peers
wanted=bench/torch/requirements.txt
if ! cmp -s "$wanted" "$environment/installed"; then
    echo "peers: installing PyTorch, diffusers and transformers in $environment"
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    rm -rf "$environment"
    # shellcheck disable=SC2086  # PIP_ARGS are words
    if ! { "${PYTHON:-python3}" -m venv "$environment" && "$environment/bin/pip" install ${PIP_ARGS:-} -r "$wanted" &&
        "$environment/bin/python" -c 'import diffusers, torch, transformers'; } >"$log" 2>&1; then
        rm -rf "$environment"
        echo "peers: skipped: PyTorch cannot be installed here: $(grep -v '^[[:space:]]*$' "$log" | tail -n 1)"
        exit 77
    fi
    cp "$wanted" "$environment/installed"
fi
export OMP_WAIT_POLICY=passive PYTHONDONTWRITEBYTECODE=1
if [ "${1:-}" = --write ]; then set -- --write tests/data/peers; fi
exec "$environment/bin/python" bench/torch/peers "$@"
