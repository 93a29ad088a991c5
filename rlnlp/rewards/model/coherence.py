"""Reward for text that is likely under a reference model."""

import math
from collections.abc import Callable
from typing import Annotated

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from rlnlp.maths.distribution import Distribution
from rlnlp.models.load import load_policy, load_tokenizer
from rlnlp.models.locate import resolve
from rlnlp.models.policy import logprob_fn
from rlnlp.models.tokenizer import Tokenizer
from rlnlp.rewards.terms import RewardContext, Term
from rlnlp.types import Prompts, Rollout, Texts


def coherence(reference: Callable[[Rollout], Tensor], vocabulary: int) -> Callable[[Rollout], Tensor]:
    """1 - (mean nats per token under the reference) / log(vocabulary), at least 0; rollout -> (B,).

    1 for a response that the reference is certain of; 0 for one no likelier than uniformly random tokens.
    """

    def term(rollout: Rollout) -> Tensor:
        nats = -reference(rollout).sum(1) / rollout.mask.sum(1)
        return (1 - nats / math.log(vocabulary)).clamp(min=0)

    return term


def coherence_term(
    name: str, context: RewardContext, path: str | None = None, batch_size: Annotated[int, {"ge": 1}] = 16,
    allow_download: bool = False,
) -> Term:  # fmt: skip
    """Coherence under the initial policy, or under the model at ``path``, with that model's tokenizer.

    Raises:
        Failure: exit 4, for a model that is missing or unfit.
    """
    if path is None:
        return context.coherence
    model_path = resolve(f"reward.terms.{name}.args.path", path, "config.json", allow_download)
    policy, _ = load_policy(model_path, not allow_download, context.device)
    tokenizer = load_tokenizer(model_path, not allow_download, policy.ends)
    policy.requires_grad_(False)
    untempered = Distribution(1.0, 0, 1.0, 0, tokenizer.end)
    likely = coherence(logprob_fn(policy, untempered, batch_size), len(tokenizer.raw))

    def term(rollout: Rollout) -> Tensor:
        return likely(retokenize(rollout, context.texts_of(rollout), tokenizer, policy.context))

    return term


def retokenize(rollout: Rollout, texts: Texts, tokenizer: Tokenizer, max_tokens: int) -> Rollout:
    """The texts of ``rollout`` in the tokens of another model, at most ``max_tokens`` per row.

    Prompt and completion are tokenized as one text; the response starts at the first token that differs from those of
    the prompt alone. A response that has ended or is empty gets that model's end token. If a row is too long, tokens
    are removed from the start of the prompt first, then from the end of the response.
    """
    prompt_rows, response_rows = [], []
    for prompt, completion, ended in zip(texts.prompts, texts.completions, rollout.ended.tolist(), strict=True):
        before, response = tokenizer.encode_behind(prompt, completion)
        response = (response + ([tokenizer.end[0]] if ended or not response else []))[: max_tokens - 1]
        prompt_tokens = before or [*tokenizer.start, tokenizer.end[0]][:1]
        prompt_rows.append(prompt_tokens[len(response) - max_tokens :])
        response_rows.append(response)
    device = rollout.responses.device
    prompt_ids, prompt_mask = _padded(prompt_rows, tokenizer.pad, "left")
    response_ids, response_mask = _padded(response_rows, tokenizer.pad, "right")
    prompts = Prompts(prompt_ids.to(device), prompt_mask.to(device), rollout.prompts.rows)
    mask = response_mask.to(device)
    return Rollout(prompts, response_ids.to(device), mask, torch.cat([prompts.mask, mask], 1), rollout.ended)


def _padded(rows: list[list[int]], pad: int, side: str) -> tuple[Tensor, Tensor]:
    """``rows`` in one tensor, padded on one side; and a mask that is False at the padding."""
    tokens = [torch.tensor(row) for row in rows]
    real = [torch.ones(len(row), dtype=torch.bool) for row in rows]
    return pad_sequence(tokens, True, pad, side), pad_sequence(real, True, False, side)
