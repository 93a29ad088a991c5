"""The token that fills up a reward model's batches: never one that ends a text.

Classes of transformers find a text's last token as the last that is not padding: padding that looks like the end would
move it.
"""

import copy
from dataclasses import replace
from typing import Any

import torch

from rlnlp.models.tokenizer import Tokenizer

NEW = "<|pad|>"
SPARE = ("pad", "reserved", "unused")  # in the words of special tokens that no text has


def padded_apart(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer, with a token for padding that ends no text: itself, or a copy.

    It is the tokenizer's own if that differs from the end, else a special token that stands for nothing, else the one
    for unknown words, else a new one.
    """
    raw, ends = tokenizer.raw, set(tokenizer.end)
    if raw.pad_token_id is not None and raw.pad_token_id not in ends:
        return tokenizer if tokenizer.pad == raw.pad_token_id else replace(tokenizer, pad=raw.pad_token_id)
    copied = copy.deepcopy(raw)
    copied.pad_token = _spare(raw, ends) or NEW
    if copied.pad_token not in raw.get_vocab():
        copied.add_special_tokens({"pad_token": NEW})
    return replace(tokenizer, raw=copied, pad=copied.pad_token_id)


def _spare(raw: Any, ends: set[int]) -> str | None:
    """A special token of the tokenizer that ends nothing and stands for nothing; None if it has none."""
    named = {raw.bos_token, raw.eos_token, raw.unk_token, raw.cls_token, raw.sep_token, raw.mask_token}
    special = {i: token.content for i, token in raw.added_tokens_decoder.items() if token.special and i not in ends}
    for part in SPARE:
        for word in special.values():
            if part in word.lower() and word not in named:
                return str(word)
    unknown: str | None = raw.unk_token
    return unknown if unknown is not None and raw.unk_token_id not in {*ends, raw.bos_token_id} else None


@torch.no_grad()
def fit_rows(body: Any, token: int) -> bool:
    """Give the embedding of ``body`` a row for ``token``, the mean of the others; True if it lacked it."""
    rows = body.get_input_embeddings().num_embeddings
    if token < rows:
        return False
    with torch.random.fork_rng(devices=[]):  # transformers draws the new rows first
        body.resize_token_embeddings(token + 1, mean_resizing=False)
    weight = body.get_input_embeddings().weight
    weight[rows:] = weight[:rows].mean(0)
    return True
