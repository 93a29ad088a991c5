"""Small whole runs of every algorithm, broken off and taken up again; what must be the same afterwards."""

import json
import shutil
from contextlib import contextmanager
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from rlnlp.commands import resume, train
from rlnlp.config.choices import conf_dir
from rlnlp.config.schema import RUNS
from rlnlp.evaluate import report
from rlnlp.evaluate.preferences import finish
from rlnlp.evaluate.rounds import finish as rounds_finish
from support import small

ROUNDS = [  # two rounds of three steps
    "algo.rounds=2", "algo.prompts_per_round=6", "annotator.comparisons_per_round=5", "annotator.ratings_per_round=1",
    "algo.reward_model.total_steps=1", "algo.policy.total_steps=2", "algo.reward_model.batch_size=4",
    "algo.policy.batch_size=4", "algo.reward_model.learning_rate=1e-2", "algo.policy.learning_rate=1e-2",
]  # fmt: skip
STEPS = 6  # 11 rows to train on, 4 a step: the epochs end inside step 3 and step 6
OWN = {  # of each algorithm: settings that give it more state to lose
    "sft": ["algo.optimizer=muon", "algo.lr_schedule=cosine", "heldout.every=1", "heldout.patience=4"],
    "reinforce": [
        "algo.baseline=ema",
        "heldout.every=2",
        "checkpoint.result=best",
        "checkpoint.keep_models=1",
    ],
    "reward-model": [
        "algo.head=mlp",
        "algo.ensemble_size=2",
        "algo.optimizer=muon",
        "heldout.every=2",
        "checkpoint.result=best",
        "algo.learning_curve=[0.5]",
    ],
    "rlhf": [
        "reward=default",
        "algo.selection=disagreement",
        "algo.reward_model.ensemble_size=2",
        "algo.reward_model.head=mlp",
        "algo.decay=0.5",
        "algo.policy.kl_target=1.0",
        "algo.policy.ptx_coef=0.5",
        "algo.policy.num_generations=2",
        "algo.policy.mini_batch_size=4",
        "heldout.every=1",
    ],
    "ppo": [
        "algo.kl_target=1.0",
        "algo.num_generations=2",
        "algo.mini_batch_size=4",
        "algo.lr_schedule=linear",
        "algo.critic=separate",
    ],
}
SAME = ("metrics.jsonl", "samples.jsonl", "heldout.jsonl")
RESULTS = ("policy", "reward_model")  # the folder of what a run hands over
TOTALS = ("steps", "episodes", "tokens", "result")


def words(algo: str, place: Path, *more: str) -> list[str]:
    """The settings of a small run; the model and the data are made in ``place`` if they are not there."""
    model, data = place / "model", place / "data.jsonl"
    if not data.exists():
        small.save_model(model)
        texts = [f"the {a} is {b} ." for a in small.WORDS[2:5] for b in small.WORDS[9:14]][:12]
        rows = [{"prompt": t[:-4], "text": t, "reference": t, "chosen": t[-4:], "rejected": "the ."} for t in texts]
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    key = {"sft": "texts", "reward-model": "preferences"}.get(algo, "prompts")
    steps = (
        [*ROUNDS, f"data.texts={data}"]
        if algo == "rlhf"
        else [f"algo.total_steps={STEPS}", "algo.batch_size=4", "algo.learning_rate=1e-2"]
    )
    return [
        f"algo={algo}", f"model.path={model}", f"data.{key}={data}", *steps, "sampler.max_new_tokens=5",
        "heldout.size=1", "checkpoint.every=1", "checkpoint.keep=99", "samples.every=2", "samples.show=0", "device=cpu",
        "device.threads=1", *OWN.get(algo, []),
        *(each for word in more for each in (of_stages(word) if algo == "rlhf" else [word])),
    ]  # fmt: skip


def of_stages(word: str) -> list[str]:
    """A word of another algorithm as rounds have it: for both of their stages."""
    key, _, value = word.partition("=")
    name = key.removeprefix("algo.")
    if key == "algo.total_steps":
        return ["algo.rounds=1", "algo.reward_model.total_steps=1", f"algo.policy.total_steps={int(value) - 1}"]
    if name in ("learning_rate", "lr_schedule", "optimizer", "batch_size"):
        return [f"algo.{stage}.{name}={value}" for stage in ("reward_model", "policy")]
    return [word]


