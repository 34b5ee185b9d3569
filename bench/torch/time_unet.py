#!/usr/bin/env python3
"""Times a training step of chapter 4's UNet in PyTorch: forward, loss, backward, Adam; and drawing, forward alone.

usage: time_unet.py [--base 32] [--multipliers 1,2,2] [--batch 64] [--threads 2] [--steps 8] [--format FORMAT] [--compile]

Prints pictures per second, medians over the steps, for both memory formats or the one that is named, and the process's
largest memory. compare.py runs it and our benchmark in turn.
"""
import argparse
import resource
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
    parser.add_argument("--format", choices=["channels-first", "channels-last"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    formats = {"channels-first": torch.contiguous_format, "channels-last": torch.channels_last}
    for name, form in formats.items():
        if options.format not in (None, name):
            continue
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

        trained = rate(options.batch, options.steps, step)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB, on Linux
        drawn = rate(options.batch, options.steps, draw)
        print(f"PyTorch {torch.__version__}, base {options.base}, batch {options.batch}, {options.threads} threads, "
              f"{name}: training {trained:.0f}/s, forward {drawn:.0f}/s, memory {memory:.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
