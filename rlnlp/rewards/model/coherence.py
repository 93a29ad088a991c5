"""Reward for text that a reference model finds likely."""

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
    """1 - (mean nats per token under the reference) / log(vocabulary), cut off at 0; rollout -> (B,).

    A response that the reference is certain of has 1, one as likely as tokens drawn blindly has 0.
    """

    def term(rollout: Rollout) -> Tensor:
        nats = -reference(rollout).sum(1) / rollout.mask.sum(1)
        return (1 - nats / math.log(vocabulary)).clamp(min=0)

    return term


def coherence_term(
    name: str, around: RewardContext, path: str | None = None, batch_size: Annotated[int, {"ge": 1}] = 16,
    allow_download: bool = False,
) -> Term:  # fmt: skip
    """Coherence under the start policy; or under the model at ``path``, which reads the texts by its own tokenizer.

    Raises:
        Failure: exit 4, for a model that is missing or unfit.
    """
    if path is None:
        return around.likely
    found = resolve(f"reward.terms.{name}.args.path", path, "config.json", allow_download)
    tokenizer = load_tokenizer(found, not allow_download)
    policy = load_policy(found, not allow_download, around.device).requires_grad_(False)
    untempered = Distribution(1.0, 0, 1.0, 0, tokenizer.end)
    likely = coherence(logprob_fn(policy, untempered, batch_size), len(tokenizer.raw))
    room = policy.context

    def term(rollout: Rollout) -> Tensor:
        return likely(reread(rollout, around.read(rollout), tokenizer, room))

    return term


def reread(rollout: Rollout, texts: Texts, tokenizer: Tokenizer, room: int) -> Rollout:
    """The texts of ``rollout`` in the tokens of another model, at most ``room`` of them a row.

    Prompt and completion are read as one text; the response begins with the first token that the prompt alone would
    not have. A response that had ended, or has no text, gets that model's end token. What is too long loses the
    beginning of the prompt, and then the end of the response.
    """
    before, after = [], []
    for prompt, completion, ended in zip(texts.prompts, texts.completions, rollout.ended.tolist(), strict=True):
        alone, whole = tokenizer.encode(prompt), tokenizer.encode(prompt + completion)
        same = next((i for i, pair in enumerate(zip(alone, whole, strict=False)) if pair[0] != pair[1]), None)
        same = min(len(alone), len(whole)) if same is None else same
        rest = whole[same:] + ([tokenizer.end[0]] if ended or len(whole) == same else [])
        rest = rest[: room - 1]
        before.append((whole[:same] or [*tokenizer.start, tokenizer.end[0]][:1])[len(rest) - room :])
        after.append(rest)
    device = rollout.responses.device
    (asked, left), (said, right) = _padded(before, tokenizer.pad, "left"), _padded(after, tokenizer.pad, "right")
    prompts = Prompts(asked.to(device), left.to(device), rollout.prompts.rows)
    mask = right.to(device)
    return Rollout(prompts, said.to(device), mask, torch.cat([prompts.mask, mask], 1), rollout.ended)


def _padded(rows: list[list[int]], pad: int, side: str) -> tuple[Tensor, Tensor]:
    """``rows`` in one tensor filled up on one side, and a mask of what is real."""
    tokens = [torch.tensor(row) for row in rows]
    real = [torch.ones(len(row), dtype=torch.bool) for row in rows]
    return pad_sequence(tokens, True, pad, side), pad_sequence(real, True, False, side)
