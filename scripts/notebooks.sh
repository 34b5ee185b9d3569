#!/usr/bin/env bash
# Executes every notebook and keeps its outputs. Fails on an error or where a notebook and the programs disagree.
# Called by `make notebooks`; runs the chapters first, preset quick, into out/notebooks.
#
#   scripts/notebooks.sh BIN_DIR
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$1

python=""
for candidate in python3 /usr/bin/python3; do
    if [ -z "$python" ] && "$candidate" -c 'import numpy, matplotlib, nbconvert, ipykernel' 2>/dev/null; then python=$candidate; fi
done
if [ -z "$python" ]; then
    echo "notebooks: Python has no nbconvert and ipykernel (scripts/setup.sh notebooks installs them)" >&2
    exit 1
fi

# What the programs write now, not what an earlier run has left.
out=out/notebooks
rm -rf "$out"
for program in "$bin"/[0-9][0-9]_*; do
    "$program" --out "$out/$(basename "$program")"
done
# One step of the network, and twenty of DDIM, from noise of NumPy's.
if [ -x "$bin/06_ddim" ]; then
    mkdir -p "$out/one_step"
    "$python" -c 'import sys, numpy as np
np.save(sys.argv[1], np.random.default_rng(4).standard_normal((8, 28, 28, 1), dtype=np.float32))' "$out/one_step/noise.npy"
    from="--model $out/04_unet --noise $out/one_step/noise.npy --save-npy"
    # shellcheck disable=SC2086  # the options are words
    "$bin/04_unet" sample $from --steps 1 --out "$out/one_step"
    # shellcheck disable=SC2086
    "$bin/06_ddim" sample $from --sampler ddim --steps 20 --grid late --out "$out/twenty_steps"
fi
# Four latents of NumPy's, decoded.
if [ -x "$bin/07_latent_vae" ]; then
    mkdir -p "$out/decoded"
    "$python" -c 'import sys, numpy as np
np.save(sys.argv[1], np.random.default_rng(4).standard_normal((4, 8, 8, 4), dtype=np.float32))' "$out/decoded/latents.npy"
    "$bin/07_latent_vae" decode --model "$out/07_latent_vae" --latents "$out/decoded/latents.npy" --out "$out/decoded"
fi
export NOTEBOOKS_STRICT=1 PYDEVD_DISABLE_FILE_VALIDATION=1

for notebook in notebooks/*.ipynb; do
    echo "notebooks: $notebook"
    "$python" -m nbconvert --to notebook --execute --inplace --log-level WARN "$notebook"
    "$python" - "$notebook" <<'PY'
# What only says who ran it, and when, would change the file each time.
import json, sys
path = sys.argv[1]
with open(path) as file:
    notebook = json.load(file)
notebook["metadata"]["language_info"] = {"name": "python"}
for cell in notebook["cells"]:
    cell["metadata"] = {}
with open(path, "w") as file:
    json.dump(notebook, file, indent=1, ensure_ascii=False)
    file.write("\n")
PY
done
