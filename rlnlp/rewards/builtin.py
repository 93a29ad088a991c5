"""The built-in terms by name. A new one is its function, and a line of ``REWARDS`` in config/schema.py."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import field, make_dataclass
from importlib import import_module
from typing import Any, get_type_hints

from rlnlp.config.parse import parse
from rlnlp.config.schema import REWARDS
from rlnlp.errors import Exit, Failure
from rlnlp.rewards.terms import RewardContext, Term, TextFunction, text_term


def _functions(of_models: bool) -> dict[str, Callable[..., Any]]:
    """The built-in functions by name: those that make a term of a model, or those of texts."""
    paths = {name: path.split(":") for name, path in REWARDS.items()}
    return {
        name: vars(import_module(module))[function]
        for name, (module, function) in paths.items()
        if module.startswith("rlnlp.rewards.model.") == of_models
    }


MODEL_REWARDS: dict[str, Callable[..., Term]] = _functions(of_models=True)
TEXT_REWARDS: dict[str, TextFunction] = _functions(of_models=False)
TEXTS = ("prompts", "completions", "references")


def built_in(name: str, fn: str, args: Mapping[str, Any], around: RewardContext) -> Term:
    """The term ``name`` made of the built-in reward ``fn``; wrong ``args`` are reported now, not while training.

    Raises:
        Failure: exit 2, for arguments that the reward cannot use; exit 4, for a model that is missing or unfit.
    """
    key = f"reward.terms.{name}.args"
    if fn in MODEL_REWARDS:
        make = MODEL_REWARDS[fn]
        return make(name, around, **arguments(key, make, args, ("name", "context")))
    function = TEXT_REWARDS[fn]
    checked = arguments(key, function, args, TEXTS)
    try:
        function(**{word: [] for word in inspect.signature(function).parameters if word in TEXTS}, **checked)
    except ValueError as error:
        raise Failure(Exit.CONFIG, f"{key}.{error}") from error
    return text_term(name, function, checked, around.texts_of)


def arguments(
    key: str, function: Callable[..., Any], args: Mapping[str, Any], given: tuple[str, ...]
) -> dict[str, Any]:
    """``args`` and the defaults of ``function``, checked by its annotations as settings are by theirs.

    Arguments named in ``given`` come from elsewhere. ``Annotated[int, {"ge": 1}]`` has limits.

    Raises:
        Failure: exit 2; one line for each unknown, missing, mistyped or out-of-range argument, with its full key.
    """
    hints, limits = get_type_hints(function), get_type_hints(function, include_extras=True)
    wanted = []
    for word, parameter in inspect.signature(function).parameters.items():
        if word not in given:
            metadata = limits[word].__metadata__[0] if hasattr(limits[word], "__metadata__") else {}
            default = {} if parameter.default is parameter.empty else {"default": parameter.default}
            wanted.append((word, hints[word], field(metadata=metadata, **default)))
    return dict(vars(parse(make_dataclass("Arguments", wanted, kw_only=True), args, f"{key}.")))