def settings(asked: list[str]) -> dict:
    """Composed settings as plain containers."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return OmegaConf.to_container(compose("train", asked), resolve=True)


@contextmanager
def without_pictures():
    """No pictures and no report.html: drawing takes longer than all the rest of so small a run."""
    draw, report.draw = report.draw, lambda directory, *_: directory
    write, finish.write_preference_report = finish.write_preference_report, lambda _, directory: directory
    history, rounds_finish.draw_history = rounds_finish.draw_history, lambda *_: None
    bars, rounds_finish.draw_qualities = rounds_finish.draw_qualities, lambda *_: None
    try:
        yield
    finally:
        report.draw, finish.write_preference_report, rounds_finish.draw_history = draw, write, history
        rounds_finish.draw_qualities = bars


def run(asked: dict, directory: Path) -> Path:
    """Train in this process."""
    with without_pictures():
        train.run_training(asked, directory, "train", hidden=())
    return directory


def go_on(directory: Path, *asked: str) -> None:
    """Take a run up in this process."""
    with without_pictures():
        assert resume.main([str(directory), *asked]) == 0


def broken_off(whole: Path, place: Path, step: int) -> Path:
    """A copy of a finished run as it was when ``step`` had been saved and the next two steps were done."""
    shutil.copytree(whole, place)
    shutil.rmtree(result_of(place))
    for name in ("summary.md", "heldout.jsonl"):
        (place / name).unlink()
    for each in (place / "checkpoints").iterdir():
        if int(each.name.partition("-")[2]) > step:
            shutil.rmtree(each)
    for name in ("metrics", "samples", "timing"):
        path = place / f"{name}.jsonl"
        lines = path.read_text().splitlines(keepends=True)
        kept = [line for line in lines if json.loads(line)["step"] <= step + 2]
        later = bool(kept) and json.loads(kept[-1])["step"] > step  # then the last line is one that a kill may tear
        path.write_text("".join(kept)[: -3 if later and step + 2 <= STEPS else None])
    facts = json.loads((place / "run.json").read_text())
    (place / "run.json").write_text(json.dumps(facts | {"status": "running", "exit_code": None, "result": {}}))
    return place


def outcome(directory: Path) -> dict[str, object]:
    """All that must be the same: the files that say so, every file of the checkpoints, counts and result."""
    facts = json.loads((directory / "run.json").read_text())
    files = [*(directory / name for name in SAME), *sorted(result_of(directory).rglob("*.safetensors"))]
    for name in ("checkpoints", "models"):
        files += sorted(p for p in directory.glob(f"{name}/step-*/**/*") if p.is_file())
    found: dict[str, object] = {str(p.relative_to(directory)): p.read_bytes() for p in files}
    return found | {name: facts[name] for name in TOTALS} | {"summary.md": summary(directory)}


def result_of(directory: Path) -> Path:
    """The folder of what a run hands over."""
    return next(directory / name for name in RESULTS if (directory / name).is_dir())


def summary(directory: Path) -> str:
    """What ``summary.md`` says of the result and the samples, without the line of the clock."""
    title, *lines = (directory / "summary.md").read_text(encoding="utf-8").partition("## The run")[0].split("\n")
    assert title.startswith("# ")
    kept = [line for line in lines if not line.startswith("took ")]
    assert len(kept) == len(lines) - 1
    return "\n".join(kept)


def difference(one: dict[str, object], other: dict[str, object]) -> list[str]:
    """The names of what differs."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


ALGORITHMS = tuple(RUNS)


def leaves(node, path=()):
    """Each value of nested JSON with its path."""
    if isinstance(node, dict) and node:
        for name, value in node.items():
            yield from leaves(value, (*path, name))
    else:
        yield path, node


def with_leaf(node, path, value):
    """Nested JSON with another value at a path."""
    name, *rest = path
    return {**node, name: with_leaf(node[name], rest, value) if rest else value}


def other(value):
    """Another value of the same kind."""
    if isinstance(value, str):
        return value[::-1] + "x"
    return value + 1 if isinstance(value, int | float) else [*value, 1] if isinstance(value, list) else {"x": 1}
