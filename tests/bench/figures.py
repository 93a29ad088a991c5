"""The figures of README and guide, from runs of this tree: ``python -m tests.bench.figures [--runs DIR] [--write]``.

Runs what is not complete in DIR, prints how the documents differ from what the runs say, and with ``--write`` puts the
figures into them. About twenty minutes on two idle cores; ``rlnlp train experiment=embedded-model`` and the ratios to
TRL (``ppo.py``, ``reinforce.py``) are not among them. ``--only PART`` makes the runs with PART in their names;
figures of runs that are not there stay as they are.
"""

import argparse
import difflib
import errno
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
SEEDS = (0, 1, 2)
BARS = "▁▂▃▄▅▆▇█"
COLUMNS = 30
EXPLORATION = [(t, e) for t in ("0.7", "1.0", "1.3") for e in ("0.0", "0.01", "0.03")]


def commands() -> dict[str, list[str]]:
    """The name of each run, which is its directory, and the words that make it; later ones read earlier ones."""
    runs = {f"default-{seed}": ["train", f"seed={seed}"] for seed in SEEDS}
    runs["default-reinforce"] = ["train", "algo=reinforce"]
    for algo in ("ppo", "reinforce"):
        runs |= {
            f"sentiment-{algo}-{seed}": ["train", "experiment=sentiment", f"algo={algo}", f"seed={seed}"]
            for seed in SEEDS
        }
    runs["polite"] = ["train", "experiment=polite"]
    runs["randomwalks"] = ["train", "experiment=randomwalks"]
    runs["randomwalks-ppo"] = ["train", "experiment=randomwalks", "algo=ppo"]
    runs["randomwalks-sft"] = ["train", "experiment=randomwalks-sft"]
    compared = ["train", "experiment=supervised-or-rl"]
    runs["rl"] = compared
    runs["draws"] = [*compared, "algo.learning_rate=0", "samples.every=1", "samples.show=0"]
    runs["imitation"] = [
        "sft", "data.texts=draws/samples.jsonl", "data.best_fraction=0.25", "algo.total_steps=60",
        "algo.batch_size=16", "algo.learning_rate=6e-4",
    ]  # fmt: skip
    runs["imitator"] = [*compared, "model.path=imitation", "algo.total_steps=1", "algo.learning_rate=0"]
    for temperature, bonus in EXPLORATION:
        words = [f"sampler.temperature={temperature}", f"algo.entropy_coef={bonus}"]
        runs[f"exploration-{temperature}-{bonus}"] = ["train", "experiment=exploration", *words]
    return runs


