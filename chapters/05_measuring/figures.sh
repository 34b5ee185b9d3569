#!/usr/bin/env bash
# The run behind this chapter's figures: 5,000 pictures of each set. Called by `make figures` with the folder of the programs.
set -euo pipefail
"$1/05_measuring" --preset standard
