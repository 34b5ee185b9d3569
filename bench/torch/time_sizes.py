#!/usr/bin/env python3
"""Times the rows of `bench sizes` in PyTorch: the same operations, sizes and names.

usage: time_sizes.py [--threads 2]

Prints a CSV: name, forward milliseconds, backward milliseconds (0: not trained at this size). Convolutions and group norms run with channels first and
channels last; the faster one counts.
"""
import argparse
import statistics
import time

import torch
import torch.nn.functional as F


def seconds(work):
    """Median of seven rounds of as many calls as take 10 ms."""
    calls = 1

    def once():
        start = time.perf_counter()
        for _ in range(calls):
            work()
        return time.perf_counter() - start

    while min(once(), once()) < 0.01:
        calls *= 2
    return statistics.median(once() for _ in range(7)) / calls


def row(name, inputs, operation, back):
    with torch.no_grad():
        forward = seconds(lambda: operation(*inputs))
    backward = 0
    if back:
        leaves = [x.detach().clone().requires_grad_() for x in inputs]
        ones = torch.ones_like(operation(*leaves))
        recorded = seconds(lambda: operation(*leaves))
        backward = seconds(lambda: torch.autograd.grad(operation(*leaves), leaves, ones)) - recorded
    return name, 1e3 * forward, 1e3 * backward


def normal(*shape):
    return 0.1 * torch.randn(*shape)


def rows():
    for m, k, n, back in ((4096, 320, 2560, 0), (4096, 1280, 1280, 0), (1024, 640, 5120, 0), (77, 768, 3072, 1), (64, 256, 1024, 1), (256, 256, 1024, 1),
                          (1024, 256, 1024, 1), (4096, 256, 1024, 1)):
        yield row(f"linear {m} x {k} -> {n}", (normal(m, k), normal(n, k), normal(n)), F.linear, back)
    for tokens, heads, width in [(t, 8, w) for t in (4096, 1024, 256, 77) for w in (40, 80, 64)] + [(4096, 1, 512)]:
        # As it comes from a linear layer, [N, tokens, heads x width], and goes back to one.
        def attend(q, k, v):
            q, k, v = (x.view(1, tokens, heads, width).transpose(1, 2) for x in (q, k, v))
            return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(1, tokens, heads * width)
        yield row(f"attention {tokens} tokens, {heads} x {width}", [normal(1, tokens, heads * width) for _ in range(3)], attend, tokens <= 256)
    forms = (torch.contiguous_format, torch.channels_last)
    for size, c, o in ((64, 320, 320), (32, 640, 640), (16, 1280, 1280), (8, 1280, 1280), (8, 2560, 1280), (256, 128, 128), (256, 256, 256)):
        yield min((row(f"3x3 {size} x {size}, {c} -> {o}", (normal(1, c, size, size).to(memory_format=f), normal(o, c, 3, 3).to(memory_format=f), normal(o)),
                       lambda x, w, b: F.conv2d(x, w, b, padding=1), 0) for f in forms), key=lambda r: r[1])
    for size, c in ((64, 320), (32, 640), (16, 1280), (8, 1280), (256, 128), (256, 256)):
        yield min((row(f"group norm and SiLU {size} x {size}, {c}", (normal(1, c, size, size).to(memory_format=f), normal(c), normal(c)),
                       lambda x, g, b: F.silu(F.group_norm(x, 32, g, b)), 0) for f in forms), key=lambda r: r[1])
    for m, c in ((4096, 320), (1024, 640), (256, 1280), (77, 768), (4096, 256)):
        back = c <= 768 and m != 1024
        yield row(f"layer norm {m} x {c}", (normal(m, c), normal(c), normal(c)), lambda x, g, b: F.layer_norm(x, (c,), g, b), back)
        yield row(f"RMS norm {m} x {c}", (normal(m, c), normal(c)), lambda x, g: F.rms_norm(x, (c,), g), back)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    torch.set_num_threads(parser.parse_args().threads)
    torch.manual_seed(0)
    print("name,forward_ms,back_ms")
    for name, forward, back in rows():
        print(f'"{name}",{forward:.4f},{back:.4f}', flush=True)


if __name__ == "__main__":
    main()
