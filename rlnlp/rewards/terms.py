"""The reward contract ``rollout -> Scores``: terms with checked values, and their weighted sum."""

import inspect
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlnlp.errors import Exit, Failure, counted, describe, one_line
from rlnlp.maths.rewards import on_last_token
from rlnlp.rewards.arguments import Parameters
from rlnlp.rewards.shaping import Shaping, vetoed_sum
from rlnlp.types import Rollout, Scores, Texts

Term = Callable[[Rollout], Tensor]
Reward = Callable[[Rollout], Scores]
TextFunction = Callable[..., Any]


@dataclass(frozen=True)
class RewardContext:
    """What a run provides to a term that uses a model.

    ``texts_of`` decodes a rollout; ``coherence`` is the term of that name under the initial policy.
    """

    texts_of: Callable[[Rollout], Texts]
    coherence: Term
    device: torch.device


def weighted_sum(terms: Mapping[str, tuple[Term, float]], shapings: Mapping[str, Shaping] | None = None) -> Reward:
    """``rollout -> Scores``: sum_k weight_k shaping_k(term_k) of each response, after the vetoes, on its last token.

    A term with a value per token, (B, T), enters the sum with the total of its tokens. Each token keeps its scaled and
    weighted value, and the last token gets the rest of the sum. ``Scores.terms`` has the values (or totals) unchanged.
    """
    shaping = {name: Shaping() for name in terms} | dict(shapings or {})

    def reward(rollout: Rollout) -> Scores:
        raw = {name: check_values(name, term(rollout), rollout.mask) for name, (term, _) in terms.items()}
        values = {name: value if value.ndim == 1 else value.sum(1) for name, value in raw.items()}
        moved = {name: value.to(rollout.mask.device) for name, value in values.items()}
        parts = [weight * shaping[name].transform(moved[name]) for name, (_, weight) in terms.items()]
        total = vetoed_sum(parts, [shaping[name].vetoes(moved[name]) for name in terms])
        per_token = [
            weight * shaping[name].scale * raw[name].to(total)
            for name, (_, weight) in terms.items()
            if raw[name].ndim > 1
        ]
        dense = torch.stack(per_token).sum(0) if per_token else torch.zeros_like(rollout.mask, dtype=total.dtype)
        return Scores(dense + on_last_token(total - dense.sum(1), rollout.mask), values)

    return reward


def text_term(
    name: str, fn: TextFunction, args: Mapping[str, Any], texts_of: Callable[[Rollout], Texts],
    conversational: bool = False,
) -> Term:  # fmt: skip
    """A term made of a function of lists, which is called with the keyword arguments that its signature names.

    It can name ``prompts``, ``completions``, ``completion_ids`` (the tokens of each), ``references``, any column of the
    data, and its own ``args``; with ``**kwargs`` it gets all of them (the convention of TRL's GRPO). ``messages`` are
    prompt and completion as one conversation; if ``conversational``, prompts and completions are lists of messages too.
    It returns one number per completion, or one list per completion with a number for each of its tokens.

    Raises:
        Failure: exit 2, if the function does not accept one of ``args``.
    """
    parameters = _parameters(name, fn)
    parameters.check_args(name, args)

    def term(rollout: Rollout) -> Tensor:
        texts = texts_of(rollout)
        available = {
            "completion_ids": token_ids(rollout), "references": texts.references, "messages": texts.messages,
            **said(texts, conversational), **texts.columns, **args,
        }  # fmt: skip
        parameters.check_available(name, available)
        accepted = parameters.required
        arguments = {word: value for word, value in available.items() if parameters.any_keyword or word in accepted}
        values = _call(name, fn, arguments)
        if isinstance(values, Sequence) and values and is_list(values[0]):
            return token_numbers(name, values, rollout.mask.cpu())
        return numbers_of(name, values, len(texts.completions))

    return term


def said(texts: Texts, conversational: bool) -> dict[str, list[Any]]:
    """Prompts and completions as texts, or as lists of messages."""
    if not conversational:
        return {"prompts": texts.prompts, "completions": texts.completions}
    return {"prompts": [m[:-1] for m in texts.messages], "completions": [m[-1:] for m in texts.messages]}


