#!/usr/bin/env python3
"""Loads model.safetensors into the same UNet written in PyTorch and compares the two programs' outputs.

usage: check_unet.py MODEL.safetensors SAMPLES_1STEP.npy NOISE.npy

NOISE is what `04_unet sample --steps 1 --noise NOISE.npy --save-npy` started from, SAMPLES what it wrote: with one step
from t = T to 0 the sample is the network's clipped guess of x_0, so the comparison covers the whole network.
Needs PyTorch and NumPy. Exits 1 if any pixel differs by more than 1e-4.
"""
import json
import math
import struct
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


def read_safetensors(path):
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    metadata = header.pop("__metadata__", {})
    arrays = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        arrays[name] = torch.from_numpy(np.frombuffer(data[begin:end], "<f4").reshape(entry["shape"]).copy())
    return arrays, metadata


class ResBlock(nn.Module):
    def __init__(self, inputs, outputs, time):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(8, inputs), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.time = nn.Linear(time, outputs)
        self.norm2, self.conv2 = nn.GroupNorm(8, outputs), nn.Conv2d(outputs, outputs, 3, padding=1)
        if inputs != outputs:
            self.skip = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x, time):
        h = self.conv1(F.silu(self.norm1(x))) + self.time(time)[:, :, None, None]
        return (self.skip(x) if hasattr(self, "skip") else x) + self.conv2(F.silu(self.norm2(h)))


class Attention(nn.Module):
    def __init__(self, channels, heads):
        super().__init__()
        self.heads, self.norm = heads, nn.GroupNorm(8, channels)
        self.qkv, self.out = nn.Conv2d(channels, 3 * channels, 1), nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        n, c, h, w = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(n, 3, self.heads, c // self.heads, h * w).transpose(-1, -2).unbind(1)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return x + self.out(mixed.transpose(-1, -2).reshape(n, c, h, w))


class UNet(nn.Module):
    def __init__(self, channels, base, multipliers, heads):
        super().__init__()
        self.base, time, width, skips = base, 4 * base, base, [base]
        self.time1, self.time2 = nn.Linear(base, time), nn.Linear(time, time)
        self.add_module("in", nn.Conv2d(channels, base, 3, padding=1))
        self.down, self.up = nn.ModuleList(), nn.ModuleDict()
        for i, m in enumerate(multipliers):
            level = nn.Module()
            for b in range(2):
                setattr(level, f"block{b}", ResBlock(width, base * m, time))
                width = base * m
                skips.append(width)
            if i + 1 < len(multipliers):
                level.resample = nn.Conv2d(width, width, 3, stride=2, padding=1)
                skips.append(width)
            self.down.append(level)
        self.middle = nn.Module()
        self.middle.block1, self.middle.block2 = ResBlock(width, width, time), ResBlock(width, width, time)
        self.middle.attention = Attention(width, heads)
        for i in reversed(range(len(multipliers))):
            level = nn.Module()
            for b in range(3):
                setattr(level, f"block{b}", ResBlock(width + skips.pop(), base * multipliers[i], time))
                width = base * multipliers[i]
            if i > 0:
                level.resample = nn.Conv2d(width, width, 3, padding=1)
            self.up[str(i)] = level
        self.out = nn.Module()
        self.out.norm, self.out.conv = nn.GroupNorm(8, width), nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, x, t):
        half = self.base // 2
        angle = t[:, None].float() * torch.exp(-math.log(10000) * torch.arange(half) / half)[None]
        time = F.silu(self.time2(F.silu(self.time1(torch.cat([angle.cos(), angle.sin()], 1)))))
        h = getattr(self, "in")(x)
        skips = [h]
        for level in self.down:
            for b in range(2):
                h = getattr(level, f"block{b}")(h, time)
                skips.append(h)
            if hasattr(level, "resample"):
                h = level.resample(h)
                skips.append(h)
        h = self.middle.block2(self.middle.attention(self.middle.block1(h, time)), time)
        for level in self.up.values():
            for b in range(3):
                h = getattr(level, f"block{b}")(torch.cat([h, skips.pop()], 1), time)
            if hasattr(level, "resample"):
                h = level.resample(F.interpolate(h, size=skips[-1].shape[2:], mode="nearest"))
        return self.out.conv(F.silu(self.out.norm(h)))


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    arrays, meta = read_safetensors(sys.argv[1])
    if meta["prediction"] not in ("v", "x0") or meta["schedule"] != "cosine":
        sys.exit(f"this check knows x0 and v on the cosine schedule, not {meta['prediction']} on {meta['schedule']}")
    net = UNet(int(meta["channels"]), int(meta["base"]), [int(m) for m in meta["multipliers"].split(",")], int(meta["heads"]))
    net.load_state_dict(arrays)  # strict: every name and every shape
    noise = np.load(sys.argv[3])
    T = int(meta["T"])
    f = lambda i: math.cos((i / T + 0.008) / 1.008 * math.pi / 2) ** 2
    abar = 1.0
    for i in range(T):
        abar *= 1 - min(1 - f(i + 1) / f(i), 0.999)
    x = torch.from_numpy(noise).permute(0, 3, 1, 2).contiguous()
    with torch.no_grad():
        x0 = net(x, torch.full((len(noise),), T))
    if meta["prediction"] == "v":
        x0 = math.sqrt(abar) * x - math.sqrt(1 - abar) * x0
    x0 = x0.clamp(-1, 1).permute(0, 2, 3, 1).numpy()
    error = np.abs(x0 - np.load(sys.argv[2])).max()
    print(f"{sum(a.numel() for a in arrays.values())} parameters, {len(noise)} pictures, largest difference {error:.2e}")
    sys.exit(0 if error <= 1e-4 else 1)


if __name__ == "__main__":
    main()
