#!/usr/bin/env python3
"""Draws with the same weights and the same noise in PyTorch and compares with what 06_ddim wrote.

usage: check_ddim.py MODEL.safetensors SAMPLES.npy NOISE.npy SAMPLER STEPS GRID

SAMPLES is what `06_ddim sample --sampler SAMPLER --steps STEPS --grid GRID --noise NOISE.npy --save-npy` wrote; SAMPLER is
ddim, euler, heun or dpmpp2m, GRID trailing, leading, linspace, karras, logsnr or late. The formulas are written out once more here, from the papers.
Needs PyTorch and NumPy. Exits 1 if any pixel differs by more than 1e-4.
"""
import math
import sys

import numpy as np
import torch

from unet import UNet, read_safetensors


def step_grid(grid, steps, abar):
    """The times that are visited, from the noisiest to 0."""
    T = len(abar) - 1
    log_sigma = [math.log((1 - v) / v) / 2 for v in abar[1:]]
    nearest = lambda wanted: 1 + min(range(T), key=lambda i: abs(log_sigma[i] - math.log(wanted)))
    most, least = min(80.0, math.exp(log_sigma[-1])), math.exp(log_sigma[0])
    way = lambda i: i / (steps - 1)
    time = {
        "trailing": lambda i: (T * (steps - i) + steps // 2) // steps,
        "leading": lambda i: 1 + (steps - 1 - i) * (T // steps),
        "linspace": lambda i: math.floor(T + (1 - T) * way(i) + 0.5),
        "karras": lambda i: nearest((most ** (1 / 7) + (least ** (1 / 7) - most ** (1 / 7)) * way(i)) ** 7),
        "logsnr": lambda i: nearest(most * (least / most) ** way(i)),
        "late": lambda i: math.floor(T * (1 - i / steps) ** 0.35 + 0.5),
    }[grid]
    times = [time(i) for i in range(steps)] + [0]
    return [t for i, t in enumerate(times) if i == 0 or t != times[i - 1]]


def main():
    if len(sys.argv) != 7:
        sys.exit(__doc__)
    arrays, meta = read_safetensors(sys.argv[1])
    if meta["prediction"] not in ("v", "x0") or meta["schedule"] != "cosine":
        sys.exit(f"this check knows x0 and v on the cosine schedule, not {meta['prediction']} on {meta['schedule']}")
    sampler, steps, grid = sys.argv[4], int(sys.argv[5]), sys.argv[6]
    net = UNet(int(meta["channels"]), int(meta["base"]), [int(m) for m in meta["multipliers"].split(",")], int(meta["heads"]))
    net.load_state_dict(arrays)
    T = int(meta["T"])
    f = lambda i: math.cos((i / T + 0.008) / 1.008 * math.pi / 2) ** 2
    abar = [1.0]
    for i in range(T):
        abar.append(abar[-1] * (1 - min(1 - f(i + 1) / f(i), 0.999)))
    times = step_grid(grid, steps, abar)
    x = torch.from_numpy(np.load(sys.argv[3])).permute(0, 3, 1, 2).double()
    before = before_h = None

    def guess(x, t):  # of x_0
        a, n = math.sqrt(abar[t]), math.sqrt(1 - abar[t])
        with torch.no_grad():
            x0 = net(x.float(), torch.full((len(x),), t)).double()
        return (a * x - n * x0 if meta["prediction"] == "v" else x0).clamp(-1, 1)

    for t, s in zip(times, times[1:]):
        a, n, a_next, n_next = (math.sqrt(v) for v in (abar[t], 1 - abar[t], abar[s], 1 - abar[s]))
        x0 = guess(x, t)
        eps = (x - a * x0) / n
        if sampler == "ddim":
            x = a_next * x0 + n_next * eps
        elif sampler == "euler":
            x = x + math.log(a_next / a) * (x - eps / n)
        elif sampler == "heun":
            y, step = x / a, n_next / a_next - n / a
            x = a_next * (y + step * eps)
            if s > 0:
                x = a_next * (y + step * (eps + (x - a_next * guess(x, s)) / n_next) / 2)
        else:
            h = math.log(a_next / n_next) - math.log(a / n) if s > 0 else math.inf
            d = x0 if before is None or s == 0 else x0 + h / (2 * before_h) * (x0 - before)
            x = n_next / n * x - a_next * (math.exp(-h) - 1) * d
            before, before_h = x0, h
    error = np.abs(x.permute(0, 2, 3, 1).numpy() - np.load(sys.argv[2])).max()
    print(f"{sampler}, {steps} steps, {grid}: largest difference {error:.2e}, standard deviation {x.std().item():.2f}")
    sys.exit(0 if error <= 1e-4 else 1)


if __name__ == "__main__":
    main()
