"""The built-in terms by name. A new one is its function, and a line of ``REWARDS`` in config/schema.py."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from rlnlp.config.reward import REWARDS
from rlnlp.rewards.arguments import MODELS, arguments, text_arguments, wanted_by
from rlnlp.rewards.terms import RewardContext, Term, TextFunction, text_term


def _functions(of_models: bool) -> dict[str, Callable[..., Any]]:
    """The built-in functions by name: those that make a term of a model, or those of texts."""
    paths = {name: path.split(":") for name, path in REWARDS.items()}
    return {
        name: vars(import_module(module))[function]
        for name, (module, function) in paths.items()
        if module.startswith(MODELS) == of_models
    }


MODEL_REWARDS: dict[str, Callable[..., Term]] = _functions(of_models=True)
TEXT_REWARDS: dict[str, TextFunction] = _functions(of_models=False)


def built_in(name: str, fn: str, args: Mapping[str, Any], context: RewardContext) -> Term:
    """The term ``name`` made of the built-in reward ``fn``; wrong ``args`` are reported here, before any training.

    Raises:
        Failure: exit 2, for arguments that the reward cannot use; exit 4, for a model that is missing or unfit.
    """
    if fn in MODEL_REWARDS:
        make = MODEL_REWARDS[fn]
        given = arguments(f"reward.terms.{name}.args", wanted_by(make), args, ("name", "context"))
        return make(name, context, **given)
    function, checked = text_arguments(name, fn, args)
    return text_term(name, function, checked, context.texts_of)
