"""How much a reward model reads at once follows from its size, and what is kept for the backward pass is as told."""

from types import SimpleNamespace

import pytest
import torch
from transformers import BertConfig, BertModel, LlamaConfig, LlamaModel

from rlnlp.batching import AtOnce
from rlnlp.models.reward_memory import KEPT, at_once


def body(layers, width):
    config = SimpleNamespace(num_hidden_layers=layers, hidden_size=width)
    return SimpleNamespace(config=SimpleNamespace(get_text_config=lambda: config))


@pytest.mark.parametrize(
    ("bodies", "texts", "want"),
    [
        ([body(30, 576)], None, AtOnce(64, 3106)),  # SmolLM2-135M: 4 GiB are 3,106 tokens of 1,382,400 bytes
        ([body(30, 576)], 5, AtOnce(5)),
        ([body(30, 576), body(30, 576)], None, AtOnce(64, 1553)),
        ([body(4, 128)], None, AtOnce(64, 104857)),  # as many as 64 texts of any length that the model can read
        ([body(10**6, 10**6)], None, AtOnce(64, 1)),
    ],
)
def test_the_tokens_at_once_are_those_whose_memory_is_at_most_four_gibibytes(bodies, texts, want):
    assert at_once(bodies, texts) == want


@pytest.mark.parametrize("kind", ["causal", "encoder"])
def test_what_is_kept_for_the_backward_pass_is_about_what_the_rule_counts(kind):
    shape = {"vocab_size": 50, "hidden_size": 96, "num_hidden_layers": 3, "num_attention_heads": 3}
    if kind == "causal":  # as those of SmolLM2: three queries to a key, and a feed-forward layer of 8/3 of the width
        model = LlamaModel(LlamaConfig(**shape, num_key_value_heads=1, intermediate_size=256)).eval()
    else:
        model = BertModel(BertConfig(**shape, intermediate_size=384)).eval()
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def keep(x):
        storage = x.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return x

    tokens = torch.arange(400).reshape(4, 100) % 50
    mask = torch.ones_like(tokens)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        out = model(input_ids=tokens, attention_mask=mask).last_hidden_state
    assert out.requires_grad
    each = sum(kept.values()) / (tokens.numel() * 3 * 96)
    assert KEPT / 1.6 < each < KEPT * 1.25
