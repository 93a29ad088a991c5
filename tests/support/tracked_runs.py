"""Run directories as far as a tracker looks at them."""

import json

from rlnlp.run.tracking.tracker import FOLDER


def append(directory, name, **row):
    with (directory / f"{name}.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")


def take_step(directory, step, **more):
    append(directory, "metrics", step=step, score=step / 10, episodes=4 * step, **more)
    append(directory, "timing", step=step, seconds=1.0)


def a_run(directory, steps):
    """A finished run of so many steps, whose settings are few."""
    (directory / FOLDER).mkdir(parents=True)
    for name in ("metrics", "timing"):
        (directory / f"{name}.jsonl").touch()
    settings = {"config_version": 7, "algo": {"name": "sft", "token": "***"}, "seed": 3}
    (directory / "config.yaml").write_text(json.dumps(settings))
    (directory / "run.json").write_text(json.dumps({"status": "done", "result": {"after": {"score": 0.5}}}))
    for step in range(1, steps + 1):
        take_step(directory, step)
    return directory
