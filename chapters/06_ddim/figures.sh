#!/usr/bin/env bash
# The run behind this chapter's figures, with what chapter 4 has left (preset standard). Called by `make figures` with the folder of the programs.
set -euo pipefail
"$1/06_ddim" --preset standard
