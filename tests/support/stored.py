"""Run directories as finished runs leave them, written without training."""

import copy
import json
from pathlib import Path

import yaml

from rlnlp.config.choices import merged
from rlnlp.config.differing import usual_settings
from rlnlp.config.migrate import CONFIG_VERSION

METRICS = {"sft": "loss", "reward-model": "accuracy", "rlhf": "win_rate"}  # of the others it is the score
PROMPTS = ("the film is", "the room was", "we loved")


def usual(algo: str) -> dict:
    """The settings of an algorithm that nothing is said of."""
    return {
        key: value for key, value in copy.deepcopy(usual_settings(algo)).items() if key not in ("hydra", "experiment")
    }


def stored_run(
    directory: Path, after: float | None, *words: str, algo: str = "ppo", before: float = 0.5, kl: float = 2.0,
    status: str = "done", curve: tuple[float, ...] = (), prompts: tuple[str, ...] = PROMPTS, **facts,
) -> Path:  # fmt: skip
    """A run of ``algo`` with the settings ``words`` that reached ``after``; ``curve`` is measured after each step."""
    settings = merged(usual(algo), list(words))
    metric = METRICS.get(algo, "score")
    directory.mkdir(parents=True)
    (directory / "config.yaml").write_text(yaml.safe_dump({"config_version": CONFIG_VERSION, **settings}))
    difference = (
        None if after is None else {"mean": after - before, "interval": [after - before - 0.1, after - before + 0.1]}
    )
    result = {} if difference is None else {
        "n": len(prompts), "heldout": True, "before": {metric: before}, "after": {metric: after},
        "difference": {metric: difference["mean"], "interval": None} if metric == "loss" else {metric: difference},
        "policy_step": len(curve) or 9,
    }  # fmt: skip
    if metric == "win_rate" and result:
        result["judge"] = "gold"
    if metric in ("score", "win_rate") and result:
        result["before"]["kl"], result["after"]["kl"] = 0.0, kl
    steps = len(curve) or settings["algo"].get("total_steps", 9)
    record = {
        "id": "x", "command": "train", "algo": algo, "status": status, "exit_code": 0, "seconds": 61.4, "steps": steps,
        "started": "2026-11-01T00:00:00+00:00", "result": result, "code": {}, **facts,
    }  # fmt: skip
    (directory / "run.json").write_text(json.dumps(record))
    rows = [
        {"step": i + 1, metric: value - 0.1, f"heldout/{metric}": value, "heldout/kl": (i + 1) ** 2.0}
        for i, value in enumerate(curve)
    ]
    (directory / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    held = [{"prompt": prompt, "completion": None} for prompt in prompts]
    (directory / "heldout.jsonl").write_text("".join(json.dumps(row) + "\n" for row in held))
    (directory / "lock").touch()
    return directory


def stored_sweep(directory: Path, reached: dict[str, tuple[float, ...]], **more) -> Path:
    """A sweep of the settings ``reached`` names, each with a seed for each of its figures."""
    directory.mkdir(parents=True)
    (directory / "command.json").write_text(json.dumps({"command": "train", "words": []}))
    number = 0
    for words, values in reached.items():
        for seed, value in enumerate(values):
            stored_run(directory / str(number), value, *words.split(), f"seed={seed}", **more)
            number += 1
    return directory
