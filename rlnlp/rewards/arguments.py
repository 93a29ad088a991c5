"""The arguments of a reward function, checked before anything is called; nothing here imports torch."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, make_dataclass
from importlib import import_module
from typing import Any, get_type_hints

from rlnlp.config.parse import parse
from rlnlp.config.reward import COLUMNS, REWARDS
from rlnlp.errors import Exit, Failure

TEXTS = ("prompts", "completions", "references")
MAX_REPORTED = 5  # places of data that a term cannot use
MODELS = "rlnlp.rewards.model."  # the package of the terms that are made of models, and import torch


@dataclass(frozen=True)
class Parameters:
    """What a function can be given by keyword: each name with whether it is required; or any other name too."""

    required: Mapping[str, bool]
    any_keyword: bool

    def takes(self, word: str) -> bool:
        """True if the function is given what is called ``word``."""
        return self.any_keyword or word in self.required

    def check_args(self, name: str, args: Iterable[str]) -> None:
        """Check that the function accepts the ``args`` of the reward term ``name``.

        Raises:
            Failure: exit 2, if it does not accept one of them, or is given it already.
        """
        for word in args:
            if word in COLUMNS:
                raise Failure(Exit.CONFIG, f"reward.terms.{name}.args: '{word}' is what rlnlp gives; use another name")
            if word not in self.required and not self.any_keyword:
                accepted = ", ".join(self.required)
                raise Failure(
                    Exit.CONFIG, f"reward.terms.{name}.args: no argument '{word}'; the function accepts: {accepted}"
                )

    def check_available(self, name: str, available: Iterable[str]) -> None:
        """Check that what the function requires is ``available``.

        Raises:
            Failure: exit 3, if something is not.
        """
        for word, is_required in self.required.items():
            if is_required and word not in available:
                raise Failure(
                    Exit.DATA,
                    f"reward term '{name}' needs '{word}'; it is neither in reward.terms.{name}.args nor in the data"
                    f" (which has: {', '.join(available)})",
                    "missing-column",
                )


@dataclass(frozen=True)
class Wanted:
    """An argument of a built-in reward: its type, its limits, and its default in a dictionary, empty if it has none."""

    name: str
    kind: Any
    limits: Mapping[str, Any]
    default: Mapping[str, Any]


def wanted_by(function: Callable[..., Any]) -> list[Wanted]:
    """The arguments of ``function``, as its annotations have them. ``Annotated[int, {"ge": 1}]`` has limits."""
    hints, limits = get_type_hints(function), get_type_hints(function, include_extras=True)
    return [
        Wanted(
            word,
            hints[word],
            limits[word].__metadata__[0] if hasattr(limits[word], "__metadata__") else {},
            {} if parameter.default is parameter.empty else {"default": parameter.default},
        )
        for word, parameter in inspect.signature(function).parameters.items()
    ]


def arguments(key: str, wanted: Iterable[Wanted], args: Mapping[str, Any], given: tuple[str, ...]) -> dict[str, Any]:
    """``args`` and the defaults of the ``wanted``, checked as settings are; those in ``given`` come from elsewhere.

    Raises:
        Failure: exit 2; one line for each unknown, missing, mistyped or out-of-range argument, with its full key.
    """
    fields = [(each.name, each.kind, field(metadata=each.limits, **each.default)) for each in wanted
              if each.name not in given]  # fmt: skip
    return dict(vars(parse(make_dataclass("Arguments", fields, kw_only=True), args, f"{key}.")))


def text_arguments(name: str, fn: str, args: Mapping[str, Any]) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The built-in function of texts ``fn``, and the checked arguments of the term ``name`` that is made of it.

    Raises:
        Failure: exit 2, for arguments that the function cannot use.
    """
    module, _, attribute = REWARDS[fn].partition(":")
    function: Callable[..., Any] = vars(import_module(module))[attribute]
    key = f"reward.terms.{name}.args"
    checked = arguments(key, wanted_by(function), args, TEXTS)
    try:
        function(**{word: [] for word in inspect.signature(function).parameters if word in TEXTS}, **checked)
    except ValueError as error:
        raise Failure(Exit.CONFIG, f"{key}.{error}") from error
    return function, checked


def check_references(
    function: Callable[..., Any], args: Mapping[str, Any], references: Iterable[tuple[str, str | None]]
) -> None:
    """Check that a built-in function of texts can use each of the ``references``, which are given with their places.

    Raises:
        Failure: exit 3, with the places of those that it cannot use.
    """
    faults, last = [], None
    for location, reference in references:
        try:
            _call_with_reference(function, args, reference)
        except Failure as failure:
            faults.append(location)
            last = failure
    if last is not None:
        what, advice = str(last).split("\n", 1)
        more = f" (+{len(faults) - MAX_REPORTED} more)" if len(faults) > MAX_REPORTED else ""
        places = ", ".join(filter(None, dict.fromkeys(faults[:MAX_REPORTED])))
        raise Failure(last.code, f"{what}{places and ': ' + places + more}\n{advice}", last.name)


def check_without_reference(function: Callable[..., Any], args: Mapping[str, Any]) -> None:
    """Check that a built-in function of texts can do without the reference of a prompt.

    Raises:
        Failure: exit 3, if it cannot.
    """
    _call_with_reference(function, args, None)


def _call_with_reference(function: Callable[..., Any], args: Mapping[str, Any], reference: str | None) -> None:
    parameters = inspect.signature(function).parameters
    if "references" in parameters:
        texts = {"prompts": [""], "completions": [""], "references": [reference]}
        function(**{word: value for word, value in texts.items() if word in parameters}, **args)
