"""Which runs measure the same thing: the same figure of the same reward on the same held-out data."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlnlp.config.differing import shown, usual_of_term
from rlnlp.config.setting import leaves
from rlnlp.errors import one_line
from rlnlp.evaluate.outcome import IN_WORDS, Outcome
from rlnlp.evaluate.stored import StoredRun
from rlnlp.run.manifest import digest

DATA = "held-out data"
MOST_WORDS = 6
Facets = Mapping[str, str]  # what a figure is measured by, each in words


@dataclass(frozen=True)
class Measure:
    """What ``runs`` measure; ``apart`` tells it from what others measure, empty if all measure the same."""

    metric: str
    title: str
    runs: tuple[StoredRun, ...]
    apart: str


def measures(runs: Sequence[StoredRun]) -> list[Measure]:
    """The finished ``runs`` parted by what they measure, in the order in which they come."""
    sets = _heldout_sets(runs)
    facets = [{**_facets(run), DATA: each} for run, each in zip(runs, sets, strict=True)]
    parts: dict[tuple[tuple[str, str], ...], list[int]] = {}
    for i, each in enumerate(facets):
        parts.setdefault(tuple(sorted(each.items())), []).append(i)
    every = [facets[rows[0]] for rows in parts.values()]
    found = []
    for rows, own in zip(parts.values(), every, strict=True):
        members = tuple(runs[i] for i in rows)
        found.append(Measure(_outcome(members[0]).metric, _title(members), members, _apart(own, every, members[0])))
    return found


def _outcome(run: StoredRun) -> Outcome:
    assert run.outcome is not None, "of runs that are finished"
    return run.outcome


def _title(runs: Sequence[StoredRun]) -> str:
    """What the figures are of."""
    reached = _outcome(runs[0])
    counts = sorted({_outcome(run).n for run in runs})
    n = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    what = "held-out" if reached.heldout else "training"
    if reached.metric == "loss":
        return f"{what} loss, nats per token (texts a run: {n})"
    if reached.metric == "accuracy":
        return f"accuracy on {n} {what} pairs"
    of = "win rate against the first policy" if reached.metric == "win_rate" else "score of the responses"
    where = "held-out prompts" if reached.heldout else "prompts that were trained on"
    return f"{of} {'on' if reached.metric == 'win_rate' else 'to'} {n} {where}"


def _facets(run: StoredRun) -> dict[str, str]:
    """Metric, the reward that is summed, and for a loss the tokens that it is divided by; an accuracy has neither."""
    reached = _outcome(run)
    found = {"metric": reached.metric, "measured on": "held-out" if reached.heldout else "training data"}
    if reached.metric == "loss":
        return {**found, "tokenizer": _tokenizer(run), "loss": str(run.settings["algo"].get("loss_temperature"))}
    found |= {"judged by": run.result["judge"]} if reached.metric == "win_rate" else {}
    terms = run.settings.get("reward", {}).get("terms", {})
    counted = {name: term for name, term in terms.items() if term.get("weight") or term.get("floor") is not None}
    content = run.facts.get("code", {})
    code = {name: content.get(f"reward.terms.{name}.fn") for name in counted}
    models = {key for key in content if key.split(".")[-2:-1] == ["args"]}  # reward models: their weights, wherever
    named = {f"reward.terms.{key}": shown(value) for key, value in leaves(counted) if key and not _usual(key, value)}
    found |= {key: str(content[key])[:12] if key in models else value for key, value in named.items()}
    return found | {f"the code of reward.terms.{name}.fn": str(sha)[:12] for name, sha in code.items() if sha}


def _usual(key: str, value: Any) -> bool:
    """True for what a reward term leaves as it is."""
    last = key.partition(".")[2]
    return last in usual_of_term() and usual_of_term()[last] == value


def _tokenizer(run: StoredRun) -> str:
    """The content of the tokenizer, where the run has one, else its name."""
    file = run.directory / "policy" / "tokenizer.json"
    model = run.settings["model"]
    return digest(file)[:12] if file.is_file() else str(model.get("tokenizer") or model.get("path"))


def _heldout_sets(runs: Sequence[StoredRun]) -> list[str]:
    """A name of the held-out data of each run: their content; where the seed draws them, the settings that it obeys."""
    content, asked = [_content(run) for run in runs], [_asked(run) for run in runs]
    by_seed: dict[str, dict[Any, set[str]]] = {}
    for run, data, settings in zip(runs, content, asked, strict=True):
        by_seed.setdefault(settings, {}).setdefault(run.settings.get("seed"), set()).add(data)
    drawn = {
        settings
        for settings, seeds in by_seed.items()
        if all(len(each) == 1 for each in seeds.values()) and len(set.union(*seeds.values())) > 1
    }
    return [own if own in drawn or not data else data for own, data in zip(asked, content, strict=True)]


def _asked(run: StoredRun) -> str:
    """The settings that choose what is measured on."""
    settings = {"data": run.settings.get("data"), "size": run.settings.get("heldout", {}).get("size")}
    text = json.dumps([settings, run.result.get("measured_on")], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _content(run: StoredRun) -> str:
    """The prompts, the texts or the judged answers that a run measured on; nothing if the file is gone."""
    try:
        lines = (run.directory / "heldout.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        names = ("completion", "responses", "pairs")
        texts = sorted(json.dumps([row["prompt"], *(row.get(name) for name in names)]) for row in rows)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:12]


def _apart(own: Facets, every: Sequence[Facets], run: StoredRun) -> str:
    """What of ``own`` the others do not share, in words; of another metric only that it is another."""
    alike = [each for each in every if each["metric"] == own["metric"]]
    words = [IN_WORDS[own["metric"]]] if len(alike) < len(every) else []
    for key in dict.fromkeys(key for each in alike for key in each):
        if len({each.get(key) for each in alike}) > 1:
            value = _data_words(run) if key == DATA else own.get(key)
            words.append(f"no {key}" if value is None else f"{key} {value}")
    more = f" and {len(words) - MOST_WORDS} more" if len(words) > MOST_WORDS else ""
    return one_line(", ".join(words[:MOST_WORDS]), 400) + more


def _data_words(run: StoredRun) -> str:
    data = run.settings.get("data", {})
    source = next((data[key] for key in ("heldout", "prompts", "texts", "preferences") if data.get(key)), "")
    return f"{shown(source)}, {_outcome(run).n:,}"
