#!/usr/bin/env python3
"""Draws with every sampler on every grid, in PyTorch and with 06_ddim, from the same weights and noise, and compares.

usage: check_ddim.py build/bin/06_ddim MODEL.safetensors NOISE.npy [STEPS]

The formulas are written out once more here, in double, and so are the program's random numbers, for the samplers that add
fresh noise. Needs PyTorch and NumPy. Exits 1 if any pixel differs by more than 1e-4, or if the program knows a sampler or
a grid that is not here.
"""
import math
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from unet import UNet, read_safetensors

SEED = 3
ANCESTRAL_NOISE = 7  # what the numbers are for, as src/tensor/random.hpp counts


def philox(counter, key):
    """Philox4x32-10 (Salmon et al. 2011): four arrays of 32-bit words and two words."""
    low = np.uint64(0xFFFFFFFF)
    c = [np.asarray(word, np.uint64) for word in counter]
    for i in range(10):
        k = [np.uint64((key[0] + i * 0x9E3779B9) & 0xFFFFFFFF), np.uint64((key[1] + i * 0xBB67AE85) & 0xFFFFFFFF)]
        p, q = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [q >> np.uint64(32) ^ c[1] ^ k[0], q & low, p >> np.uint64(32) ^ c[3] ^ k[1], p & low]
    return c


def fresh_noise(step, shape):
    """Normal numbers by Box and Muller, from a stream for each step of the path and each picture."""
    pictures, pixels = shape[0], math.prod(shape[1:])
    block = np.arange((pixels + 1) // 2)
    z = np.empty((pictures, len(block), 2))
    for n in range(pictures):
        words = philox([block, np.full_like(block, n), np.full_like(block, step), np.full_like(block, ANCESTRAL_NOISE)], [SEED, 0])
        u, v = (((high << np.uint64(32) | low) >> np.uint64(11)) * 2.0**-53 for high, low in (words[:2], words[2:]))
        radius = np.sqrt(-2 * np.log(1 - u))
        z[n] = np.stack([radius * np.cos(2 * np.pi * v), radius * np.sin(2 * np.pi * v)], -1)
    z = z.reshape(pictures, -1)[:, :pixels].reshape(shape)  # channels last, as the program counts pixels
    return torch.from_numpy(z).permute(0, 3, 1, 2)


def grids(steps, abar):
    """The times that each grid visits, from the noisiest on; those that follow an equal one are left out."""
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
        "stable_diffusion": lambda i: 2 + (steps - 1 - i) * (T // steps),
    }
    last = {"stable_diffusion": 1}
    return {grid: list(dict.fromkeys([f(i) for i in range(steps)] + [last.get(grid, 0)])) for grid, f in time.items()}


# A sampler's step from level (a, s) to level (b, r), where x = a x0 + s eps. guess(x, i) asks the network at the i-th time.


def ancestral(x, guess, i, a, s, b, r):  # Ho et al. 2020, (6), (7): the posterior of x at the next level
    alpha = (a / b) ** 2
    x = b * (1 - alpha) / s**2 * guess(x, i) + math.sqrt(alpha) * r**2 / s**2 * x
    return x + math.sqrt((1 - alpha) * r**2 / s**2) * fresh_noise(i, x.permute(0, 2, 3, 1).shape)


def ddim(x, guess, i, a, s, b, r, eta=0.0):  # Song, Meng, Ermon 2020, (12), (16)
    x0 = guess(x, i)
    rho = eta * math.sqrt(r**2 / s**2 * (1 - a**2 / b**2))
    x = b * x0 + math.sqrt(r**2 - rho**2) * (x - a * x0) / s
    return x + rho * fresh_noise(i, x.permute(0, 2, 3, 1).shape) if rho > 0 else x


def euler(x, guess, i, a, s, b, r):  # dx = x dlog a + (ds - s dlog a) eps
    eps, dlog = (x - a * guess(x, i)) / s, math.log(b / a)
    return x + dlog * x + (r - s - s * dlog) * eps


def heun(x, guess, i, a, s, b, r):  # dx = x0 da + eps ds
    def step(x, x0, at_a, at_s):
        return (b - a) * x0 + (r - s) * (x - at_a * x0) / at_s

    first = step(x, guess(x, i), a, s)
    there = x + first
    return x + (first + step(there, guess(there, i + 1), b, r)) / 2 if r > 0 else there


class DpmSolver:  # Lu et al. 2022, algorithm 2
    def __init__(self):
        self.before = None

    def __call__(self, x, guess, i, a, s, b, r):
        x0, h = guess(x, i), math.log(b / r) - math.log(a / s) if r > 0 else math.inf
        ratio = 0 if self.before is None or r == 0 else h / self.before[1]
        d = x0 if ratio == 0 else (1 + ratio / 2) * x0 - ratio / 2 * self.before[0]
        self.before = x0, h
        return r / s * x - b * math.expm1(-h) * d


# By the program's names and options.
SAMPLERS = {
    "ddpm": lambda: ancestral,
    "ddim": lambda: ddim,
    "ddim --eta 0.5": lambda: lambda *step: ddim(*step, eta=0.5),
    "euler": lambda: euler,
    "heun": lambda: heun,
    "dpmpp2m": DpmSolver,
}


def draw(net, kind, step, times, abar, x):
    """Along the times, from x [N, C, H, W]."""
    levels = [(math.sqrt(abar[t]), math.sqrt(1 - abar[t])) for t in times]

    def guess(x, i):  # of x_0
        a, s = levels[i]
        with torch.no_grad():
            said = net(x.float(), torch.full((len(x),), times[i])).double()
        return (a * x - s * said if kind == "v" else said).clamp(-1, 1)

    for i in range(len(times) - 1):
        x = step(x, guess, i, *levels[i], *levels[i + 1])
    return x


def names_of(option, *command):
    """What an option can be, by the program's own help."""
    said = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True).stdout
    return re.search(rf"--{option} TEXT:{{(.*?)}}", said)[1].split(",")


