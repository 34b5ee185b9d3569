"""AutoencoderKL: the autoencoder of chapter 7, of Stable Diffusion and of FLUX."""
import torch
from diffusers import AutoencoderKL

from common import Peer, Setting, normal
from unet2d import OLD_NAMES


def small(*channels, **more):
    """Two levels unless told otherwise."""
    channels = list(channels or (8, 16))
    return dict(block_out_channels=channels, down_block_types=["DownEncoderBlock2D"] * len(channels),
                up_block_types=["UpDecoderBlock2D"] * len(channels), norm_num_groups=4, sample_size=16) | more


STORED = [
    # Stable Diffusion's form, in half precision and with the names that attention had before diffusers 0.15.
    Setting("old_names", small(8, 16, 8), dtype=torch.float16, rename=OLD_NAMES, stored=True),
    # FLUX's: more latent channels, no quant convolutions, a shift.
    Setting("flux", small(latent_channels=16, use_quant_conv=False, use_post_quant_conv=False, scaling_factor=0.3611,
                          shift_factor=0.1159), dtype=torch.bfloat16, stored=True),
    # One channel, two blocks a level, no attention.
    Setting("grey", small(in_channels=1, out_channels=1, layers_per_block=2, mid_block_add_attention=False), dtype=torch.float16, stored=True),
]
ONE_CHANGED = {
    "as it is": {},
    "one level": small(16),
    "four levels": small(8, 16, 24, 8),
    "3 blocks a level": dict(layers_per_block=3),
    "1 group": dict(norm_num_groups=1),
    "8 groups": dict(norm_num_groups=8),
    "3 latent channels": dict(latent_channels=3),
    "2 channels to 5": dict(in_channels=2, out_channels=5),
    "no attention in the middle": dict(mid_block_add_attention=False),
    "use_quant_conv False": dict(use_quant_conv=False),
    "use_post_quant_conv False": dict(use_post_quant_conv=False),
}
CHANGED = [Setting(name, small() | change) for name, change in ONE_CHANGED.items()] + [
    Setting("pictures only", small(), inputs=dict(decode=False)),
    Setting("latents only", small(), inputs=dict(encode=False)),
    Setting("float16 in several files", small(), dtype=torch.float16, shard="20KB"),
    Setting("float16 as a variant", small(), dtype=torch.float16, variant="fp16"),
    Setting("defaults left out of config.json", small(64, norm_num_groups=32), minimal=True),
]
ODD = [Setting(f"{key} {value}", small(**{key: value}), odd=True) for key, value in {
    "act_fn": "gelu", "latents_mean": [0.0] * 4, "latents_std": [1.0] * 4, "force_upcast": False}.items()] + [
    Setting("down_block_types with attention", small(down_block_types=["DownEncoderBlock2D", "AttnDownEncoderBlock2D"]), odd=True),
]


def inputs(model, height=8, width=24, encode=True, decode=True):
    c = model.config
    tensors = {}
    if encode:
        tensors["sample"] = normal(2, c.in_channels, height, width, seed=("sample",))
    if decode:
        tensors["latent"] = normal(2, c.latent_channels, 3, 5, seed=("latent",))
    return tensors


def run(model, given):
    outputs = {}
    if "sample" in given:
        posterior = model.encode(given["sample"].to(model.dtype)).latent_dist
        outputs |= {"mean": posterior.mean, "logvar": posterior.logvar}
    if "latent" in given:
        outputs["picture"] = model.decode(given["latent"].to(model.dtype)).sample
    return outputs


PEER = Peer("AutoencoderKL", STORED + CHANGED + ODD, AutoencoderKL.from_config,
            lambda folder, **more: AutoencoderKL.from_pretrained(folder, low_cpu_mem_usage=False, **more), inputs, run, either=True)
