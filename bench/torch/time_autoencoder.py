#!/usr/bin/env python3
"""Times a training step of chapter 7's autoencoder in PyTorch, on the model of one of our folders: encode, draw, decode, loss,
backward, Adam.

usage: time_autoencoder.py FOLDER [--batch 16] [--pixels 64] [--threads 2] [--steps 10] [--compile]

Prints pictures per second, medians over the steps, for both memory formats. `07_latent_vae train --optimizer adam` is ours.
"""
import argparse
import statistics
import time

import torch
from diffusers import AutoencoderKL


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    for name, default in dict(batch=16, pixels=64, threads=2, steps=10).items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name, form in {"channels-first": torch.contiguous_format, "channels-last": torch.channels_last}.items():
        torch.manual_seed(0)
        vae = AutoencoderKL.from_pretrained(options.folder).to(memory_format=form).train()
        run = torch.compile(lambda x, eps: both(vae, x, eps)) if options.compile else lambda x, eps: both(vae, x, eps)
        adam = torch.optim.Adam(vae.parameters(), lr=1e-4)
        x = torch.randn(options.batch, vae.config.in_channels, options.pixels, options.pixels).to(memory_format=form)
        factor = 2 ** (len(vae.config.block_out_channels) - 1)
        eps = torch.randn(options.batch, vae.config.latent_channels, options.pixels // factor, options.pixels // factor)

        def step():
            adam.zero_grad(set_to_none=True)
            run(x, eps).backward()
            adam.step()

        step(), step()
        times = []
        for _ in range(options.steps):
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
        print(f"{name}{', compiled' if options.compile else ''}: {options.batch / statistics.median(times):.1f} pictures a second", flush=True)


def both(vae, x, eps):
    moments = vae.encode(x).latent_dist
    decoded = vae.decode(moments.mean + moments.std * eps).sample
    return ((decoded - x) ** 2).mean() + 1e-4 * moments.kl().mean() / x[0].numel()


if __name__ == "__main__":
    main()
