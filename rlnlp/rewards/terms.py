"""The reward contract ``rollout -> Scores``: checked terms, and their weighted sum."""

import inspect
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlnlp.errors import Exit, Failure, describe, one_line
from rlnlp.maths.kl import on_last_token
from rlnlp.rewards.shaping import Shape, vetoed_sum
from rlnlp.types import Rollout, Scores, Texts

Term = Callable[[Rollout], Tensor]
Reward = Callable[[Rollout], Scores]
TextFunction = Callable[..., Any]


@dataclass(frozen=True)
class RewardContext:
    """What a run gives to a term that asks a model: its texts, coherence under the start policy, the device."""

    read: Callable[[Rollout], Texts]
    likely: Term
    device: torch.device


def weighted_sum(terms: Mapping[str, tuple[Term, float]], shapes: Mapping[str, Shape] | None = None) -> Reward:
    """``rollout -> Scores``: sum_k weight_k shape_k(term_k) for each response, after the vetoes, on its last token.

    A term that says what each token is worth, (B, T), counts with its sum; its tokens' shares stay where they are, and
    the last token has what is left. ``Scores.terms`` are the values (or sums) as the terms gave them.
    """
    shaped = {name: Shape() for name in terms} | dict(shapes or {})

    def reward(rollout: Rollout) -> Scores:
        said = {name: checked(name, term(rollout), rollout.mask) for name, (term, _) in terms.items()}
        values = {name: value if value.ndim == 1 else value.sum(1) for name, value in said.items()}
        here = {name: value.to(rollout.mask.device) for name, value in values.items()}
        parts = [weight * shaped[name].counted(here[name]) for name, (_, weight) in terms.items()]
        total = vetoed_sum(parts, [shaped[name].vetoes(here[name]) for name in terms])
        spread = [
            weight * shaped[name].scale * said[name].to(total)
            for name, (_, weight) in terms.items()
            if said[name].ndim > 1
        ]
        dense = torch.stack(spread).sum(0) if spread else torch.zeros_like(rollout.mask, dtype=total.dtype)
        return Scores(dense + on_last_token(total - dense.sum(1), rollout.mask), values)

    return reward


def text_term(name: str, fn: TextFunction, args: Mapping[str, Any], read: Callable[[Rollout], Texts]) -> Term:
    """A function of lists as a term. It is given by keyword what its signature names.

    It may name ``prompts``, ``completions``, ``completion_ids`` (the tokens of each), ``references``, any column of the
    data, and its own ``args``; with ``**kwargs`` it is given all of them (the convention of TRL's GRPO). It returns a
    number for each completion, or a list of numbers, one for each of its tokens.

    Raises:
        Failure: exit 2, if ``args`` has a word that the function does not take.
    """
    named, everything = _signature(name, fn)
    for word in args:
        if word not in named and not everything:
            raise Failure(Exit.CONFIG, f"reward.terms.{name}.args: no argument '{word}'; it takes: {', '.join(named)}")

    def term(rollout: Rollout) -> Tensor:
        texts = read(rollout)
        offered = {
            "prompts": texts.prompts, "completions": texts.completions, "completion_ids": token_ids(rollout),
            "references": texts.references, **texts.columns, **args,
        }  # fmt: skip
        for word, needed in named.items():
            if needed and word not in offered:
                raise Failure(
                    Exit.DATA,
                    f"reward term '{name}' needs '{word}'; it is neither in reward.terms.{name}.args nor in the data"
                    f" (which has: {', '.join(offered)})",
                )
        given = offered if everything else {word: value for word, value in offered.items() if word in named}
        values = _call(name, fn, given)
        if isinstance(values, Sequence) and values and is_list(values[0]):
            return token_numbers(name, values, rollout.mask.cpu())
        return numbers_of(name, values, len(texts.completions))

    return term


def is_list(value: Any) -> bool:
    """True for a list, array or tensor of numbers; a text is none."""
    if isinstance(value, Tensor | np.ndarray):
        return value.ndim == 1
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def token_ids(rollout: Rollout) -> list[list[int]]:
    """The tokens that the policy chose, one list per response."""
    return [row[mask].tolist() for row, mask in zip(rollout.responses.cpu(), rollout.mask.cpu(), strict=True)]


def token_numbers(name: str, values: Sequence[Any], mask: Tensor) -> Tensor:
    """One list of numbers per completion, one number per token that the policy chose, as (B, T) float32.

    Raises:
        Failure: exit 7, for another number of lists or of numbers in one, or a number that is not finite.
    """
    if len(values) != len(mask):
        raise _bad(name, f"returned {len(values)} values for {len(mask)} completions")
    rewards = torch.zeros(mask.shape)
    for i, (row, chosen) in enumerate(zip(values, mask, strict=True)):
        if not is_list(row):
            raise _bad(name, f"returned {one_line(repr(row), 60)} for completion {i}, want a list, as for others")
        if len(row) != int(chosen.sum()):
            raise _bad(name, f"returned {len(row)} numbers for the {int(chosen.sum())} tokens of completion {i}")
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
        raise _bad(name, f"returned {type(values).__name__}, want a list of {count} numbers")
    if len(values) != count:
        raise _bad(name, f"returned {len(values)} values for {count} completions")
    values = [value.item() if isinstance(value, Tensor) and value.ndim == 0 else value for value in values]
    for i, value in enumerate(values):
        if not isinstance(value, numbers.Real):
            raise _bad(name, f"returned {one_line(repr(value), 60)} for completion {i}, want a number")
    return finite(name, torch.tensor([_float(name, i, v) for i, v in enumerate(values)]))


def checked(name: str, values: Tensor, mask: Tensor) -> Tensor:
    """``values`` themselves: one per response, (B,), or one per token, (B, T), 0 where ``mask`` is False.

    Raises:
        Failure: exit 7, for another shape or a number that is not finite.
    """
    if values.shape not in (mask.shape[:1], mask.shape):
        raise _bad(name, f"has shape {tuple(values.shape)}, want ({len(mask)},)")
    return finite(name, values)


def finite(name: str, values: Tensor) -> Tensor:
    """``values`` themselves, of any shape.

    Raises:
        Failure: exit 7, for a number that is not finite.
    """
    if not bool(values.isfinite().all()):
        index = (~values.isfinite()).nonzero()[0].tolist()
        raise _bad(name, f"returned {float(values[tuple(index)])} for completion {index[0]}")
    return values


def _float(name: str, i: int, value: numbers.Real) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise _bad(name, f"returned a number too large for completion {i}") from error


def _call(name: str, fn: TextFunction, given: dict[str, Any]) -> Any:
    try:
        return fn(**{word: list(v) if isinstance(v, list) else v for word, v in given.items()})  # theirs to change
    except Failure:
        raise
    except (Exception, SystemExit) as error:
        raise _bad(name, f"raised {describe(error)}") from error


def _signature(name: str, fn: TextFunction) -> tuple[dict[str, bool], bool]:
    """Argument -> whether it must be given; and whether any further ones are taken."""
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError) as error:
        raise Failure(Exit.CONFIG, f"reward.terms.{name}.fn: it has no signature to see its arguments by") from error
    named = {p.name: p.default is p.empty for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    return named, any(p.kind is p.VAR_KEYWORD for p in parameters)


def _bad(name: str, what: str) -> Failure:
    return Failure(
        Exit.REWARD, f"reward term '{name}' {what}\nmend the function (reward.terms.{name}.fn) and run again"
    )
