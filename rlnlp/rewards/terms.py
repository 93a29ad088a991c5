"""The reward contract ``rollout -> Scores``: checked terms, and their weighted sum."""

import inspect
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlnlp.errors import Exit, Failure, one_line
from rlnlp.maths.kl import on_last_token
from rlnlp.outcome import describe
from rlnlp.rewards.shaping import Shape, vetoed_sum
from rlnlp.types import Rollout, Scores, Texts

Term = Callable[[Rollout], Tensor]
Reward = Callable[[Rollout], Scores]
TextFunction = Callable[..., Any]


@dataclass(frozen=True)
class Around:
    """What a run gives to a term that asks a model: its texts, coherence under the start policy, the device."""

    read: Callable[[Rollout], Texts]
    likely: Term
    device: torch.device


def weighted_sum(terms: Mapping[str, tuple[Term, float]], shapes: Mapping[str, Shape] | None = None) -> Reward:
    """``rollout -> Scores`` with sum_k weight_k shape_k(term_k) on each response's last token, after the vetoes.

    ``Scores.terms`` are the values as the terms gave them.
    """
    shaped = {name: Shape() for name in terms} | dict(shapes or {})

    def reward(rollout: Rollout) -> Scores:
        values = {name: checked(name, term(rollout), len(rollout.responses)) for name, (term, _) in terms.items()}
        here = {name: value.to(rollout.mask.device) for name, value in values.items()}
        parts = [weight * shaped[name].counted(here[name]) for name, (_, weight) in terms.items()]
        total = vetoed_sum(parts, [shaped[name].vetoes(here[name]) for name in terms])
        return Scores(on_last_token(total, rollout.mask), values)

    return reward


def text_term(name: str, fn: TextFunction, args: Mapping[str, Any], read: Callable[[Rollout], Texts]) -> Term:
    """A function of lists as a term. It is given by keyword what its signature names.

    It may name ``prompts``, ``completions``, ``references``, any column of the data, and its own ``args``; with
    ``**kwargs`` it is given all of them (the convention of TRL's GRPO).

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
            "prompts": texts.prompts, "completions": texts.completions, "references": texts.references,
            **texts.columns, **args,
        }  # fmt: skip
        for word, needed in named.items():
            if needed and word not in offered:
                raise Failure(
                    Exit.DATA,
                    f"reward term '{name}' needs '{word}'; it is neither in reward.terms.{name}.args nor in the data"
                    f" (which has: {', '.join(offered)})",
                )
        given = offered if everything else {word: value for word, value in offered.items() if word in named}
        return numbers_of(name, _call(name, fn, given), len(texts.completions))

    return term


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
    for place, value in enumerate(values):
        if not isinstance(value, numbers.Real):
            raise _bad(name, f"returned {one_line(repr(value), 60)} for completion {place}, want a number")
    return checked(name, torch.tensor([_float(name, place, v) for place, v in enumerate(values)]), count)


def checked(name: str, values: Tensor, count: int) -> Tensor:
    """``values`` themselves, (count,).

    Raises:
        Failure: exit 7, for another shape or a number that is not finite.
    """
    if values.shape != (count,):
        raise _bad(name, f"has shape {tuple(values.shape)}, want ({count},)")
    if not bool(values.isfinite().all()):
        place = int((~values.isfinite()).nonzero()[0])
        raise _bad(name, f"returned {float(values[place])} for completion {place}")
    return values


def _float(name: str, place: int, value: numbers.Real) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise _bad(name, f"returned a number too large for completion {place}") from error


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
