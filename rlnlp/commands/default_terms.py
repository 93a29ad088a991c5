"""Terms of the default reward that need what the user's data lack: they are left out, where a term asked for fails."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from rlnlp.config.choices import choice, default_choice
from rlnlp.config.parse import parse
from rlnlp.config.reward import REWARDS, Reward, RewardTerm
from rlnlp.config.schema import OnPolicyRun, RewardRun
from rlnlp.data.formats import Record
from rlnlp.errors import Failure
from rlnlp.rewards.arguments import MODELS, check_without_reference, text_arguments

REWARDED = (OnPolicyRun, RewardRun)
WHY = "not every prompt has a 'reference'; add the field to the data to have it"

LACKING = "the prompts have no 'reference'; prompts with one can be given with --file"


def usable_config(config: Any, records: Sequence[Record]) -> Any:
    """``config`` without the terms that are as the default reward has them and that ``records`` cannot serve."""
    if not isinstance(config, REWARDED) or all(record.get("reference") is not None for record in records):
        return config
    defaults = _defaults(asdict(config).get("algo", {"name": "reinforce"})["name"])
    left = [name for name, term in config.reward.terms.items() if term == defaults.get(name)]
    left = [name for name in left if _needs_reference(name, config.reward.terms[name])]
    terms = {name: term for name, term in config.reward.terms.items() if name not in left}
    return replace(config, reward=replace(config.reward, terms=terms)) if terms else config


def without_references(reward: Reward, records: Sequence[Record]) -> tuple[Reward, dict[str, str]]:
    """``reward`` without the terms that need a reference, if a record has none; and what is left out, with the reason.

    A reward of such terms alone stays as it is.
    """
    if all(record.get("reference") is not None for record in records):
        return reward, {}
    left = {name: LACKING for name, term in reward.terms.items() if _needs_reference(name, term)}
    terms = {name: term for name, term in reward.terms.items() if name not in left}
    return (replace(reward, terms=terms), left) if terms else (reward, {})


def left_out(settings: Any, config: Any) -> dict[str, str]:
    """The terms of the composed ``settings`` that ``usable_config`` has left out, each with the reason."""
    if not isinstance(config, REWARDED):
        return {}
    names: Mapping[str, Any] = settings["reward"]["terms"]
    return {name: WHY for name in names if name not in config.reward.terms}


def _defaults(algo: str) -> dict[str, RewardTerm]:
    name = default_choice("reward", algo)
    return parse(Reward, choice("reward", name)).terms if name is not None else {}


def _needs_reference(name: str, term: RewardTerm) -> bool:
    if REWARDS.get(term.fn, MODELS).startswith(MODELS):
        return False
    try:
        check_without_reference(*text_arguments(name, term.fn, term.args))
    except Failure:
        return True
    return False
