"""CLIPTextModel, CLIPModel and T5EncoderModel: chapter 8's encoders."""
import torch
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from common import Peer, Setting, normal, numbers


def text(**more):
    return dict(vocab_size=50, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=12,
                hidden_act="quick_gelu", bos_token_id=48, eos_token_id=49, pad_token_id=49) | more


def vision(**more):
    return dict(hidden_size=12, intermediate_size=20, num_hidden_layers=2, num_attention_heads=3, image_size=16, patch_size=4,
                hidden_act="quick_gelu") | more


def clip(**more):
    return dict(text_config=text(), vision_config=vision(), projection_dim=10) | more


def t5(**more):
    return dict(vocab_size=50, d_model=16, d_kv=6, d_ff=20, num_layers=3, num_heads=2, feed_forward_proj="gated-gelu") | more


def ids_of(config, length, end_is_largest=False):
    """Two texts; one ends early, and what comes after its end is not all padding."""
    random = numbers("ids")
    ids = torch.from_numpy(random.integers(0, config.vocab_size - 2, (2, length)))
    ids[0, length - 1] = config.vocab_size - 1
    ids[1, length // 2] = config.vocab_size - 1
    if not end_is_largest:
        ids[1, length - 2] = config.vocab_size - 1
    return ids


def text_inputs(model, length=9):
    return {"input_ids": ids_of(model.config, length, model.config.eos_token_id == 2)}


def text_run(model, given):
    out = model(**given)
    return {"last_hidden_state": out.last_hidden_state, "pooler_output": out.pooler_output}


def clip_inputs(model):
    c = model.config.vision_config
    return {"input_ids": ids_of(model.config.text_config, 9, model.config.text_config.eos_token_id == 2),
            "pixel_values": normal(3, c.num_channels, c.image_size, c.image_size, seed=("pixels",))}


def clip_run(model, given):
    out = model(input_ids=given["input_ids"], pixel_values=given["pixel_values"].to(model.dtype))
    return {"text_embeds": out.text_embeds, "image_embeds": out.image_embeds, "logits_per_image": out.logits_per_image}


def t5_inputs(model, length=9, mask=True):
    ids = torch.from_numpy(numbers("ids").integers(0, model.config.vocab_size, (2, length)))
    if not mask:
        return {"input_ids": ids}
    keep = torch.ones(2, length, dtype=torch.int64)
    keep[1, length // 3:] = 0
    return {"input_ids": ids, "attention_mask": keep}


def t5_run(model, given):
    return {"last_hidden_state": model(**given).last_hidden_state}


OLD = {"embeddings.": "text_model.embeddings.", "encoder.": "text_model.encoder.", "final_layer_norm": "text_model.final_layer_norm"}
CLIP_TEXT = Peer("CLIPTextModel", [
    Setting("first_end", text(), dtype=torch.float16, stored=True),
    # As Stable Diffusion 1's folder has it: names with a prefix, and an end that was never meant.
    Setting("old_names", text(eos_token_id=2, hidden_act="gelu"), dtype=torch.float16, rename=OLD, stored=True),
    Setting("tanh", text(hidden_act="gelu_new"), inputs=dict(length=12)),
    Setting("eps 0.1", text(layer_norm_eps=0.1)),
    Setting("one head, one layer", text(num_attention_heads=1, num_hidden_layers=1)),
    Setting("bfloat16 in several files", text(), dtype=torch.bfloat16, shard="5KB"),
    Setting("hidden_act relu", text(hidden_act="relu"), odd=True),
    Setting("77 tokens", text(max_position_embeddings=77, hidden_size=32), inputs=dict(length=77)),
], lambda config: CLIPTextModel(CLIPTextConfig(**config)), CLIPTextModel.from_pretrained, text_inputs, text_run)
CLIP = Peer("CLIPModel", [
    Setting("small", clip(), dtype=torch.float16, stored=True),
    Setting("erf", clip(text_config=text(hidden_act="gelu"), vision_config=vision(hidden_act="gelu"))),
    Setting("largest id", clip(text_config=text(eos_token_id=2))),
    Setting("patches of 8, one channel", clip(vision_config=vision(patch_size=8, num_channels=1))),
], lambda config: CLIPModel(CLIPConfig(**config)), CLIPModel.from_pretrained, clip_inputs, clip_run)
T5 = Peer("T5EncoderModel", [
    Setting("no mask", t5(), inputs=dict(mask=False)),
    Setting("gated", t5(), dtype=torch.float16, stored=True),
    Setting("relu", t5(feed_forward_proj="relu", relative_attention_num_buckets=8, relative_attention_max_distance=20), dtype=torch.float16,
            inputs=dict(length=40), stored=True),
    Setting("300 tokens", t5(), inputs=dict(length=300)),
    Setting("eps 0.1", t5(layer_norm_epsilon=0.1)),
    Setting("feed_forward_proj gated-silu", t5(feed_forward_proj="gated-silu"), odd=True),
], lambda config: T5EncoderModel(T5Config(**config)), T5EncoderModel.from_pretrained, t5_inputs, t5_run)
PEERS = [CLIP_TEXT, CLIP, T5]
