#!/usr/bin/env bash
# The runs behind the lesson's figures: the autoencoder and the diffusion of the preset standard, the sweep of the KL's weight,
# wrong scales, and a diffusion of pixels to compare with; two hours.
#
#   chapters/07_latent_vae/figures.sh BIN_DIR
set -euo pipefail
program=$1/07_latent_vae
out=out/07_latent_vae
for kind in scenes emoji words; do
    if [ "$kind" = emoji ] && [ ! -d data/emoji ] && ! data/emoji.sh; then continue; fi
    "$program" canvases --dataset "$kind" --n 12 --out "$out/canvases_$kind"
done
"$program" --preset standard
for weight in 1e-4 1e-2 0.1 1 10 100; do
    "$program" train --preset quick --images 8000 --kl-weight "$weight" --out "$out/sweep/$weight"
done
for factor in 0.25 1 4; do
    "$program" diffuse --preset standard --images 32000 --vae "$out" --scale-by "$factor" --out "$out/scale/$factor"
done
"$program" diffuse --preset standard --pixels --out "$out/pixels"
for model in "$out" "$out/pixels"; do
    "$program" sample --model "$model" --n 5000 --save-npy --out "$out/drawn/$(basename "$model")"
    "$program" judge --samples "$out/drawn/$(basename "$model")/samples.npy" --out "$out/judge"
done
