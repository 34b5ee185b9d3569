#!/usr/bin/env bash
# The pictures of lesson 7: the autoencoder and the diffusion of the preset standard, half an hour.
#
#   chapters/07_latent_vae/figures.sh BIN_DIR
set -euo pipefail
exec "$1/07_latent_vae" --preset standard
