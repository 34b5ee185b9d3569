"""Every sampler of 06_ddim on every grid, written out once more, in double, with the same fresh noise."""
import math
import re
import subprocess

import torch

from common import relative
from noise import fresh_noise


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
    return x + math.sqrt((1 - alpha) * r**2 / s**2) * fresh_noise(i, x.shape)


def ddim(x, guess, i, a, s, b, r, eta=0.0):  # Song, Meng, Ermon 2020, (12), (16)
    x0 = guess(x, i)
    rho = eta * math.sqrt(r**2 / s**2 * (1 - a**2 / b**2))
    x = b * x0 + math.sqrt(r**2 - rho**2) * (x - a * x0) / s
    return x + rho * fresh_noise(i, x.shape) if rho > 0 else x


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
STEPS = 20
SAMPLERS = {
    "ddpm": lambda: ancestral,
    "ddim": lambda: ddim,
    "ddim --eta 0.5": lambda: lambda *step: ddim(*step, eta=0.5),
    "euler": lambda: euler,
    "heun": lambda: heun,
    "dpmpp2m": DpmSolver,
}


def draw_with(net, kind, step, times, abar, x):
    """Along the times, from x [N, C, H, W]; kind: what diffusers calls what the network predicts."""
    levels = [(math.sqrt(abar[t]), math.sqrt(1 - abar[t])) for t in times]

    @torch.no_grad()
    def guess(x, i):  # of x_0; the network counts times from 0
        a, s = levels[i]
        said = net(x, times[i] - 1).sample
        x0 = {"epsilon": lambda: (x - s * said) / a, "v_prediction": lambda: a * x - s * said, "sample": lambda: said}[kind]()
        return x0.clamp(-1, 1)

    for i in range(len(times) - 1):
        x = step(x, guess, i, *levels[i], *levels[i + 1])
    return x


def names_of(program, option):
    """What an option can be, by the program's own help."""
    said = subprocess.run([program, *(["sample"] if option == "sampler" else []), "--help"], capture_output=True, text=True, check=True).stdout
    return re.search(rf"--{option} TEXT:{{(.*?)}}", said)[1].split(",")


def check(program, table, name, net, kind, abar, start, draw):
    """abar from the time 0 on. draw(*options) is what the program draws."""
    way = grids(STEPS, abar)
    for option, here in (("sampler", SAMPLERS), ("grid", way)):
        known = set(names_of(program, option))
        table.tell("samplers", f"06_ddim's, --{option}", "all are here", f" {', '.join(sorted(known))}", {word.split()[0] for word in here} == known)
    net.double()
    for sampler, make in SAMPLERS.items():
        error = max(relative(draw("--sampler", *sampler.split(), "--grid", grid, "--steps", STEPS),
                             draw_with(net, kind, make(), times, abar, start.double()).permute(0, 2, 3, 1)) for grid, times in way.items())
        table.row("samplers", f"{name}: {sampler}, {len(way)} grids", "both", error)
