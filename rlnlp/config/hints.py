"""What a word that is no setting was meant to be: by a part of it, a common name, a name in TRL or verl, nearness."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from difflib import get_close_matches
from typing import Any, Literal, get_args, get_origin

from rlnlp.config.migrate import STEPS
from rlnlp.config.reward import REWARDS
from rlnlp.config.schema import RUNS
from rlnlp.config.setting import NAME, declared, leaves, of_others
from rlnlp.errors import shell_word

COMMON = {  # names that people type from habit, in lower case: the setting that is meant
    "batch": "algo.batch_size", "bs": "algo.batch_size", "clip": "algo.cliprange", "clip_range": "algo.cliprange",
    "clip_ratio": "algo.cliprange", "discount": "algo.gamma", "ent_coef": "algo.entropy_coef",
    "entropy": "algo.entropy_coef", "entropy_bonus": "algo.entropy_coef", "epochs": "algo.ppo_epochs",
    "gae_lambda": "algo.lam", "group_size": "algo.num_generations", "kl": "algo.kl_coef", "lambda": "algo.lam",
    "lr": "algo.learning_rate", "max_length": "sampler.max_new_tokens", "max_tokens": "sampler.max_new_tokens",
    "minibatch_size": "algo.mini_batch_size", "microbatch_size": "algo.micro_batch_size", "model_name": "model.path",
    "n": "algo.num_generations", "num_steps": "algo.total_steps", "precision": "device.dtype",
    "prompt_file": "data.prompts", "scheduler": "algo.lr_schedule", "steps": "algo.total_steps",
    "temp": "sampler.temperature", "value_coef": "algo.vf_coef", "warmup": "algo.warmup_steps",
    "wd": "algo.weight_decay",
}  # fmt: skip
COUNTED_OTHERWISE = ("max_epochs", "num_train_epochs", "total_epochs", "total_timesteps")  # lengths, but not in steps
ALGORITHM = re.compile(r"algo\.(\w+\.)?name")  # the key of an algorithm's name, which chooses nothing
PREFIXES = "-+~"  # before a key: of a flag, and of Hydra's ways to add and to delete
MOST = 4  # settings told of one unknown group


@dataclass(frozen=True)
class Unknown:
    """A setting that the schema does not have: its full key, its value, and the full keys of those beside it."""

    key: str
    value: Any
    beside: tuple[str, ...]


@dataclass(frozen=True)
class Meant:
    """A setting that may have been meant; ``alike`` if a value means the same there; ``whose`` name was used."""

    key: str
    alike: bool = True
    whose: str = ""


def unknown_lines(
    unknown: Unknown, schema: type, prefix: str = "", chosen: Mapping[str, str] | None = None
) -> Iterator[str]:
    """What is told of an unknown setting, or of each setting of an unknown group; ``chosen`` as ``of_others`` says."""
    found = list(leaves(unknown.value, unknown.key))
    if not 1 <= len(found) <= MOST:
        found = [(unknown.key, MISSING)]
    for key, value in found:
        beside = unknown.beside if key == unknown.key else ()
        hint = _hint(key, value, beside, _known(schema, chosen or {}, prefix))
        group, rest = unknown.key.rpartition(".")[0], ", ".join(each.rpartition(".")[2] for each in unknown.beside)
        there = f"the settings of {group}" if group else "the groups"
        yield f"no setting '{key}'{hint or f'; {there} are: {rest}'}"


def hint_for(text: str, value: Any, schema: type, chosen: Mapping[str, str] | None = None) -> str:
    """``; did you mean 'key=value'?`` for a word that is no setting; nothing if it is near to none."""
    above, known = text[: text.rfind(".") + 1], _known(schema, chosen or {})
    beside = {above + key.removeprefix(above).partition(".")[0]: None for key in known.keys if key.startswith(above)}
    return _hint(text, value, beside, known)


def resembles(text: str, schema: type) -> bool:
    """True if ``text`` surely means a setting of ``schema`` or of an algorithm, or differs from one by a slip."""
    keys = _keys(schema, "")
    parts = {part for key in keys for part in (key, key.partition(".")[0], key.rpartition(".")[2])}
    slip = get_close_matches(text, parts, 1, 0.8)
    return bool(slip) or any(meant(text, _keys(each, "")) for each in (schema, *RUNS.values()))


def of_new_name(kind: type, key: str, node: Mapping[str, Any], names: Iterable[str]) -> str:
    """What may have been meant by settings below ``key``, a name that only the user gives and that lacks others.

    ``names`` are those beside it that lack nothing.
    """
    group, _, name = key.rpartition(".")
    near = get_close_matches(name, names, 1, 0.6)
    if near:
        return did_you_mean([word(below, value) for below, value in leaves(node, f"{group}.{near[0]}")][:MOST])
    if name in REWARDS and "fn" in {f.name for f in fields(kind)}:
        return did_you_mean([word(f"{key}.fn", name)])
    return f"; {group} has: {', '.join(names)}"


def did_you_mean(words: list[str]) -> str:
    """``; did you mean 'a' or 'b'?``, each word as a shell reads it; nothing without words."""
    return f"; did you mean {' or '.join(map(in_quotes, words))}?" if words else ""


def in_quotes(text: str) -> str:
    """``text`` as one word for a shell, always in quotes, so that its ends are seen."""
    if "'" in text and text.isprintable() and not set(text) & set('"$`\\!'):
        return f'"{text}"'
    shown = shell_word(text)
    return f"'{text}'" if shown == text else shown


def word(key: str, value: Any) -> str:
    """``key=value`` as it is typed; dots for a value that is MISSING or has no short form."""
    shown = None if value is MISSING else scalar(value)
    return f"{key.replace(NAME, 'NAME')}={'...' if shown is None else shown}"


def scalar(value: Any) -> str | None:
    """A short value without parts as it is typed, None for any other."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    shown = f"{value:.12g}" if isinstance(value, float) else str(value)
    return shown if isinstance(value, int | float | str) and len(shown) <= 60 else None


