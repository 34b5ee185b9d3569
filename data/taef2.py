#!/usr/bin/env python3
"""Writes TAEF2 (https://github.com/madebyollin/taesd, MIT licence), a small autoencoder for the latents of FLUX.2, as a folder that
07_latent_vae and module open.

usage: taef2.py FOLDER OUT       FOLDER: with taef2_encoder.safetensors and taef2_decoder.safetensors

It is no class of the library diffusers: its config.json is AutoencoderTiny's with a key of our own, "pool": true.
"""
import json
import struct
import sys
from pathlib import Path


def tensors(path):
    """Name -> (entry of the header, bytes)."""
    file = path.read_bytes()
    size, = struct.unpack("<Q", file[:8])
    data = file[8 + size:]
    header = json.loads(file[8:8 + size])
    return {name: (entry, data[slice(*entry["data_offsets"])]) for name, entry in header.items() if name != "__metadata__"}


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__.split("\n\n")[1])
    source, out = Path(sys.argv[1]), Path(sys.argv[2])
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for half in ("encoder", "decoder"):
        path = source / f"taef2_{half}.safetensors"
        if not path.is_file():
            sys.exit(f"taef2: {path}: is not there")
        for name, (entry, values) in tensors(path).items():
            layer, _, rest = name.partition(".")
            layer = int(layer) - (half == "decoder")  # there the clamp is layer 0, which has none of its own in diffusers
            header[f"{half}.layers.{layer}.{rest}"] = entry | {"data_offsets": [len(data), len(data) + len(values)]}
            data += values
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    out.mkdir(parents=True, exist_ok=True)
    (out / "diffusion_pytorch_model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    (out / "config.json").write_text(json.dumps({
        "_class_name": "AutoencoderTiny", "in_channels": 3, "out_channels": 3, "latent_channels": 32,
        "encoder_block_out_channels": [64] * 4, "decoder_block_out_channels": [64] * 4, "num_encoder_blocks": [1, 3, 3, 3],
        "num_decoder_blocks": [3, 3, 3, 1], "act_fn": "relu", "pool": True}, indent=2) + "\n")


if __name__ == "__main__":
    main()
