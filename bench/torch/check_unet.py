#!/usr/bin/env python3
"""Loads model.safetensors into the same UNet written in PyTorch and compares the two programs' outputs.

usage: check_unet.py MODEL.safetensors SAMPLES_1STEP.npy NOISE.npy

NOISE is what `04_unet sample --steps 1 --noise NOISE.npy --save-npy` started from, SAMPLES what it wrote: with one step
from t = T to 0 the sample is the network's clipped guess of x_0, so the comparison covers the whole network.
Needs PyTorch and NumPy. Exits 1 if any pixel differs by more than 1e-4.
"""
import math
import sys

import numpy as np
import torch

from flat_unet import FlatUNet
from names import to_flat
from unet import UNet, read_safetensors


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    arrays, meta = read_safetensors(sys.argv[1])
    if meta["prediction"] not in ("v", "x0") or meta["schedule"] != "cosine":
        sys.exit(f"this check knows x0 and v on the cosine schedule, not {meta['prediction']} on {meta['schedule']}")
    multipliers = [int(m) for m in meta["multipliers"].split(",")]
    shape = int(meta["channels"]), int(meta["base"]), multipliers, int(meta["heads"])
    net, flat = UNet(*shape), FlatUNet(*shape)
    net.load_state_dict(arrays)  # strict: every name and every shape
    flat.load_state_dict({to_flat(name, len(multipliers)): array for name, array in arrays.items()})
    noise = np.load(sys.argv[3])
    T = int(meta["T"])
    f = lambda i: math.cos((i / T + 0.008) / 1.008 * math.pi / 2) ** 2
    abar = 1.0
    for i in range(T):
        abar *= 1 - min(1 - f(i + 1) / f(i), 0.999)
    x = torch.from_numpy(noise).permute(0, 3, 1, 2).contiguous()
    with torch.no_grad():
        x0 = net(x, torch.full((len(noise),), T))
        between = (x0 - flat(x, torch.full((len(noise),), T - 1))).abs().max().item()
    if meta["prediction"] == "v":
        x0 = math.sqrt(abar) * x - math.sqrt(1 - abar) * x0
    x0 = x0.clamp(-1, 1).permute(0, 2, 3, 1).numpy()
    error = np.abs(x0 - np.load(sys.argv[2])).max()
    print(f"{sum(a.numel() for a in arrays.values())} parameters, {len(noise)} pictures, standard deviation {x0.std():.2f}, "
          f"largest difference {error:.2e}, of the flat network {between:.2e}")
    if x0.std() < 0.05:
        sys.exit("the network has learned too little for the comparison to mean anything")
    sys.exit(0 if max(error, between) <= 1e-4 else 1)


if __name__ == "__main__":
    main()