class Runs:
    """Finished runs in a folder, made where they are missing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make(self, part: str) -> None:
        """Run what is not complete, of the runs with ``part`` in their names."""
        env = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
        for name, words in commands().items():
            record = self.folder / name / "run.json"
            if part not in name or (record.exists() and json.loads(record.read_text())["status"] == "done"):
                continue
            begun = ["resume", name] if record.exists() else [*words, f"hydra.run.dir={name}"]
            command = [sys.executable, "-m", "rlnlp", *begun]
            done = subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{name}: {done.stderr}")
            (self.folder / name / "report").write_text(done.stdout)
            print(f"{name}: {self.facts(name)['seconds']:.0f} s", file=sys.stderr, flush=True)

    def facts(self, name: str) -> dict[str, Any]:
        """``run.json`` of a run that is done."""
        path = self.folder / name / "run.json"
        found: dict[str, Any] = json.loads(path.read_text())
        if found["status"] != "done":
            raise FileNotFoundError(errno.ENOENT, "the run is not done", str(path))
        return found

    def report(self, name: str) -> list[str]:
        """What the run printed at its end."""
        return [line.rstrip() for line in (self.folder / name / "report").read_text().split("\n")]

    def metric(self, name: str, key: str) -> list[float]:
        """A metric over the steps."""
        rows = map(json.loads, (self.folder / name / "metrics.jsonl").read_text().splitlines())
        return [row[key] for row in rows if key in row]

    def value(self, name: str, when: str, term: str = "score") -> float:
        """A held-out figure ``before`` or ``after`` training: the score, the loss, the KL or a term."""
        side = self.facts(name)["result"][when]
        found: float = side[term] if term in side else side["terms"][term]
        return found


def short(value: float, digits: int = 2, sign: str = "") -> str:
    """A figure without the zero before its point."""
    return f"{value:{sign}.{digits}f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:{sign}.{digits}f}"


def each(values: list[float], digits: int = 2) -> str:
    """Figures of several seeds."""
    return " ".join(short(value, digits) for value in values)


def readme_report(runs: Runs) -> str:
    """The table of the default run and its first sample."""
    lines = runs.report("default-0")
    start = next(i for i, line in enumerate(lines) if line.startswith("held-out prompts:"))
    end = next(i for i, line in enumerate(lines) if line.startswith("KL "))
    sample = next(i for i, line in enumerate(lines) if line.startswith("prompt"))
    return "\n".join([*lines[start : end + 1], *lines[sample : sample + 3]])


def readme_curves(runs: Runs) -> str:
    """Score, sentiment and KL of the default run as lines of block characters."""
    names = {"score": "score", "sentiment": "score/sentiment", "KL, nats": "kl"}
    lines = []
    for label, key in names.items():
        values = runs.metric("default-0", key)
        size = len(values) / COLUMNS
        parts = [values[round(i * size) : max(round((i + 1) * size), round(i * size) + 1)] for i in range(COLUMNS)]
        means = [sum(part) / len(part) for part in parts]
        low, high = min(means), max(means)
        bars = "".join(BARS[round((mean - low) / (high - low) * (len(BARS) - 1))] for mean in means)
        lines.append(f"{label:<20}{means[0]:.2f} {bars} {means[-1]:.2f}")
    return "\n".join(lines)


def readme_run(runs: Runs) -> str:
    """What the default run is."""
    facts = runs.facts("default-0")
    each_step = facts["episodes"] // facts["steps"]
    return f"(PPO, {facts['steps']} steps of {each_step} responses, seed 0):"


def quickstart(runs: Runs) -> str:
    """The line of the table of experiments."""
    before, after, kl = (runs.value("default-0", *what) for what in (("before",), ("after",), ("after", "kl")))
    others = [runs.facts(f"default-{seed}")["result"]["difference"]["score"]["mean"] for seed in (1, 2)]
    gains = " and ".join(short(gain, 3, "+") for gain in others)
    score, spent = runs.value("default-reinforce", "after"), runs.value("default-reinforce", "after", "kl")
    ppo = f"default reward {short(before, 3)} -> {short(after, 3)}, KL {kl:.1f} nats (PPO; {gains} on seeds 1 and 2)"
    reinforce = f"{short(score, 3)} and {spent:.1f} with `algo=reinforce`"
    return f"| `quickstart` | what `rlnlp train` does without settings | {ppo}; {reinforce} |"


def polite(runs: Runs) -> str:
    """The line of the table of experiments."""

    def both(term: str) -> str:
        return f"{short(runs.value('polite', 'before', term))} -> {short(runs.value('polite', 'after', term))}"

    kl = f"KL {runs.value('polite', 'after', 'kl'):.1f} nats"
    figures = f"politeness {both('politeness')}, gold {both('gold')}, accepted {both('accepted')}, {kl}"
    return f"| `polite` | politer replies to customers | {figures} |"


def randomwalks(runs: Runs) -> str:
    """The line of the table of experiments."""
    before, after = (short(runs.value("randomwalks", when)) for when in ("before", "after"))
    ppo = short(runs.value("randomwalks-ppo", "after"))
    figures = f"optimality {before} -> {after}, {ppo} with `algo=ppo` (its 20 starts are trained on)"
    return f"| `randomwalks` | shortest paths on a graph, from a model of random walks | {figures} |"


def randomwalks_sft(runs: Runs) -> str:
    """The line of the table of experiments."""
    before, after = (f"{runs.value('randomwalks-sft', when, 'loss'):.2f}" for when in ("before", "after"))
    return f"| `randomwalks-sft` | that model, from random weights | loss {before} -> {after} nats per letter |"


def sentiment(runs: Runs, algo: str, title: str) -> str:
    """A line of the table of the experiment ``sentiment``."""
    names = [f"sentiment-{algo}-{seed}" for seed in SEEDS]
    columns = (("before", "gold", 2), ("after", "gold", 2), ("after", "accepted", 2), ("after", "kl", 1))
    figures = [each([runs.value(name, when, term) for name in names], digits) for when, term, digits in columns]
    seconds = sorted(round(runs.facts(name)["seconds"]) for name in names)
    return f"| {title} | {' | '.join(figures)} | {seconds[0]} to {seconds[-1]} s |"


def supervised_or_rl(runs: Runs) -> str:
    """The sentences on the experiment."""
    start = short(runs.value("rl", "before", "sentiment"))
    terms = ("sentiment", "gold", "accepted")
    rl = {term: short(runs.value("rl", "after", term)) for term in terms}
    sft = {term: short(runs.value("imitator", "before", term)) for term in terms}
    kl = runs.value("rl", "after", "kl")
    return (
        f"Sentiment rises from {start} to {rl['sentiment']} by REINFORCE and to {sft['sentiment']} by imitation. "
        f"Gold is {rl['gold']} and {sft['gold']}, accepted {rl['accepted']} and {sft['accepted']}.\n"
        f"REINFORCE is then at {kl:.1f} nats of KL."
    )


def exploration(runs: Runs) -> str:
    """The table of the sweep."""
    lines = []
    for temperature in dict.fromkeys(t for t, _ in EXPLORATION):
        names = [f"exploration-{t}-{e}" for t, e in EXPLORATION if t == temperature]
        cells = [f"{short(runs.value(n, 'after', 'sentiment'), 3)} ({runs.value(n, 'after', 'kl'):.1f})" for n in names]
        lines.append(f"| {temperature} | {' | '.join(cells)} |")
    return "\n".join(lines)


NUMBER = r"[-+]?\d*\.?\d+"
README, EXPERIMENTS = Path("README.md"), Path("rlnlp/guide/experiments.md")
PLACES: list[tuple[Path, str, Callable[[Runs], str]]] = [  # document, what stands there now, what the runs say
    (README, r"\(PPO, \d+ steps of \d+ responses,\s+seed 0\):", readme_run),
    (README, r"held-out prompts: \d+\n(?:.+\n)*?after .+(?=\n```)", readme_report),
    (README, r"score {10,}\S+ [▁-█]+ .+\n.+\n.+(?=\n```)", readme_curves),
    (EXPERIMENTS, r"\| `quickstart` \|.+", quickstart),
    (EXPERIMENTS, r"\| `polite` \|.+", polite),
    (EXPERIMENTS, r"\| `randomwalks` \|.+", randomwalks),
    (EXPERIMENTS, r"\| `randomwalks-sft` \|.+", randomwalks_sft),
    (EXPERIMENTS, r"\| PPO \|.+", lambda runs: sentiment(runs, "ppo", "PPO")),
    (EXPERIMENTS, r"\| `algo=reinforce` \|.+", lambda runs: sentiment(runs, "reinforce", "`algo=reinforce`")),
    (EXPERIMENTS, r"Sentiment rises from (?:.|\n)+? nats of KL\.", supervised_or_rl),
    (EXPERIMENTS, rf"(?:\| {NUMBER} \| (?:{NUMBER} \({NUMBER}\) \|? ?){{3}}\n?){{3}}(?<!\n)", exploration),
]  # fmt: skip


def renewed(runs: Runs) -> dict[Path, tuple[str, str]]:
    """Each document as it is and as the runs would have it."""
    texts = {path: (ROOT / path).read_text() for path, _, _ in PLACES}
    old = dict(texts)
    for path, pattern, said in PLACES:
        try:
            new = said(runs)
        except FileNotFoundError as error:
            print(f"{path}: {pattern} stays: there is no {error.filename}", file=sys.stderr)
            continue
        text, count = re.subn(pattern, lambda _, new=new: new, texts[path])
        if count != 1:
            raise SystemExit(f"{path}: {count} places match {pattern}")
        texts[path] = text
    return {path: (old[path], texts[path]) for path in texts}


def main() -> None:
    """Run, compare, write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--runs", type=Path, help="a folder for the runs, kept; complete ones in it are used as they are"
    )
    parser.add_argument("--only", metavar="PART", default="", help="only the runs with this in their names")
    parser.add_argument("--write", action="store_true", help="put the figures into the documents")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = Runs((args.runs or Path(folder)).resolve())
        runs.folder.mkdir(parents=True, exist_ok=True)
        runs.make(args.only)
        for path, (old, new) in renewed(runs).items():
            print(*difflib.unified_diff(old.split("\n"), new.split("\n"), str(path), "runs", lineterm=""), sep="\n")
            if args.write:
                (ROOT / path).write_text(new)


if __name__ == "__main__":
    main()
