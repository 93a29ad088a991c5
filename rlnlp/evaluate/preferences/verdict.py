"""Whether a reward model is better than rules that read nothing, in one plain sentence."""

from collections.abc import Mapping, Sequence
from typing import Any

from rlnlp.evaluate.preferences.baselines import COIN, LONGER, MAJORITY, SHUFFLED
from rlnlp.evaluate.preferences.words import gain_words, rate

NOTHING = "nothing is measured: there is no held-out pair of which one answer is preferred"


def beats(baselines: Sequence[Mapping[str, Any]]) -> bool | None:
    """True if it beats the majority and length; False if it does not beat one of them; None where that is not shown."""
    said = [each["beaten"] for each in baselines if each["name"] in (MAJORITY, LONGER)]
    return False if False in said else None if None in said or not said else True


def verdict(record: Mapping[str, Any]) -> str:
    """One sentence on whether it beats the rules that read nothing."""
    if record["accuracy"] is None:
        return NOTHING
    own = rate(record["accuracy"])
    if not record["separate"]:
        return f"not measured: its accuracy of {own} is on pairs that it was trained on, and says nothing of others"
    rules = [each for each in record["baselines"] if each["name"] in (MAJORITY, LONGER)]
    word = beats(rules)
    if word:
        beaten = (f"{named(each)} ({rate(each['accuracy'])}, difference {gain_words(each)})" for each in rules)
        return f"yes: it beats {' and '.join(beaten)} with an accuracy of {own}"
    doubtful = [each for each in rules if each["beaten"] is word]
    worst = min(doubtful, key=lambda each: float(each["gain"]))
    if word is None:
        return f"not shown: it may be no better than {named(worst)} ({_against(own, worst)})"
    return f"no: it does not beat {named(worst)} ({_against(own, worst)})"


def named(baseline: Mapping[str, Any]) -> str:
    """A rule in quotes; what is none is named without."""
    rule = str(baseline["rule"])
    return rule if rule in (COIN, SHUFFLED) else f"'{rule}'"


def _against(own: str, baseline: Mapping[str, Any]) -> str:
    return f"{own} against {rate(baseline['accuracy'])}, difference {gain_words(baseline)}"
