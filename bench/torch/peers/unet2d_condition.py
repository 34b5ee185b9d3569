"""UNet2DConditionModel: chapter 8's network, and Stable Diffusion's."""
import torch
from diffusers import UNet2DConditionModel

from common import Peer, Setting, normal


def blocks(down, up, **more):
    """Levels from letters: c for those that read the text, - for those that do not. Both lists are in the order of the file."""
    return dict(down_block_types=["CrossAttnDownBlock2D" if c == "c" else "DownBlock2D" for c in down],
                up_block_types=["CrossAttnUpBlock2D" if c == "c" else "UpBlock2D" for c in up], **more)


def small(**more):
    """Two levels, of which the finer one reads the text."""
    return dict(in_channels=4, out_channels=4, sample_size=16, block_out_channels=[8, 16], layers_per_block=1, norm_num_groups=4,
                attention_head_dim=2, cross_attention_dim=12) | blocks("c-", "-c") | more


STORED = [
    # As Stable Diffusion 1.x: convolutions around the layers, one number of heads, and no mask.
    Setting("sd1", small(norm_eps=1e-5), dtype=torch.float16, stored=True),
    # As 2.x: linear layers there, a number of heads for each level; and padding that is masked.
    Setting("sd2", small(use_linear_projection=True, attention_head_dim=[4, 2], **blocks("cc", "cc")), dtype=torch.float16,
            inputs=dict(mask=True), stored=True),
    # Two layers in a place, labels, other channels out than in.
    Setting("deep", small(transformer_layers_per_block=2, num_class_embeds=3, in_channels=3, out_channels=5, layers_per_block=2,
                          block_out_channels=[8, 8]), dtype=torch.bfloat16, inputs=dict(whole=False), stored=True),
]
ONE_CHANGED = {
    "one head": dict(attention_head_dim=1),
    "heads of each level": dict(attention_head_dim=[4, 8]),
    "text on the coarser level": blocks("-c", "c-"),
    "text on both levels": blocks("cc", "cc"),
    "text in the middle only": blocks("--", "--"),
    "text on the way up only": blocks("--", "cc"),
    "2 blocks a level": dict(layers_per_block=2),
    "3 layers in a place": dict(transformer_layers_per_block=3),
    "linear projection": dict(use_linear_projection=True),
    "upcast_attention": dict(upcast_attention=True),
    "norm_eps 1e-3": dict(norm_eps=1e-3),
    "padding on one side": dict(downsample_padding=0),
    "sines first": dict(flip_sin_to_cos=False),
    "freq_shift 1": dict(freq_shift=1),
    "10 labels": dict(num_class_embeds=10),
    "one level": dict(block_out_channels=[16], **blocks("c", "c")),
    "four levels": dict(block_out_channels=[8, 16, 24, 8], **blocks("ccc-", "-ccc")),
}
CHANGED = [Setting(name, small(**change)) for name, change in ONE_CHANGED.items()] + [
    Setting("a mask", small(), inputs=dict(mask=True)),
    Setting("one token", small(), inputs=dict(tokens=1)),
    Setting("200 tokens, a mask", small(), inputs=dict(tokens=200, mask=True)),
    Setting("float16 in several files", small(), dtype=torch.float16, shard="20KB"),
    Setting("defaults left out of config.json", dict(block_out_channels=[32, 32, 64, 32], cross_attention_dim=24), minimal=True),
]
ODD = [Setting(f"{key} {value}", small(**{key: value}), odd=True) for key, value in {
    "only_cross_attention": True, "dual_cross_attention": True, "resnet_time_scale_shift": "scale_shift", "resnet_skip_time_act": True,
    "resnet_out_scale_factor": 2.0, "conv_in_kernel": 1, "conv_out_kernel": 1, "class_embed_type": "timestep", "act_fn": "gelu",
    "center_input_sample": True, "mid_block_type": None, "mid_block_only_cross_attention": True, "time_cond_proj_dim": 4,
    "time_embedding_act_fn": "silu", "time_embedding_dim": 24, "timestep_post_act": "silu", "mid_block_scale_factor": 2.0,
    "encoder_hid_dim": 6, "cross_attention_norm": "layer_norm", "attention_type": "gated",
}.items()] + [
    Setting("down_block_types with other attention", small(down_block_types=["AttnDownBlock2D", "DownBlock2D"]), odd=True),
    Setting("transformer_layers_per_block of each level", small(transformer_layers_per_block=[1, 2]), odd=True),
    Setting("cross_attention_dim of each level", small(cross_attention_dim=[12, 6]), odd=True),
]


def inputs(model, height=8, width=24, tokens=5, whole=True, mask=False):
    c = model.config
    cross = c.cross_attention_dim if isinstance(c.cross_attention_dim, int) else c.cross_attention_dim[0]
    tensors = {"sample": normal(2, c.in_channels, height, width, seed=("sample",)),
               "timestep": torch.tensor([941, 7]) if whole else torch.tensor([941.25, 6.5]),
               "encoder_hidden_states": normal(2, tokens, cross, seed=("text",))}
    if mask:
        keep = torch.ones(2, tokens, dtype=torch.int64)
        keep[0, tokens // 2:] = 0
        tensors["encoder_attention_mask"] = keep
    if c.num_class_embeds:
        tensors["class_labels"] = torch.tensor([1, c.num_class_embeds - 1])
    return tensors


def run(model, given):
    mask = given.get("encoder_attention_mask")
    return {"sample": model(given["sample"].to(model.dtype), given["timestep"], given["encoder_hidden_states"].to(model.dtype),
                            class_labels=given.get("class_labels"), encoder_attention_mask=None if mask is None else mask.bool()).sample}


PEER = Peer("UNet2DConditionModel", STORED + CHANGED + ODD, UNet2DConditionModel.from_config,
            lambda folder, **more: UNet2DConditionModel.from_pretrained(folder, low_cpu_mem_usage=False, **more), inputs, run)