def meant(text: str, keys: Mapping[str, "Field[Any]"]) -> list[Meant]:
    """The settings of ``keys`` that ``text`` stands for, surely; several if it does not say which."""
    text = text.lstrip(PREFIXES).replace("-", "_").lower()
    last = text.rpartition(".")[2]
    return (
        _ending_in(text, keys, named=False)
        or _common(text, keys)
        or _elsewhere(text, keys)
        or _beside(text, _ending_in(last, keys, named=False))
        or _beside(text, _common(last, keys))
        or _ending_in(text, keys, named=True)
    )


def keys_of(schema: type) -> dict[str, "Field[Any]"]:
    """Every setting of ``schema`` that can be advised, by its full key: not the name of the algorithm."""
    return dict(_keys(schema, ""))


def _keys(schema: type, prefix: str) -> Mapping[str, "Field[Any]"]:
    return {key: f for key, _, f in declared(schema, prefix) if not ALGORITHM.fullmatch(key)}


@dataclass(frozen=True)
class _Known:
    """The settings that there are; and those of other choices of the same schema, with the words that choose them.

    ``others`` are the schemas by algorithm where a setting may be that is in neither.
    """

    keys: Mapping[str, "Field[Any]"]
    elsewhere: Mapping[str, "Field[Any]"]
    words: Mapping[str, str]
    others: Mapping[str, type]


def _known(schema: type, chosen: Mapping[str, str], prefix: str = "") -> _Known:
    keys, words = _keys(schema, prefix), of_others(schema, chosen, prefix)
    own, elsewhere = ({key: f for key, f in keys.items() if (key in words) == other} for other in (False, True))
    return _Known(own, elsewhere, words, {} if prefix else RUNS)


def _hint(key: str, value: Any, beside: Iterable[str], known: _Known) -> str:
    """What was meant."""
    keys = known.keys
    if found := meant(key, keys):
        return _told(found, value, keys)
    for other in meant(key, known.elsewhere)[:1]:
        return _of_choices(key, other.key, [known.words[other.key]])
    if there := {algo: found[0].key for algo, each in known.others.items() if (found := meant(key, _keys(each, "")))}:
        first = next(iter(there.values()))
        return _of_choices(key, first, [f"algo={algo}" for algo in there if there[algo] == first])
    last = key.rpartition(".")[2]
    names = {each.rpartition(".")[2]: each for each in beside}
    near = [names[name] for name in get_close_matches(last, names, 1, 0.6)]
    near = near or _near_whole(key, keys) or _near_last(last, keys)
    return did_you_mean([word(one, value) for one in near])


