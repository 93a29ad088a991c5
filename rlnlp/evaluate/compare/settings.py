"""What differs in the settings of runs, which runs are equal but for their seed, and how settings are named."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rlnlp.config.choices import plain_value
from rlnlp.config.differing import shown, usual_of_term, usual_settings
from rlnlp.config.hints import keys_of, meant
from rlnlp.config.schema import RUNS
from rlnlp.config.setting import leaves
from rlnlp.errors import Exit, Failure, one_line
from rlnlp.evaluate.stored import StoredRun

SEED, ALGO = "seed", "algo.name"
WITHOUT_EFFECT = (  # on what a run learns or reaches, but for the last bits
    "checkpoint.every", "checkpoint.keep", "checkpoint.keep_models", "samples.every", "samples.show",
    "model.allow_download", "model.save_dtype", "reward.workers", "device.threads", "algo.micro_batch_size",
    "algo.micro_batch_tokens",
)  # fmt: skip
ABSENT = ""  # for the value of a setting that a run does not have
MEASURING = "heldout.every"  # without effect too, where no measurement chooses a step
Settings = dict[str, Any]  # by full key


def flat(run: StoredRun) -> Settings:
    """The settings of a run by full key, but for what a reward term leaves as it is."""
    usual = usual_of_term()
    found = {}
    for key, value in leaves(run.settings):
        *group, _, last = ["", "", *key.split(".")]
        if group[2:] != ["reward", "terms"] or last not in usual or usual[last] != value:
            found[key] = value
    return found


def group_key(run: StoredRun) -> tuple[tuple[str, str], ...]:
    """The same for runs of equal settings: all but the seed and what has no effect."""
    left_out = {SEED, *without_effect(run)}
    return tuple((key, _form(value)) for key, value in sorted(flat(run).items()) if key not in left_out)


def without_effect(run: StoredRun) -> tuple[str, ...]:
    """The settings that have no effect on what this run learns or reaches."""
    found = run.settings
    chooses = found.get("checkpoint", {}).get("result") == "best" or found.get("heldout", {}).get("patience")
    return WITHOUT_EFFECT if chooses else (*WITHOUT_EFFECT, MEASURING)


def _form(value: Any) -> str:
    """The same for values that mean the same: 1 and 1.0."""
    return repr(float(value)) if isinstance(value, int) and not isinstance(value, bool) else repr(value)


def differing(runs: Sequence[StoredRun]) -> list[str]:
    """The settings that differ, the algorithm first and the seed last.

    What every run of an algorithm has as that algorithm's default is the algorithm's own affair, and left out.
    """
    own = [{key: _form(value) for key, value in flat(run).items() if key not in without_effect(run)} for run in runs]
    values: dict[str, dict[str, set[str]]] = {key: {} for each in own for key in each}  # by key and algorithm
    for run, each in zip(runs, own, strict=True):
        for key, of_key in values.items():
            of_key.setdefault(run.algo, set()).add(each.get(key, ABSENT))
    algos = {run.algo for run in runs}
    usual = {algo: dict(leaves(usual_settings(algo))) for algo in algos} if len(algos) > 1 else {}
    found = [key for key, of_key in values.items() if _differs(key, of_key, usual)]
    first = [ALGO] if len(algos) > 1 else []
    return [*first, *(key for key in found if key not in (ALGO, SEED)), *([SEED] if SEED in found else [])]


def _differs(key: str, values: Mapping[str, set[str]], usual: Mapping[str, Mapping[str, Any]]) -> bool:
    """True if runs of one algorithm differ, or those of two where it is not both algorithms' default."""
    if any(len(each) > 1 for each in values.values()):
        return True
    own = {algo: next(iter(each)) for algo, each in values.items()}
    asked = [algo for algo in usual if own[algo] != (_form(usual[algo][key]) if key in usual[algo] else ABSENT)]
    return bool(asked) and len(set(own.values())) > 1


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
    known = {one.key for run in runs for one in meant(word, keys_of(RUNS[run.algo]))} & set(keys)
    if len(known) == 1:
        return known.pop()
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
