#!/usr/bin/env bash
# The runs behind this chapter's figures: the lesson shows what ten minutes of training bring, the README what one minute
# does, too; and the benchmark's tables. Called by `make figures` with the folder of the programs.
set -euo pipefail
"$1/04_unet" --out out/04_unet_quick
"$1/04_unet" --preset standard
"$1/bench" versions
"$1/bench" growth
"$1/bench" sizes