def _of_choices(typed: str, key: str, words: list[str]) -> str:
    """Where the setting ``key`` is, which ``typed`` means."""
    return f"; {'it' if key == typed else repr(key)} is a setting of {' or '.join(words)}"


def _told(found: list[Meant], value: Any, keys: Mapping[str, "Field[Any]"]) -> str:
    """The words to type; for another library's name also what the setting means here."""
    fits = [one.alike and NAME not in one.key and _takes(keys[one.key], value) for one in found]
    words = [word(one.key, value if fit else MISSING) for one, fit in zip(found, fits, strict=True)]
    if not found[0].whose:
        return did_you_mean(words)
    first = keys[found[0].key].metadata
    unit = f" [{first['unit']}]" if first["unit"] else ""
    return f"{did_you_mean(words)} ({found[0].whose}'s name; here: {first['help']}{unit})"


def _takes(f: "Field[Any]", value: Any) -> bool:
    """False for a value that is none of the setting's choices."""
    return get_origin(f.type) is not Literal or value in get_args(f.type)


def _ending_in(text: str, keys: Iterable[str], named: bool) -> list[Meant]:
    """The keys that are ``text`` or end in it, those of least depth; ``named``: below names of the user's too."""
    ends = [key for key in keys if f".{key.lower()}".endswith(f".{text}") and (named or NAME not in key or key == text)]
    least = min((key.count(".") for key in ends), default=0)
    return [Meant(key) for key in ends if key.count(".") == least]


def _beside(text: str, found: list[Meant]) -> list[Meant]:
    """Of ``found`` those in the group that ``text`` names, if there are any; else all."""
    group = text[: text.rfind(".") + 1]
    return [one for one in found if group and one.key.startswith(group)] or found


def _common(text: str, keys: Mapping[str, "Field[Any]"]) -> list[Meant]:
    """By a common name, or by one that an earlier version had."""
    renamed = {old: new for step in STEPS for old, new in step.renamed.items()}
    if text in COUNTED_OTHERWISE:
        return [Meant(key, alike=False) for key in _in_group("algo.total_steps", keys)]
    if text in renamed:
        return _ending_in(renamed[text], keys, named=False)
    return [Meant(key) for key in _in_group(COMMON[text], keys)] if text in COMMON else []


def _in_group(key: str, keys: Iterable[str]) -> list[str]:
    """``key``; or where its group has groups instead, as of several stages, the settings of that name in them."""
    group, _, last = key.rpartition(".")
    nested = [each for each in keys if each.startswith(f"{group}.") and each.endswith(f".{last}") and NAME not in each]
    return [key] if key in nested else nested


def _elsewhere(text: str, keys: Mapping[str, "Field[Any]"]) -> list[Meant]:
    """By a name in TRL or verl, of which the last parts are enough; only the first name's value means the same."""
    for library, name in (("TRL", "trl"), ("verl", "verl")):
        found = []
        for key, f in keys.items():
            names = f.metadata.get(name, "").lower().split(", ")
            same = [i for i, each in enumerate(names) if text and f".{each}".endswith(f".{text}")]
            if same:
                found.append(Meant(key, alike=same[0] == 0, whose=library))
        if found:
            return found
    return []


def _near_whole(key: str, keys: Iterable[str]) -> list[str]:
    """The nearest setting, if not only the groups are alike."""
    last = key.rpartition(".")[2]
    near = get_close_matches(key, keys, 3, 0.75)
    return [one for one in near if get_close_matches(last, [one.rpartition(".")[2]], 1, 0.6)][:1]


def _near_last(last: str, keys: Iterable[str]) -> list[str]:
    """The settings whose last part is nearest to ``last``."""
    near = get_close_matches(last, sorted({each.rpartition(".")[2] for each in keys if NAME not in each}), 1, 0.75)
    return [one.key for one in _ending_in(near[0], keys, named=False)] if near else []