def main():
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    program, model, noise, steps = *sys.argv[1:4], int(sys.argv[4]) if len(sys.argv) == 5 else 20
    arrays, meta = read_safetensors(model)
    if meta["prediction"] not in ("v", "x0") or meta["schedule"] != "cosine":
        sys.exit(f"this check knows x0 and v on the cosine schedule, not {meta['prediction']} on {meta['schedule']}")
    net = UNet(int(meta["channels"]), int(meta["base"]), [int(m) for m in meta["multipliers"].split(",")], int(meta["heads"]))
    net.load_state_dict(arrays)  # strict: every name and every shape
    T = int(meta["T"])
    f = lambda i: math.cos((i / T + 0.008) / 1.008 * math.pi / 2) ** 2
    abar = [1.0]
    for i in range(T):
        abar.append(abar[-1] * (1 - min(1 - f(i + 1) / f(i), 0.999)))
    way = grids(steps, abar)
    for here, there in (SAMPLERS, names_of("sampler", program, "sample")), (way, names_of("grid", program)):
        if {name.split()[0] for name in here} != set(there):
            sys.exit(f"{program} knows {', '.join(there)}; here are {', '.join(here)}")

    start = torch.from_numpy(np.load(noise)).permute(0, 3, 1, 2).double()
    wrong = False
    for sampler, make in SAMPLERS.items():
        for grid, times in way.items():
            with tempfile.TemporaryDirectory() as folder:
                subprocess.run([program, "sample", "--model", model, "--sampler", *sampler.split(), "--grid", grid, "--steps", str(steps),
                                "--seed", str(SEED), "--noise", noise, "--save-npy", "--out", folder], check=True, stdout=subprocess.DEVNULL)
                drawn = np.load(Path(folder) / "samples.npy")
            x = draw(net, meta["prediction"], make(), times, abar, start)
            error = np.abs(x.permute(0, 2, 3, 1).numpy() - drawn).max()
            wrong |= not error <= 1e-4
            print(f"{sampler}, {steps} steps, {grid}: largest difference {error:.2e}, standard deviation {x.std().item():.2f}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
