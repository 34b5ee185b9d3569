#!/usr/bin/env bash
# The runs behind the lesson's figures: the autoencoders and the diffusion of the preset standard, what judges read, the sweep of the
# KL's weight, wrong scales, and a diffusion of pixels to compare with; an hour and a half.
#
#   chapters/07_latent_vae/figures.sh BIN_DIR
set -euo pipefail
program=$1/07_latent_vae
out=out/07_latent_vae
kinds="scenes words"
if [ -f data/emoji/captions.csv ] || data/emoji.sh; then kinds="$kinds emoji"; fi
for kind in $kinds; do
    "$program" canvases --dataset "$kind" --n 12 --out "$out/canvases_$kind"
done
"$program" --preset standard
for kind in $kinds; do
    if [ "$kind" != scenes ]; then "$program" train --preset standard --images 60000 --dataset "$kind" --out "$out/of_$kind"; fi
done
"$program" judge --vae "$out" --out "$out/judge"
"$program" judge --vae "$out/of_words" --out "$out/judge"
for weight in 1e-4 1e-2 0.1 1 10 100; do
    "$program" train --preset quick --images 8000 --kl-weight "$weight" --out "$out/sweep/$weight"
done
for factor in 0.25 1 4; do
    "$program" diffuse --preset standard --images 64000 --vae "$out" --scale-by "$factor" --out "$out/scale/$factor"
done
"$program" diffuse --preset standard --pixels --out "$out/pixels"
for model in latents pixels; do
    from=$out
    if [ "$model" = pixels ]; then from=$out/pixels; fi
    "$program" sample --model "$from" --n 5000 --save-npy --out "$out/drawn/$model"
    "$program" judge --samples "$out/drawn/$model/samples.npy" --out "$out/judge_$model"
done
