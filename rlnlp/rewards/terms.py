"""The reward contract ``rollout -> Scores``: terms with checked values, and their weighted sum."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rlnlp.maths.rewards import on_last_token
from rlnlp.rewards.call import Batch, Callee, call_function, parameters_of
from rlnlp.rewards.shaping import Shaping, vetoed_sum
from rlnlp.rewards.values import Values, reward_error
from rlnlp.types import Rollout, Scores, Texts


@dataclass(frozen=True)
class PartlyGiven:
    """The values of a term that abstains from some responses: (B,) or (B, T), 0 where ``given`` (B,) is False."""

    values: Tensor
    given: Tensor


Term = Callable[[Rollout], Tensor | PartlyGiven]
Reward = Callable[[Rollout], Scores]
TextFunction = Callable[..., Any]


@dataclass(frozen=True)
class RewardContext:
    """What a run provides to a term that uses a model.

    ``texts_of`` decodes a rollout; ``coherence`` is the term of that name under the initial policy.
    ``note_content(key, sha256)`` records the content of what the setting ``key`` names, for a run that is resumed.
    """

    texts_of: Callable[[Rollout], Texts]
    coherence: Term
    device: torch.device
    note_content: Callable[[str, str], None]


def weighted_sum(terms: Mapping[str, tuple[Term, float]], shapings: Mapping[str, Shaping] | None = None) -> Reward:
    """``rollout -> Scores``: sum_k weight_k shaping_k(term_k) of each response, after the vetoes, on its last token.

    A term with a value per token, (B, T), enters the sum with the total of its tokens. Each token keeps its scaled and
    weighted value, and the last token gets the rest of the sum. ``Scores.terms`` has the values (or totals) unchanged.
    From a response that a term abstains from it takes nothing, and adds nothing to it.
    """
    shaping = {name: Shaping() for name in terms} | dict(shapings or {})

    def reward(rollout: Rollout) -> Scores:
        found = {name: term(rollout) for name, (term, _) in terms.items()}
        given = {name: each.given for name, each in found.items() if isinstance(each, PartlyGiven)}
        every = {name: each.values if isinstance(each, PartlyGiven) else each for name, each in found.items()}
        raw = {name: check_values(name, each, rollout.mask) for name, each in every.items()}
        values = {name: value if value.ndim == 1 else value.sum(1) for name, value in raw.items()}
        moved = {name: value.to(rollout.mask.device) for name, value in values.items()}
        total = summed(moved, given, {name: weight for name, (_, weight) in terms.items()}, shaping)
        per_token = [
            weight * shaping[name].scale * raw[name].to(total)
            for name, (_, weight) in terms.items()
            if raw[name].ndim > 1
        ]
        dense = torch.stack(per_token).sum(0) if per_token else torch.zeros_like(rollout.mask, dtype=total.dtype)
        return Scores(dense + on_last_token(total - dense.sum(1), rollout.mask), values, given)

    return reward


def summed(
    values: Mapping[str, Tensor], given: Mapping[str, Tensor], weights: Mapping[str, float],
    shapings: Mapping[str, Shaping],
) -> Tensor:  # fmt: skip
    """sum_k weight_k shaping_k(value_k), after the vetoes; all (B,).

    A term adds nothing to a response, and takes nothing from it, where ``given`` has it as False.
    """
    parts = {name: weights[name] * shapings[name].transform(value) for name, value in values.items()}
    vetoes = {name: shapings[name].vetoes(value) for name, value in values.items()}
    for name, here in given.items():
        parts[name] = parts[name].masked_fill(~here.to(parts[name].device), 0)
        vetoes[name] = vetoes[name] & here.to(vetoes[name].device)
    return vetoed_sum(list(parts.values()), list(vetoes.values()))


def text_term(
    name: str, fn: TextFunction, args: Mapping[str, Any], texts_of: Callable[[Rollout], Texts],
    conversational: bool = False,
) -> Term:  # fmt: skip
    """A term made of a function of lists, called in this process as it is.

    Raises:
        Failure: exit 2, if the function does not accept one of ``args``.
    """

    def call(batch: Batch, args: Mapping[str, Any]) -> Values:
        return call_function(name, fn, batch, args)

    return function_term(name, Callee(parameters_of(name, fn), call), args, texts_of, conversational)


def function_term(
    name: str, callee: Callee, args: Mapping[str, Any], texts_of: Callable[[Rollout], Texts],
    conversational: bool = False,
) -> Term:  # fmt: skip
    """A term made of a function of lists, which is called with the keyword arguments that its signature names.

    It can name ``prompts``, ``completions``, ``completion_ids`` (the tokens of each), ``references``, any column of the
    data, and its own ``args``; with ``**kwargs`` it gets all of them (the convention of TRL's GRPO). ``messages`` are
    prompt and completion as one conversation; if ``conversational``, prompts and completions are lists of messages too.
    It returns one number per completion, or one list per completion with a number for each of its tokens; None to
    abstain.

    Raises:
        Failure: exit 2, if the function does not accept one of ``args``.
    """
    callee.parameters.check_args(name, args)

    def term(rollout: Rollout) -> Tensor | PartlyGiven:
        texts, ids = texts_of(rollout), token_ids(rollout)
        given = {  # a column has no name of what the policy wrote: it is refused before
            **texts.columns, **said(texts, conversational), "completion_ids": ids, "references": texts.references,
            "messages": texts.messages,
        }  # fmt: skip
        callee.parameters.check_available(name, [*given, *args])
        lists = {word: value for word, value in given.items() if callee.parameters.takes(word) and word not in args}
        batch = Batch(lists, [len(each) for each in ids], rollout.prompts.rows.tolist())
        return values_tensor(name, callee.call(batch, args), rollout.mask.cpu())

    return term


def said(texts: Texts, conversational: bool) -> dict[str, list[Any]]:
    """Prompts and completions as texts, or as lists of messages."""
    if not conversational:
        return {"prompts": texts.prompts, "completions": texts.completions}
    return {"prompts": [m[:-1] for m in texts.messages], "completions": [m[-1:] for m in texts.messages]}


def token_ids(rollout: Rollout) -> list[list[int]]:
    """The tokens that the policy chose, one list per response."""
    return [row[mask].tolist() for row, mask in zip(rollout.responses.cpu(), rollout.mask.cpu(), strict=True)]


def values_tensor(name: str, values: Values, mask: Tensor) -> Tensor | PartlyGiven:
    """Checked values as float32: (B,), or (B, T) for lists with a number per token that the policy chose.

    Raises:
        Failure: exit 7, for a number that float32 cannot hold.
    """
    per_token = any(isinstance(value, list) for value in values)
    if per_token:
        found = torch.zeros(mask.shape, dtype=torch.float32)
        for i, value in enumerate(values):
            if isinstance(value, list):
                found[i, mask[i]] = torch.tensor(value, dtype=torch.float32)
    else:
        found = torch.tensor([0.0 if value is None else value for value in values], dtype=torch.float32)
    check_finite(name, found)
    given = torch.tensor([value is not None for value in values])
    return found if bool(given.all()) else PartlyGiven(found, given)


def check_values(name: str, values: Tensor, mask: Tensor) -> Tensor:
    """Return ``values`` unchanged: one per response, (B,), or one per token, (B, T), 0 where ``mask`` is False.

    Raises:
        Failure: exit 7, for another shape or a number that is not finite.
    """
    if values.shape not in (mask.shape[:1], mask.shape):
        raise reward_error(name, f"has shape {tuple(values.shape)}, expected ({len(mask)},)")
    return check_finite(name, values)


def check_finite(name: str, values: Tensor) -> Tensor:
    """Return ``values``, of any shape, unchanged.

    Raises:
        Failure: exit 7, for a number that is not finite.
    """
    if not bool(values.isfinite().all()):
        index = (~values.isfinite()).nonzero()[0].tolist()
        raise reward_error(name, f"returned {float(values[tuple(index)])} for completion {index[0]}")
    return values
