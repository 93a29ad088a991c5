"""Choices on the command line that do not fit the algorithm: of a stage by a wrong key, of another one's whole run."""

from collections.abc import Iterator, Mapping
from typing import Any

from rlnlp.config.choices import algorithm_of, choices_of, compose
from rlnlp.config.hints import did_you_mean, keys_of
from rlnlp.config.parse import nearest
from rlnlp.config.schema import RUNS
from rlnlp.config.setting import alternatives, choosing, leaves
from rlnlp.errors import command, one_line
from rlnlp.run.manifest import without_secrets

EXPERIMENT = "experiment"
OF_THE_USER = ("-cd", "--config-dir", "-cp", "--config-path")


def chosen_stages(schema: type, words: list[str]) -> dict[str, str]:
    """The names that ``words`` choose for groups that may be one of several schemas, by the full keys of these."""
    asked = dict(word.lstrip("+").partition("=")[::2] for word in words)
    found = {group: asked.get(choosing(group, "").rstrip("=")) for group in alternatives(schema)}
    return {group: name for group, name in found.items() if name is not None}


def wrong_choices(word: str, schema: Any, words: list[str]) -> Iterator[str]:
    """What is told of ``word`` among all ``words``, if it is a choice that does not fit; nothing else."""
    key, _, value = word.lstrip("+").partition("=")
    for group, kinds in alternatives(schema).items():
        yield from _of_stage(group, kinds, key, value, words)
    if key == EXPERIMENT:
        yield from _of_experiment(value, schema, words)


def _of_stage(group: str, kinds: Mapping[str, type], key: str, value: str, words: list[str]) -> Iterator[str]:
    """Told of a stage's algorithm that is chosen by another key, or that the stage cannot have."""
    right, names = choosing(group, "").rstrip("="), [name.strip() for name in value.split(",")]
    if key == right:
        own = any(word.partition("=")[0] in OF_THE_USER or "searchpath" in word for word in words)
        for name in [each for each in names if each not in kinds]:
            if not own or name in choices_of("algo"):
                near = nearest(name, list(kinds), f"{right}=")
                yield f"{group} must be one of {', '.join(kinds)}, got '{one_line(name, 60)}'{near}"
    wrong = (group, f"{group}.name", group.replace(".", "/"), group.rpartition(".")[2])
    if key in wrong and set(names) <= {*kinds} and f"{right}={value}" not in words:
        yield f"{key} does not choose the algorithm{did_you_mean([f'{right}={value}'])}"


def _of_experiment(name: str, schema: Any, words: list[str]) -> Iterator[str]:
    """Told of a whole run of another algorithm, if it sets what this one does not have."""
    if name not in choices_of(EXPERIMENT):
        return
    algo, known = algorithm_of(name), keys_of(schema)
    if algo is None or RUNS.get(algo) is schema:
        return
    own = [key for key, _ in leaves(compose(f"{EXPERIMENT}/{name}")) if key.partition(".")[0] != "hydra"]
    lost = [key for key in own if not any(f"{key}.".startswith(f"{one}.") for one in known)]
    if lost:
        others = [without_secrets(word) for word in words if not word.lstrip("+").startswith("algo=")]
        which = ", ".join(lost[:2]) + (f" and {len(lost) - 2} more" if len(lost) > 2 else "")
        yield (
            f"experiment={name} is a run of algo={algo} and sets what this algorithm does not have ({which});"
            f" type: {command('train', *others)}"
        )
