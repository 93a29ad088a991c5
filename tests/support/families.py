"""A small model with random weights of every family that transformers knows for causal language models."""

import re
from pathlib import Path
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from support import small

FAMILIES = tuple(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
SIZES: tuple[tuple[str, Any], ...] = (  # the first pattern that fits the name of a setting
    (r"(text_)?vocab_size|vocab_size_per_layer_input|unpadded_vocab_size|encoder_vocab_size", len(small.tokenizer())),
    (r"pad_token_id|padding_idx", 0),
    (r"bos_token_id", 1),
    (r"eos_token_id", 2),
    (r"num_key_value_heads|num_kv_heads|n_head_kv|num_global_key_value_heads|swa_num_key_value_heads", 2),
    (r"(\w*_)?num_(attention_)?heads|n_heads?|(en|de)coder_attention_heads|(en|de)coder_num_attention_heads", 4),
    (r"num_(hidden_|decoder_|encoder_)?layers|n_layers?|(en|de)coder_layers|num_hidden_groups", 2),
    (r"hidden_size|d_model|n_embd|emb_dim|embedding_size|word_embed_proj_dim|attention_hidden_size|lru_width", 64),
    (r"head_dim|global_head_dim|v_head_dim|qk_nope_head_dim|qk_rope_head_dim|mamba_d_head|mamba_head_dim", 16),
    (
        r"\w*intermediate_size|\w*ffn_dim|d_ff|n_inner|ffn_hidden_size|feed_forward_\w*size|hidden_size_per_layer_input",
        64,
    ),
    (r"num_(local_|routed_)?experts|n_routed_experts|moe_num_experts|num_moe_experts", 4),
    (r"num_experts_per_tok\w*|moe_top_?k|moe_k|num_activated_experts", 2),
    (r"n_group|topk_group|num_expert_group|n_shared_experts|moe_num_shared_experts", 1),
    (r"(q|kv)_lora_rank|o_lora_rank", 16),
    (r"sliding_window\w*|attention_window_size", 8),
    (r"max_position_embeddings|n_positions|max_seq_len|context_length|n_ctx|max_seq_length", 128),
    (r"mamba_d_state|state_size|ssm_state_size", 8),
    (r"rotary_dim|rotary_ndims", 16),
)
HEADS = {"mamba_n_heads": 8, "mamba_d_head": 16}
OWN: dict[str, dict[str, Any]] = {  # settings of a family that do not follow from their names
    "bamba": HEADS,
    "cohere_compass_text": {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e4}}},
    "dbrx": {"attn_config": {"rope_theta": 1e4, "kv_n_heads": 2, "clip_qkv": 8}},
    "blt": {"encoder_hash_byte_group_vocab": 64},
    "deepseek_v2": {"num_experts_per_tok": 2, "n_routed_experts": 4, "n_shared_experts": 1},
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "dots3_note": {"num_key_value_heads": 4},
    "dots3_note_text": {"num_key_value_heads": 4},
    "falcon_h1": {**HEADS, "mamba_d_ssm": 128},
    "fuyu": {"text_config": {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2,
                             "num_attention_heads": 4, "vocab_size": 29, "max_position_embeddings": 128}},
    "gemma3n_text": {"num_kv_shared_layers": 0},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 8},
    "granitemoehybrid": HEADS,
    "hunyuan_v1_dense": {"head_dim": 16},
    "hunyuan_v1_moe": {"head_dim": 16},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "longcat_flash": {"zero_expert_num": 2},
    "mamba2": {"num_heads": 8, "head_dim": 16},
    "ministral": {"head_dim": 16},
    "nemotron": {"head_dim": 16, "num_key_value_heads": 2},
    "nemotron_h": {"n_groups": 2, "mamba_num_heads": 8},
    "reformer": {"axial_pos_embds": False},
    "zamba": {"num_hidden_layers": 7, "attn_layer_period": 3, "attn_layer_offset": 1, "attention_hidden_size": 128,
              "attention_head_dim": 32},
    "zamba2": {"num_hidden_layers": 4, "layers_block_type": ["mamba", "hybrid"] * 2, "hybrid_layer_ids": [1, 3],
               "attention_hidden_size": 128, "attention_head_dim": 32},
    "zaya": {"num_experts_per_tok": 1},
}  # fmt: skip


def config_of(family: str) -> Any:
    """A config of the family with everything small."""
    kind = CONFIG_MAPPING[family]
    return kind(**shrunk(kind, OWN.get(family, {})))


def shrunk(kind: Any, own: dict[str, Any]) -> dict[str, Any]:
    """The settings of a config that are to be small, and those of the configs inside it."""
    usual = kind().to_dict()
    found: dict[str, Any] = {}
    for name, value in usual.items():
        size = next((size for pattern, size in SIZES if re.fullmatch(pattern, name)), None)
        if size is not None and isinstance(value, int) and not isinstance(value, bool):
            found[name] = size
    for name, part in kind.sub_configs.items():
        if isinstance(usual.get(name), dict) and name not in own:
            inner = usual[name].get("model_type")
            known = (
                part if hasattr(part, "sub_configs") else CONFIG_MAPPING[inner]
            )  # AutoConfig: its type is said inside
            found[name] = {"model_type": inner, **shrunk(known, {})} if inner else shrunk(known, {})
    types = usual.get("layer_types")
    if isinstance(types, list):
        found["layer_types"] = list(dict.fromkeys(types)) if len(set(types)) > 1 else types[:2]
        layers = next(name for name in ("num_hidden_layers", "n_layer", "num_layers") if name in usual)
        found[layers] = len(found["layer_types"])
    if "kv_lora_rank" in usual and "num_key_value_heads" in found:
        found["num_key_value_heads"] = 4  # keys and values of all heads come from one vector
    if "is_decoder" in usual:
        found["is_decoder"] = True
    return {**found, **own}


def model_of(family: str) -> Any:
    """A model of the family; the deviation of its weights is so large that what it says depends on what it reads."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        lm = AutoModelForCausalLM.from_config(config_of(family), attn_implementation="eager").float().eval()
        with torch.no_grad():
            for weight in lm.parameters():
                if weight.ndim >= 2 and weight.std() < 0.1:
                    weight.mul_(5)
    return lm


def save(family: str, path: Path) -> Path:
    """Such a model with a tokenizer in a folder."""
    model_of(family).save_pretrained(path)
    small.tokenizer().save_pretrained(path)
    return path