def is_list(value: Any) -> bool:
    """True for a list or tuple, and for an array or tensor of one dimension; False for a text."""
    if isinstance(value, Tensor | np.ndarray):
        return value.ndim == 1
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def token_ids(rollout: Rollout) -> list[list[int]]:
    """The tokens that the policy chose, one list per response."""
    return [row[mask].tolist() for row, mask in zip(rollout.responses.cpu(), rollout.mask.cpu(), strict=True)]


def token_numbers(name: str, values: Sequence[Any], mask: Tensor) -> Tensor:
    """One list of numbers per completion, one number per token that the policy chose, as (B, T) float32.

    Raises:
        Failure: exit 7, for a wrong number of lists, a list of the wrong length, or a number that is not finite.
    """
    if len(values) != len(mask):
        raise _reward_error(name, f"returned {len(values)} values for {len(mask)} completions")
    rewards = torch.zeros(mask.shape)
    for i, (row, chosen) in enumerate(zip(values, mask, strict=True)):
        if not is_list(row):
            raise _reward_error(
                name, f"returned {one_line(repr(row), 60)} for completion {i}, expected a list, as for the others"
            )
        if len(row) != int(chosen.sum()):
            tokens = counted(int(chosen.sum()), "token")
            raise _reward_error(name, f"returned {counted(len(row), 'number')} for the {tokens} of completion {i}")
        rewards[i, chosen] = numbers_of(name, row, len(row))
    return rewards


def numbers_of(name: str, values: Any, count: int) -> Tensor:
    """``values`` as (count,) float32 on the CPU.

    Raises:
        Failure: exit 7, unless it is a flat list, array or tensor of ``count`` finite numbers.
    """
    if isinstance(values, Tensor | np.ndarray):
        values = values.tolist()
    if not isinstance(values, Sequence) or isinstance(values, str | bytes):
        raise _reward_error(name, f"returned {type(values).__name__}, expected a list of {count} numbers")
    if len(values) != count:
        raise _reward_error(name, f"returned {len(values)} values for {count} completions")
    values = [value.item() if isinstance(value, Tensor) and value.ndim == 0 else value for value in values]
    for i, value in enumerate(values):
        if not isinstance(value, numbers.Real):
            raise _reward_error(name, f"returned {one_line(repr(value), 60)} for completion {i}, expected a number")
    return check_finite(name, torch.tensor([_float(name, i, v) for i, v in enumerate(values)]))


def check_values(name: str, values: Tensor, mask: Tensor) -> Tensor:
    """Return ``values`` unchanged: one per response, (B,), or one per token, (B, T), 0 where ``mask`` is False.

    Raises:
        Failure: exit 7, for another shape or a number that is not finite.
    """
    if values.shape not in (mask.shape[:1], mask.shape):
        raise _reward_error(name, f"has shape {tuple(values.shape)}, expected ({len(mask)},)")
    return check_finite(name, values)


def check_finite(name: str, values: Tensor) -> Tensor:
    """Return ``values``, of any shape, unchanged.

    Raises:
        Failure: exit 7, for a number that is not finite.
    """
    if not bool(values.isfinite().all()):
        index = (~values.isfinite()).nonzero()[0].tolist()
        raise _reward_error(name, f"returned {float(values[tuple(index)])} for completion {index[0]}")
    return values


def _float(name: str, i: int, value: numbers.Real) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise _reward_error(name, f"returned a number too large for completion {i}") from error


def _call(name: str, fn: TextFunction, arguments: dict[str, Any]) -> Any:
    copies = {word: list(value) if isinstance(value, list) else value for word, value in arguments.items()}
    try:
        return fn(**copies)  # copies, because the function may change them
    except Failure:
        raise
    except (Exception, SystemExit) as error:
        raise _reward_error(name, f"raised {describe(error)}") from error


def _parameters(name: str, fn: TextFunction) -> Parameters:
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError) as error:
        raise Failure(
            Exit.CONFIG, f"reward.terms.{name}.fn: the function has no signature, so its arguments are unknown"
        ) from error
    by_keyword = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    required = {p.name: p.default is p.empty for p in parameters if p.kind in by_keyword}
    return Parameters(required, any(p.kind is p.VAR_KEYWORD for p in parameters))


def _reward_error(name: str, problem: str) -> Failure:
    advice = f"fix the function (reward.terms.{name}.fn) and run again"
    return Failure(Exit.REWARD, f"reward term '{name}' {problem}\n{advice}")
