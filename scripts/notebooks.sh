#!/usr/bin/env bash
# Executes every notebook and keeps its outputs. Fails on an error or where a notebook and the programs disagree.
# Called by `make notebooks`; runs the chapters first whose tables are not there.
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

for name in 01_forward_noising/schedules.csv 02_gradients/loss.csv 03_reverse_process/fields.csv 04_unet/model.safetensors \
    05_measuring/distances.csv 06_ddim/quality.csv; do
    if [ -x "$bin/${name%%/*}" ] && [ ! -f "out/$name" ]; then "$bin/${name%%/*}"; fi
done
# One step of the network, and twenty of DDIM, from noise of NumPy's.
if [ -x "$bin/06_ddim" ]; then
    mkdir -p out/notebook_04
    "$python" -c 'import numpy as np
np.save("out/notebook_04/noise.npy", np.random.default_rng(4).standard_normal((8, 28, 28, 1), dtype=np.float32))'
    "$bin/04_unet" sample --model out/04_unet/model.safetensors --steps 1 --noise out/notebook_04/noise.npy --save-npy \
        --out out/notebook_04
    "$bin/06_ddim" sample --model out/04_unet/model.safetensors --sampler ddim --steps 20 --grid late \
        --noise out/notebook_04/noise.npy --save-npy --out out/notebook_06
fi

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
    for output in cell.get("outputs", []):
        output.pop("execution_count", None) if output["output_type"] != "execute_result" else None
with open(path, "w") as file:
    json.dump(notebook, file, indent=1, ensure_ascii=False)
    file.write("\n")
PY
done
