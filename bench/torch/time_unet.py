#!/usr/bin/env python3
"""Times a training step of chapter 4's UNet in PyTorch: forward, loss, backward, Adam; and drawing, forward alone.

usage: time_unet.py [--base 32] [--multipliers 1,2,2] [--batch 64] [--threads 2] [--steps 8] [--compile]

Prints pictures per second, medians over the steps, for both memory formats. Ours, in the same sitting:
OMP_NUM_THREADS=2 build/bin/04_unet train --preset smoke --base 32 --batch 64 --images 1280   (seconds are in train.csv)
"""
import argparse
import statistics
import time

import torch
import torch.nn.functional as F

from unet import UNet


def rate(pictures, steps, work):
    work(), work()
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return pictures / statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in dict(base=32, batch=64, threads=2, steps=8).items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--multipliers", default="1,2,2")
    parser.add_argument("--compile", action="store_true", help="torch.compile, PyTorch 2 and a compiler")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for form in (torch.contiguous_format, torch.channels_last):
        torch.manual_seed(0)
        net = UNet(1, options.base, [int(m) for m in options.multipliers.split(",")], 4).to(memory_format=form)
        run = torch.compile(net) if options.compile else net
        adam = torch.optim.Adam(net.parameters(), lr=2e-4)
        x = torch.randn(options.batch, 1, 28, 28).to(memory_format=form)
        t, eps = torch.randint(1, 1001, (options.batch,)), torch.randn_like(x)

        def step():
            adam.zero_grad(set_to_none=True)
            F.mse_loss(run(x, t), eps).backward()
            adam.step()

        @torch.no_grad()
        def draw():
            run(x, t)

        trained, drawn = (rate(options.batch, options.steps, work) for work in (step, draw))
        print(f"PyTorch {torch.__version__}, base {options.base}, batch {options.batch}, {options.threads} threads, "
              f"{str(form).split('.')[-1]}: training {trained:.0f}/s, forward {drawn:.0f}/s", flush=True)


if __name__ == "__main__":
    main()
