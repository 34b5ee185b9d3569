"""The same UNet as unet.py, written as many others write it: flat lists of modules, t from 0. To try names.py on."""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F


class Block(nn.Module):
    def __init__(self, inputs, outputs, time):
        super().__init__()
        self.n1, self.c1 = nn.GroupNorm(8, inputs), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.t = nn.Linear(time, outputs)
        self.n2, self.c2 = nn.GroupNorm(8, outputs), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x, time):
        h = self.c1(F.silu(self.n1(x))) + self.t(time)[..., None, None]
        return self.skip(x) + self.c2(F.silu(self.n2(h)))


class Mixing(nn.Module):
    def __init__(self, channels, heads):
        super().__init__()
        self.heads, self.n = heads, nn.GroupNorm(8, channels)
        self.qkv, self.o = nn.Conv2d(channels, 3 * channels, 1), nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        q, k, v = self.qkv(self.n(x)).flatten(2).unflatten(1, (3, self.heads, -1)).unbind(1)
        weights = torch.softmax(q.transpose(-1, -2) @ k / math.sqrt(q.shape[2]), -1)
        return x + self.o((v @ weights.transpose(-1, -2)).reshape(x.shape))


class FlatUNet(nn.Module):
    def __init__(self, channels, base, multipliers, heads):
        super().__init__()
        time, widths = 4 * base, [base * m for m in multipliers]
        self.base, self.t1, self.t2 = base, nn.Linear(base, time), nn.Linear(time, time)
        self.inp = nn.Conv2d(channels, base, 3, padding=1)
        self.down, self.up, left, now = nn.ModuleList(), nn.ModuleList(), [base], base
        for i, width in enumerate(widths):
            self.down.append(nn.ModuleList([Block(now, width, time), Block(width, width, time)]))
            left, now = left + [width, width], width
            if i + 1 < len(widths):
                self.down.append(nn.ModuleList([nn.Conv2d(now, now, 3, stride=2, padding=1)]))
                left.append(now)
        self.m1, self.ma, self.m2 = Block(now, now, time), Mixing(now, heads), Block(now, now, time)
        for i, width in reversed(list(enumerate(widths))):
            level = nn.ModuleList()
            for _ in range(3):
                level.append(Block(now + left.pop(), width, time))
                now = width
            if i > 0:
                level.append(nn.Conv2d(now, now, 3, padding=1))
            self.up.append(level)
        self.no, self.out = nn.GroupNorm(8, now), nn.Conv2d(now, channels, 3, padding=1)

    def forward(self, x, t):
        """t from 0: the time of unet.py less one."""
        angle = (t[:, None] + 1) * 10000 ** (-torch.arange(self.base // 2) / (self.base // 2))
        time = F.silu(self.t2(F.silu(self.t1(torch.cat([torch.cos(angle), torch.sin(angle)], 1)))))
        left = [h := self.inp(x)]
        for level in self.down:
            for part in level:
                left.append(h := part(h, time) if isinstance(part, Block) else part(h))
        h = self.m2(self.ma(self.m1(h, time)), time)
        for level in self.up:
            for part in level:
                if isinstance(part, Block):
                    h = part(torch.cat([h, left.pop()], 1), time)
                else:
                    h = part(F.interpolate(h, size=left[-1].shape[2:], mode="nearest"))
        return self.out(F.silu(self.no(h)))
