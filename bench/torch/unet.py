"""The UNet of chapter 4 in PyTorch, to be timed."""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F


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
        angle = t[:, None].float() * torch.exp(-math.log(10000) * torch.arange(half, device=t.device) / half)[None]
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
