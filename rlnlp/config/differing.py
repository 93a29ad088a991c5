"""What is not as the algorithm has it by default, as words of a command line."""

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import cache
from typing import Any

from rlnlp.config.choices import compose
from rlnlp.config.reward import RewardTerm
from rlnlp.config.schema import RUNS
from rlnlp.config.setting import choosing, leaves, names_in

TERMS = ("reward", "terms")


def words_of(settings: Mapping[str, Any]) -> list[str]:
    """The settings that differ from the algorithm's defaults, as words of a command line."""
    algo = str(settings["algo"]["name"])
    stages = names_in(RUNS[algo], settings)
    first = names_in(RUNS[algo], usual_settings(algo))
    others = {group: name for group, name in stages.items() if name != first[group]}
    usual = usual_settings(algo, tuple(others.items()))
    was = dict(leaves({name: part for name, part in usual.items() if name in settings}))
    terms, usual_terms = settings.get("reward", {}).get("terms", {}), usual.get("reward", {}).get("terms", {})
    words = [choosing(group, name) for group, name in others.items()]
    words += [f"~reward.terms.{name}" for name in usual_terms if name not in terms]
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
def usual_settings(algo: str, stages: tuple[tuple[str, str], ...] = ()) -> Mapping[str, Any]:
    """The settings of an algorithm that nothing is said of but the algorithms of its ``stages``, by their keys."""
    chosen = {f"/{choosing(group, '').rstrip('=')}": name for group, name in stages}
    return compose("train", chosen={"algo": algo, **chosen})


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
