#!/usr/bin/env python3
"""Draws with the same weights and the same noise in PyTorch and compares with what 06_ddim wrote.

usage: check_ddim.py MODEL.safetensors SAMPLES.npy NOISE.npy SAMPLER STEPS

SAMPLES is what `06_ddim sample --sampler SAMPLER --steps STEPS --noise NOISE.npy --save-npy` wrote, SAMPLER is ddim or
dpmpp2m, on the trailing grid. The formulas are written out once more here, from the papers.
Needs PyTorch and NumPy. Exits 1 if any pixel differs by more than 1e-4.
"""
import math
import sys

import numpy as np
import torch

from unet import UNet, read_safetensors


def main():
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    arrays, meta = read_safetensors(sys.argv[1])
    if meta["prediction"] not in ("v", "x0") or meta["schedule"] != "cosine":
        sys.exit(f"this check knows x0 and v on the cosine schedule, not {meta['prediction']} on {meta['schedule']}")
    sampler, steps = sys.argv[4], int(sys.argv[5])
    net = UNet(int(meta["channels"]), int(meta["base"]), [int(m) for m in meta["multipliers"].split(",")], int(meta["heads"]))
    net.load_state_dict(arrays)
    T = int(meta["T"])
    f = lambda i: math.cos((i / T + 0.008) / 1.008 * math.pi / 2) ** 2
    abar = [1.0]
    for i in range(T):
        abar.append(abar[-1] * (1 - min(1 - f(i + 1) / f(i), 0.999)))
    times = [(T * i + steps // 2) // steps for i in range(steps, -1, -1)]
    x = torch.from_numpy(np.load(sys.argv[3])).permute(0, 3, 1, 2).double()
    before = before_h = None
    for t, s in zip(times, times[1:]):
        a, n, a_next, n_next = (math.sqrt(v) for v in (abar[t], 1 - abar[t], abar[s], 1 - abar[s]))
        with torch.no_grad():
            x0 = net(x.float(), torch.full((len(x),), t)).double()
        if meta["prediction"] == "v":
            x0 = a * x - n * x0
        x0 = x0.clamp(-1, 1)
        if sampler == "ddim":
            x = a_next * x0 + n_next * (x - a * x0) / n
        else:
            h = math.log(a_next / n_next) - math.log(a / n) if s > 0 else math.inf
            d = x0 if before is None or s == 0 else x0 + h / (2 * before_h) * (x0 - before)
            x = n_next / n * x - a_next * (math.exp(-h) - 1) * d
            before, before_h = x0, h
    error = np.abs(x.permute(0, 2, 3, 1).numpy() - np.load(sys.argv[2])).max()
    print(f"{sampler}, {steps} steps: largest difference {error:.2e}, standard deviation {x.std().item():.2f}")
    sys.exit(0 if error <= 1e-4 else 1)


if __name__ == "__main__":
    main()
