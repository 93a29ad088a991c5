"""What is not as the algorithm has it by default, as words of a command line."""

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import cache
from typing import Any

from rlnlp.config.choices import compose
from rlnlp.config.reward import RewardTerm
from rlnlp.config.setting import leaves

TERMS = ("reward", "terms")


def words_of(settings: Mapping[str, Any]) -> list[str]:
    """The settings that differ from the algorithm's defaults, as words of a command line."""
    usual = usual_settings(settings["algo"]["name"])
    was = dict(leaves({name: part for name, part in usual.items() if name in settings}))
    terms, usual_terms = settings.get("reward", {}).get("terms", {}), usual.get("reward", {}).get("terms", {})
    words = [f"~reward.terms.{name}" for name in usual_terms if name not in terms]
    for key, value in leaves(settings):
        *group, name, last = key.split(".") if "." in key else ("", "", key)
        new_term = tuple(group) == TERMS and name not in usual_terms
        if key in was:
            words += [] if was[key] == value else [f"{key}={shown(value)}"]
        elif new_term or tuple(key.split(".")[:2]) == TERMS:
            words += [] if last in usual_of_term() and usual_of_term()[last] == value else [f"+{key}={shown(value)}"]
        else:
            words.append(f"+{key}={shown(value)}")
    return words


@cache
def usual_settings(algo: str) -> Mapping[str, Any]:
    """The settings of an algorithm that nothing is said of."""
    return compose("train", chosen={"algo": algo})


@cache
def usual_of_term() -> Mapping[str, Any]:
    """The settings of a reward term that nothing is said of."""
    found = {f.name: f.default for f in fields(RewardTerm) if f.default is not MISSING}
    return found | {f.name: f.default_factory() for f in fields(RewardTerm) if f.default_factory is not MISSING}


def shown(value: Any) -> str:
    """A value as it is typed."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list):
        return json.dumps(value, ensure_ascii=False)
    return "{}" if value == {} else str(value)
