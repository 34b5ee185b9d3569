"""UNet2DModel: the network of chapter 4, and the public DDPM models."""
import torch
from diffusers import UNet2DModel

from common import Peer, Setting, normal

OLD_NAMES = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def blocks(down, up, **more):
    """Levels from letters: a for those that attend, - for those that do not. Both lists are in the order of the file."""
    return dict(down_block_types=["AttnDownBlock2D" if c == "a" else "DownBlock2D" for c in down],
                up_block_types=["AttnUpBlock2D" if c == "a" else "UpBlock2D" for c in up], **more)


def small(**more):
    """Two levels, of which the coarser one attends."""
    return dict(in_channels=3, out_channels=3, sample_size=16, block_out_channels=[8, 16], layers_per_block=1, norm_num_groups=4,
                attention_head_dim=8) | blocks("-a", "a-") | more


STORED = [
    # As the public CIFAR-10 model: one head, sines first, divisor half - 1, rows and columns of zeros on one side only.
    Setting("ddpm", small(layers_per_block=2, attention_head_dim=None, flip_sin_to_cos=False, freq_shift=1, downsample_padding=0,
                          norm_eps=1e-6, block_out_channels=[8, 8]), stored=True),
    # Labels; other channels out than in; attention where down and up differ; half precision.
    Setting("labels", small(in_channels=4, out_channels=2, num_class_embeds=5, attention_head_dim=4, **blocks("a-", "a-")),
            dtype=torch.float16, inputs=dict(whole=False), stored=True),
    # Three levels, three blocks each, no attention at all; bfloat16, in several files.
    Setting("shards", small(in_channels=1, out_channels=1, block_out_channels=[4, 8, 8], layers_per_block=3, norm_num_groups=2,
                            add_attention=False, **blocks("---", "---")), dtype=torch.bfloat16, shard="30KB", stored=True),
    # The names that attention had before diffusers 0.15.
    Setting("old_names", small(block_out_channels=[8, 16], attention_head_dim=8, norm_eps=1e-3, freq_shift=0.5, **blocks("-a", "--")),
            dtype=torch.float16, rename=OLD_NAMES, inputs=dict(whole=False), stored=True),
]
ONE_CHANGED = {
    "one head": dict(attention_head_dim=None),
    "heads of 4": dict(attention_head_dim=4),
    "attention on the finest level": blocks("a-", "-a"),
    "attention on all levels": blocks("aa", "aa"),
    "attention on the way down only": blocks("aa", "--"),
    "attention on the way up only": blocks("--", "aa"),
    "attention in the middle only": blocks("--", "--"),
    "no attention in the middle": dict(add_attention=False),
    "2 blocks a level": dict(layers_per_block=2),
    "3 blocks a level": dict(layers_per_block=3),
    "1 group": dict(norm_num_groups=1),
    "8 groups": dict(norm_num_groups=8),
    "norm_eps 1e-6": dict(norm_eps=1e-6),
    "norm_eps 0.1": dict(norm_eps=0.1),
    "padding on one side": dict(downsample_padding=0),
    "sines first": dict(flip_sin_to_cos=False),
    "freq_shift 1": dict(freq_shift=1),
    "10 labels": dict(num_class_embeds=10),
    "2 channels to 5": dict(in_channels=2, out_channels=5),
    "one level": dict(block_out_channels=[16], **blocks("a", "a")),
    "widths 16, 8, 24": dict(block_out_channels=[16, 8, 24], norm_num_groups=8, attention_head_dim=8, **blocks("-a-", "a--")),
    "four levels": dict(block_out_channels=[8, 16, 24, 8], **blocks("-a-a", "--aa")),
}
CHANGED = [Setting(name, small(**change)) for name, change in ONE_CHANGED.items()] + [
    Setting("times that are not whole", small(), inputs=dict(whole=False)),
    Setting("float16", small(), dtype=torch.float16),
    Setting("bfloat16", small(), dtype=torch.bfloat16),
    Setting("float16 in several files", small(), dtype=torch.float16, shard="20KB"),
    Setting("float16 as a variant", small(), dtype=torch.float16, variant="fp16"),
    Setting("float16 as a variant in several files", small(), dtype=torch.float16, shard="20KB", variant="fp16"),
    Setting("defaults left out of config.json", dict(block_out_channels=[32, 64, 32, 32]), minimal=True),
]
# What nobody here claims to read.
ODD = [Setting(f"{key} {value}", small(**{key: value}), odd=True) for key, value in {
    "time_embedding_type": "fourier", "resnet_time_scale_shift": "scale_shift", "downsample_type": "resnet",
    "upsample_type": "resnet", "class_embed_type": "identity", "center_input_sample": True, "act_fn": "gelu",
    "mid_block_scale_factor": 2.0, "attn_norm_num_groups": 2, "time_embedding_dim": 24, "mid_block_type": None, "dropout": 0.5,
}.items()] + [
    Setting("down_block_types with Skip", small(down_block_types=["SkipDownBlock2D", "DownBlock2D"]), odd=True),
    Setting("attention_head_dim 12 of 16 channels", small(attention_head_dim=12), odd=True),
]
# google/ddpm-cifar10-32, with random weights.
CIFAR10 = Setting("the public CIFAR-10 model's, full size", dict(
    in_channels=3, out_channels=3, sample_size=32, block_out_channels=[128, 256, 256, 256], layers_per_block=2, norm_num_groups=32,
    norm_eps=1e-6, attention_head_dim=None, flip_sin_to_cos=False, freq_shift=1, downsample_padding=0, center_input_sample=False,
    mid_block_scale_factor=1, time_embedding_type="positional", act_fn="silu", **blocks("-a--", "--a-")), inputs=dict(height=32, width=32))


def inputs(model, height=8, width=24, whole=True):
    c = model.config
    tensors = {"sample": normal(2, c.in_channels, height, width, seed=("sample",)),
               "timestep": torch.tensor([941, 7]) if whole else torch.tensor([941.25, 6.5])}
    if c.num_class_embeds:
        tensors["class_labels"] = torch.tensor([1, c.num_class_embeds - 1])
    elif c.class_embed_type == "identity":
        tensors["class_labels"] = normal(2, 4 * c.block_out_channels[0], seed=("class_labels",))
    return tensors


def run(model, given):
    labels = given.get("class_labels")
    labels = labels.to(model.dtype) if labels is not None and labels.is_floating_point() else labels
    return {"sample": model(given["sample"].to(model.dtype), given["timestep"], labels).sample}


PEER = Peer("UNet2DModel", STORED + CHANGED + ODD + [CIFAR10], UNet2DModel.from_config, lambda folder, **more: UNet2DModel.from_pretrained(folder, low_cpu_mem_usage=False, **more), inputs, run)
