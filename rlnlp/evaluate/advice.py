"""Settings to try, by those that are in force: nothing is advised that is set already, or that is not there."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rlnlp.config.schema import Common
from rlnlp.config.setting import leaves

Settings = Mapping[str, Any]  # by full key
WITH_TARGET = {"algo.kl_coef": "algo.kl_target"}  # the first follows the second, where that is set


def settings_of(config: Common) -> Settings:
    """The settings of a run, by full key."""
    return dict(leaves(asdict(config)))


def own_key(settings: Settings, key: str) -> str:
    """The key that the setting ``key`` of an on-policy algorithm has in these settings: of rounds, the policy's."""
    group, _, name = key.partition(".")
    nested = f"{group}.policy.{name}"
    return nested if key not in settings and nested in settings else key


def advised(settings: Settings, *options: str, joint: str = ": ") -> str:
    """What can be tried of ``options``, in words; nothing if none of them can.

    An option is ``key=value``, or a verb and a key: ``raise``, ``lower``, ``set`` or ``another``. A key that the
    algorithm does not have, a value that is set, and a 0 that cannot be lowered are left out.
    """
    words = [text for option in options if (text := _words(settings, option)) is not None]
    if not words:
        return ""
    return joint + " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _words(settings: Settings, option: str) -> str | None:
    key, sign, value = option.partition("=")
    if sign:
        key = own_key(settings, key)
        return f"{key}={value}" if key in settings and not _same(settings[key], value) else None
    verb, _, key = option.partition(" ")
    target, key = own_key(settings, WITH_TARGET.get(key, "")), own_key(settings, key)
    if key not in settings or settings.get(target) is not None:
        return None
    now = settings[key]
    if (now is None) != (verb == "set") or (verb == "lower" and not now):
        return None
    return f"set {key}" if verb == "set" else f"{verb} {key} (now {_shown(now)})"


def _same(value: Any, word: str) -> bool:
    return value == float(word) if isinstance(value, int | float) else str(value) == word


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
