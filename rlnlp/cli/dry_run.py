"""``--dry-run``: what a run or a sweep would do, in words; it is composed and checked, and nothing is made."""

from pathlib import Path
from typing import Any

from rlnlp.cli.jobs import CheckedJob
from rlnlp.commands.default_terms import left_out
from rlnlp.commands.preflight import MOST, checked_config
from rlnlp.commands.train import check_device
from rlnlp.config.data import PreferenceData
from rlnlp.config.description import block, description, left_out_lines, thing
from rlnlp.data.sources import DataSource, data_sources, heldout_part, prompt_fault
from rlnlp.errors import Exit, counted, one_line

END = "nothing was run or made; without --dry-run it would begin now"


def print_run(settings: Any, directory: Path) -> int:
    """Check the settings of a run and print what it would do.

    Raises:
        Failure: all that is wrong.
    """
    config = checked_config(settings)
    check_device(config)
    texts = plan(config, directory)
    if left := left_out(settings, config):
        texts["reward"] += "".join(f"\n{line}" for line in left_out_lines(left))
    print(f"{block(texts)}\n\n{END}")
    return Exit.DONE


def print_sweep(jobs: list[CheckedJob] | None, directory: Path) -> int:
    """Print what the jobs of a sweep would do: the first whole, of each other what differs."""
    if jobs is None:
        print(f"directory   {one_line(str(directory))}\nthe sweeper chooses the jobs as it goes\n\n{END}")
        return Exit.DONE
    first: dict[str, str] = {}
    for job in jobs:
        texts = plan(job.config, job.directory)
        print(f"job {job.number}: {job.words}")
        print(block({label: text for label, text in texts.items() if first.get(label) != text}), end="\n\n")
        first = first or texts
    print(f"{counted(len(jobs), 'job')}; {END}")
    return Exit.DONE


def plan(config: Any, directory: Path) -> dict[str, str]:
    """What a run would do: a text for each label."""
    texts = description(config)
    label = thing(config)
    size = _sizes(config)
    return {**texts, label: f"{texts[label]}{size and f' ({size})'}", "directory": one_line(str(directory))}


def _sizes(config: Any) -> str:
    """How many prompts or texts there are to train on and to measure on; empty if not all of a file is read for it."""
    size = config.heldout.size
    if isinstance(config.data, PreferenceData):
        return _judged_sizes(config.data, size, config.seed)
    sources = data_sources(config.data, size)
    counts = [_count(source) for source in sources]
    if counts[0] is None:
        return ""
    distinct, total = counts[0]
    if len(sources) == 1:
        part = heldout_part(distinct, size)
        return (
            f"{total - part:,} to train on, {part:,} held out" if distinct == total else f"{total:,}, {part:,} held out"
        )
    held = "" if counts[1] is None else f", {min(counts[1][1], size or counts[1][1]):,} held out"
    return f"{total:,} to train on{held}"


def _judged_sizes(data: PreferenceData, size: int, seed: int) -> str:
    """The same for judged rows, before a model cuts any."""
    from rlnlp.data.preferences import read_judgements
    from rlnlp.data.units import parts_of

    named = {"data.preferences": data.preferences, **({"data.heldout": data.heldout} if data.heldout else {})}
    found = [read_judgements(key, name, data, data.values, data.group, 1) for key, name in named.items()]
    if len(found) > 1:
        return f"{counted(len(found[0].rows), 'row')} to train on, {len(found[1].rows):,} held out"
    parts = parts_of(found[0].units, size, seed, data.group is not None)
    held = f", {len(parts.heldout):,} held out" if parts.separate else ""
    return f"{counted(len(parts.train), 'row')} to train on{held}"


def _count(source: DataSource) -> tuple[int, int] | None:
    """How many distinct prompts (for texts: rows) there are, and how many rows; None if only a part was read."""
    records, total = source.read(MOST)
    if total is None or source.fault_of is not prompt_fault:
        return None if total is None else (total, total)
    return len({record["prompt"] for _, record in records}), total
