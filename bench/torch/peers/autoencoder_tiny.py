"""AutoencoderTiny: the small autoencoders that imitate Stable Diffusion's and FLUX's, and TAEF2's form of them."""
import json

import torch
from diffusers import AutoencoderTiny
from safetensors.torch import load_file

from common import Peer, Setting, normal


class Pool(torch.nn.Module):
    """What TAEF2's blocks of the coarsest level do first; their code is not in diffusers."""

    def __init__(self, width):
        super().__init__()
        self.pool = torch.nn.Sequential(torch.nn.Conv2d(width, 4 * width, 1, bias=False), torch.nn.GroupNorm(4, 4 * width),
                                        torch.nn.ReLU(), torch.nn.Conv2d(4 * width, width, 1, bias=False))

    def forward(self, x):
        return x + self.pool(x)


class Pooled(AutoencoderTiny):
    """AutoencoderTiny with a pool in the blocks of the coarsest level."""

    def __init__(self, config):
        super().__init__(**config)
        coarsest = {"encoder": config["num_encoder_blocks"][-1], "decoder": config["num_decoder_blocks"][0]}
        for name, count in coarsest.items():
            layers = getattr(self, name).layers
            blocks = [layer for layer in layers if hasattr(layer, "fuse")]
            for block in blocks[-count:] if name == "encoder" else blocks[:count]:
                pool = Pool(config["encoder_block_out_channels"][0])
                block.pool = pool.pool
                block.register_forward_pre_hook(lambda module, args: (args[0] + module.pool(args[0]),))

    def save_pretrained(self, folder, **more):
        super().save_pretrained(folder, **more)
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"_class_name": "AutoencoderTiny", "pool": True}))


def small(*blocks, width=8, **more):
    blocks = list(blocks or (1, 2))
    return dict(encoder_block_out_channels=[width] * len(blocks), decoder_block_out_channels=[width] * len(blocks),
                num_encoder_blocks=blocks, num_decoder_blocks=blocks[::-1]) | more


STORED = [
    Setting("tiny", small(1, 1, latent_channels=3), dtype=torch.float16, stored=True),
    Setting("pool", small(1, 1, width=8) | {"pool": True}, dtype=torch.float16, stored=True),
]
CHANGED = [Setting(name, config) for name, config in {
    "one level": small(2), "four levels": small(1, 3, 3, 3, width=4), "1 channel to 2": small(in_channels=1, out_channels=2),
    "latent_magnitude 1, which the network does not use": small(latent_magnitude=1), "pool, three blocks": small(1, 3) | {"pool": True},
    "16 latent channels": small(latent_channels=16)}.items()] + [
    Setting("pictures only", small(), inputs=dict(decode=False)),
    Setting("latents only", small(), inputs=dict(encode=False)),
    Setting("defaults left out of config.json", {}, minimal=True),
]
ODD = [Setting(f"{key} {value}", small(**{key: value}), odd=True)
       for key, value in {"act_fn": "silu", "upsample_fn": "bilinear", "scaling_factor": 0.5, "shift_factor": 0.1}.items()]


def make(config):
    if "pool" not in config:
        return AutoencoderTiny.from_config(config)
    return Pooled({key: value for key, value in config.items() if key != "pool"})


def load(folder, **more):
    config = json.loads((folder / "config.json").read_text())
    if not config.pop("pool", False):
        return AutoencoderTiny.from_pretrained(folder, low_cpu_mem_usage=False, **more)
    model = Pooled({key: value for key, value in config.items() if not key.startswith("_") and key != "block_out_channels"})
    model.load_state_dict(load_file(folder / "diffusion_pytorch_model.safetensors"))
    return model


def inputs(model, height=8, width=24, encode=True, decode=True):
    c = model.config
    tensors = {"sample": normal(2, c.in_channels, height, width, seed=("sample",))} if encode else {}
    return tensors | ({"latent": 2 * normal(2, c.latent_channels, 3, 5, seed=("latent",))} if decode else {})


def run(model, given):
    outputs = {}
    if "sample" in given:
        outputs["latents"] = model.encode(given["sample"].to(model.dtype)).latents
    if "latent" in given:
        outputs["picture"] = model.decode(given["latent"].to(model.dtype)).sample
    return outputs


PEER = Peer("AutoencoderTiny", STORED + CHANGED + ODD, make, load, inputs, run, either=True)
