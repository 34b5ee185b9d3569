#!/usr/bin/env python3
"""Times what `bench stable-diffusion` times, in diffusers: a call of Stable Diffusion 1.5's UNet and one of its decoder, with random
weights.

usage: time_stable_diffusion.py [--threads 2] [--rounds 3]

Prints, for both memory formats, the median seconds and the process's peak memory beside the weights, in MiB.
"""
import argparse
import resource
import statistics
import time

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel


def unet():
    """The settings of Stable Diffusion 1.5's unet/config.json that are not defaults."""
    return UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)


def autoencoder():
    """And those of its vae/config.json."""
    return AutoencoderKL(down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4, block_out_channels=(128, 256, 512, 512),
                         layers_per_block=2, latent_channels=4, sample_size=512)


def report(name, model, call, rounds):
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    with torch.inference_mode():
        call()
        times = []
        for _ in range(rounds):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10 - weights / 2**20
    print(f"{name:60}{statistics.median(times):8.2f} s{peak:8.0f} MiB beside the weights and PyTorch itself", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in dict(threads=2, rounds=3).items():
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    # The peak is that of the process, so the smaller model comes first.
    for make in (autoencoder, unet):
        model = make().eval().requires_grad_(False)
        for form, name in ((torch.contiguous_format, "channels first"), (torch.channels_last, "channels last")):
            model = model.to(memory_format=form)
            if make is autoencoder:
                z = torch.randn(1, 4, 64, 64).to(memory_format=form)
                report(f"decoder, a picture of 512 x 512, {name}", model, lambda: model.decode(z), options.rounds)
                continue
            for batch in (1, 2):
                x, text = torch.randn(batch, 4, 64, 64).to(memory_format=form), torch.randn(batch, 77, 768)
                report(f"UNet, latents {batch} x 64 x 64, 77 tokens, {name}", model, lambda: model(x, 500, text), options.rounds)


if __name__ == "__main__":
    main()
