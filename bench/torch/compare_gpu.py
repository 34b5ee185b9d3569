#!/usr/bin/env python3
"""Times a training step of chapter 4's UNet on a GPU, ours and PyTorch's in turn, in the same precision.

usage: compare_gpu.py [build/bin/cuda] [--rounds 3]

PyTorch runs eagerly, with cuDNN choosing its algorithms, with channels first and last; the better of the two counts. Both
sides train with Adam. BF16 is autocast there; ours keeps the activations in float and rounds what is multiplied.
"""
import argparse
import contextlib
import re
import statistics
import subprocess
import sys

import torch
import torch.nn.functional as F

from unet import UNet

# As tools/cuda.cu names them: channels, base, multipliers, pixels, batch.
STEPS = {
    "a step of 64 digits, base 32": (1, 32, [1, 2, 2], 28, 64),
    "a step of 128, DDPM's CIFAR-10 size": (3, 128, [1, 2, 2, 2], 32, 128),
}
FORMATS = (torch.contiguous_format, torch.channels_last)


def ours(program):
    """The device, milliseconds by step and precision, and what went wrong: times are told even if a check failed before them."""
    run = subprocess.run([program, "training"], capture_output=True, text=True)
    device = (run.stdout.splitlines() or [program])[0]
    found = re.findall(r"^  (a step of .*), (\w+) +([0-9.]+) ms", run.stdout, re.M)
    wrong = [line.strip() for line in run.stdout.splitlines() if line.endswith("WRONG")]
    if run.returncode != 0:
        wrong.append(f"{program}: {run.stderr.strip()}")
    return device, {(name, precision): float(ms) for name, precision, ms in found}, wrong


def twin(channels, base, multipliers, pixels, batch, precision, form, device="cuda", rounds=10):
    """Milliseconds of a step, the best of several, as ours are."""
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision != "float"
    torch.manual_seed(0)
    net = UNet(channels, base, multipliers, 4).to(device=device, memory_format=form)
    adam = torch.optim.Adam(net.parameters(), lr=2e-4)
    x = torch.randn(batch, channels, pixels, pixels, device=device).to(memory_format=form)
    t, eps = torch.randint(1, 1001, (batch,), device=device), torch.randn_like(x)

    def step():
        adam.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16) if precision == "BF16" else contextlib.nullcontext():
            loss = F.mse_loss(net(x, t).float(), eps)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        adam.step()

    for _ in range(5):
        step()
    times = []
    for _ in range(rounds):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        step()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return min(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", nargs="?", default="build/bin/cuda")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("compare_gpu.py: PyTorch finds no GPU")
    mine, theirs, wrong = {}, {}, []
    for _ in range(options.rounds):
        torch.cuda.empty_cache()  # what PyTorch keeps for later would be missing for ours
        device, times, found = ours(options.program)
        wrong += found
        for (name, precision), ms in times.items():
            mine.setdefault((name, precision), []).append(ms)
            theirs.setdefault((name, precision), []).append(min(twin(*STEPS[name], precision, form) for form in FORMATS))
    print(f"{device}; PyTorch {torch.__version__}; medians of {options.rounds} rounds")
    print(f"{'':46}{'ours, ms':>10}{'PyTorch, ms':>13}{'ratio':>7}")
    for key, ms in mine.items():
        a, b = statistics.median(ms), statistics.median(theirs[key])
        print(f"{', '.join(key):46}{a:10.2f}{b:13.2f}{b / a:7.2f}")
    if wrong:
        sys.exit("\n".join(dict.fromkeys(wrong)))


if __name__ == "__main__":
    main()
