"""What differs in the settings of runs, which runs are equal but for their seed, and how settings are named."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rlnlp.config.choices import plain_value
from rlnlp.config.differing import shown, usual_settings
from rlnlp.config.setting import leaves
from rlnlp.errors import Exit, Failure, one_line
from rlnlp.evaluate.stored import StoredRun

SEED, ALGO = "seed", "algo.name"
WITHOUT_EFFECT = (  # on what a run learns or reaches, but for the last bits
    "checkpoint.every", "checkpoint.keep", "checkpoint.keep_models", "samples.every", "samples.show",
    "model.allow_download", "model.save_dtype", "reward.workers", "device.threads", "algo.micro_batch_size",
)  # fmt: skip
MEASURING = "heldout.every"  # without effect too, where no measurement chooses a step
Settings = dict[str, Any]  # by full key


def flat(run: StoredRun) -> Settings:
    """The settings of a run by full key."""
    return dict(leaves(run.settings))


def group_key(run: StoredRun) -> tuple[tuple[str, str], ...]:
    """The same for runs of equal settings: all but the seed and what has no effect."""
    found = flat(run)
    chooses = found.get("checkpoint.result") == "best" or found.get("heldout.patience")
    left_out = {SEED, *WITHOUT_EFFECT, *(() if chooses else (MEASURING,))}
    return tuple((key, _form(value)) for key, value in sorted(found.items()) if key not in left_out)


def _form(value: Any) -> str:
    """The same for values that mean the same: 1 and 1.0."""
    return repr(float(value)) if isinstance(value, int) and not isinstance(value, bool) else repr(value)


def differing(runs: Sequence[StoredRun]) -> list[str]:
    """The settings that differ, the algorithm first and the seed last.

    What every run of an algorithm has as that algorithm's default is the algorithm's own affair, and left out.
    """
    found = [flat(run) for run in runs]
    usual = (
        {run.algo: dict(leaves(usual_settings(run.algo))) for run in runs} if len({r.algo for r in runs}) > 1 else {}
    )
    keys = [key for key in dict.fromkeys(key for each in found for key in each) if key not in WITHOUT_EFFECT]
    shown_keys = []
    for key in keys:
        values: dict[str, set[str]] = {}
        for run, each in zip(runs, found, strict=True):
            values.setdefault(run.algo, set()).add(_form(each[key]) if key in each else "")
        within = any(len(of_one) > 1 for of_one in values.values())
        asked = any(
            _form(usual[algo].get(key)) not in of_one for algo, of_one in values.items() if of_one != {""} and usual
        )
        if within or (asked and len(set().union(*values.values())) > 1):
            shown_keys.append(key)
    if len({run.algo for run in runs}) > 1:
        shown_keys = [ALGO, *(key for key in shown_keys if key != ALGO)]
    return [*(key for key in shown_keys if key != SEED), *(key for key in shown_keys if key == SEED)]


def values_of(runs: Sequence[StoredRun], keys: Iterable[str]) -> dict[str, list[Any]]:
    """The values of each key in the order in which they come, each once; those of runs that have the key."""
    found: dict[str, list[Any]] = {}
    for key in keys:
        values = [each[key] for each in map(flat, runs) if key in each]
        found[key] = [value for i, value in enumerate(values) if repr(value) not in map(repr, values[:i])]
    return found


def short_names(keys: Sequence[str]) -> list[str]:
    """The keys without their groups, where no two are then alike; ``algo`` for the algorithm's name."""
    ends = ["algo" if key == ALGO else key.rpartition(".")[2] for key in keys]
    return [end if ends.count(end) == 1 else key for key, end in zip(keys, ends, strict=True)]


def in_cell(settings: Mapping[str, Any], key: str) -> str:
    """The value of a setting as it is typed; nothing where the algorithm has no such setting."""
    return one_line(shown(settings[key]), 60) if key in settings else ""


def full_key(word: str, runs: Sequence[StoredRun]) -> str:
    """The full key that ``word`` stands for: itself, or the end of exactly one key of the runs.

    Raises:
        Failure: exit 2, if there is none, or more than one.
    """
    keys = list(dict.fromkeys(key for run in runs for key in flat(run)))
    if word == "algo":
        return ALGO
    if word in keys:
        return word
    found = [key for key in keys if f".{key}".endswith(f".{word}")]
    differ = [key for key in differing(runs) if key in found]
    if len(differ) == 1 or len(found) == 1:
        return (differ or found)[0]
    if not found:
        near = ", ".join(short_names(differing(runs))) or "nothing"
        raise Failure(Exit.CONFIG, f"no setting '{one_line(word, 60)}' of these runs; what differs: {near}")
    raise Failure(Exit.CONFIG, f"'{one_line(word, 60)}' may be {' or '.join(found[:4])}: type the full key")


def chosen(runs: Sequence[StoredRun], conditions: Sequence[str]) -> list[StoredRun]:
    """The runs that fulfil all ``conditions``: ``key=value``, or ``key=value,value`` for one of several.

    Raises:
        Failure: exit 2, for what is no condition, or one that no run fulfils.
    """
    left = list(runs)
    for condition in conditions:
        word, equals, value = condition.partition("=")
        if not equals or not word:
            raise Failure(Exit.CONFIG, f"--where '{one_line(condition, 60)}': want key=value")
        key = full_key(word, runs)
        wanted = [plain_value(value), *(map(plain_value, value.split(",")) if "," in value else ())]
        kept = [run for run in left if key in flat(run) and any(_same(flat(run)[key], each) for each in wanted)]
        if not kept:
            there = ", ".join(one_line(shown(each), 40) for each in values_of(left, [key])[key]) or "not set"
            raise Failure(Exit.CONFIG, f"no run has {one_line(condition, 60)}; {key} is {there}")
        left = kept
    return left


def _same(value: Any, wanted: Any) -> bool:
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    return bool(value == wanted) or str(value) == str(wanted)
