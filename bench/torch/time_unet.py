#!/usr/bin/env python3
"""Times a training step of chapter 4's UNet in PyTorch: forward, loss, backward, Adam; and drawing, forward alone.

usage: time_unet.py [--base 32] [--multipliers 1,2,2] [--batch 64] [--threads 2] [--steps 8] [--pixels 28] [--channels 1]
                    [--format FORMAT] [--compile] [--draw]

Prints pictures per second and the seconds for drawing a batch, medians over the steps, for both memory formats or the one that is named, and the process's
largest memory. compare.py runs it and our benchmark in turn.
"""
import argparse
import resource
import statistics
import time

import torch
import torch.nn.functional as F

from unet import UNet


def median_seconds(steps, work):
    work(), work()
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in dict(base=32, batch=64, threads=2, steps=8, pixels=28, channels=1).items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--multipliers", default="1,2,2")
    parser.add_argument("--compile", action="store_true", help="torch.compile, PyTorch 2 and a compiler")
    parser.add_argument("--draw", action="store_true", help="time drawing a batch in 50 steps, too")
    parser.add_argument("--format", choices=["channels-first", "channels-last"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    formats = {"channels-first": torch.contiguous_format, "channels-last": torch.channels_last}
    for name, form in formats.items():
        if options.format not in (None, name):
            continue
        torch.manual_seed(0)
        net = UNet(options.channels, options.base, [int(m) for m in options.multipliers.split(",")], 4).to(memory_format=form)
        run = torch.compile(net) if options.compile else net
        adam = torch.optim.Adam(net.parameters(), lr=2e-4)
        x = torch.randn(options.batch, options.channels, options.pixels, options.pixels).to(memory_format=form)
        t, eps = torch.randint(1, 1001, (options.batch,)), torch.randn_like(x)

        def step():
            adam.zero_grad(set_to_none=True)
            F.mse_loss(run(x, t), eps).backward()
            adam.step()

        @torch.no_grad()
        def call():
            return run(x, t)

        @torch.no_grad()
        def draw():  # as many calls as ours makes, and the sampler's arithmetic
            y = torch.randn_like(x)
            for i in range(50, 0, -1):
                a, s = i / 51, (1 - (i / 51) ** 2) ** 0.5
                eps = run(y, torch.full_like(t, 20 * i))
                y = a * ((y - s * eps) / a).clamp(-1, 1) + s * torch.randn_like(y)

        trained = options.batch / median_seconds(options.steps, step)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB, on Linux
        called = options.batch / median_seconds(options.steps, call)
        draw_seconds = median_seconds(1, draw) if options.draw else 0
        print(f"PyTorch {torch.__version__}, base {options.base}, batch {options.batch}, {options.threads} threads, "
              f"{name}: training {trained:.0f}/s, forward {called:.0f}/s, 50 steps {draw_seconds:.2f} s, memory {memory:.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
