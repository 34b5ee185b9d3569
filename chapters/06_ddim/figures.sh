#!/usr/bin/env bash
# The run behind this chapter's figures: every sampler, up to 1000 steps. Called by `make figures` with the folder of the programs.
set -euo pipefail
"$1/06_ddim" --preset standard
